"""The policy's log-probabilities of response tokens, each prompt and each clip computed once.

`lay_out` is the only place that knows how rows become tensors. The responses to one prompt follow a single
copy of it; each attends to the prompt and to itself and has the positions it would have alone, so the result
is that of separate rows at a fraction of the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from learner.objective import entropy
from learner.rows import Row, response_positions

# Logits are computed and dropped in pieces of this size; a vocabulary of 150,000 makes 600 kB per token.
LOGITS_BYTES = 1 << 28


@dataclass(frozen=True)
class MicroBatch:
    """Packed rows as right-padded tensors: B packs of at most L tokens, R responses with T tokens in all.

    Attributes:
        input_ids: [B, L].
        position_ids: [3, B, L], M-RoPE ids (time, height, width).
        attention_mask: [B, 1, L, L], true where a token (third axis) attends to another (fourth); None means
            causal, which suffices for one response per pack: no real token sees the padding behind it.
        pixels: [patches, 1176], normalised patches of the distinct clips.
        grids: [clips, 3], patches in time, height and width.
        clip_of_pack: Which of the clips each pack shows.
        index: [T], place in the flattened [B * L] of the hidden state that predicts each response token.
        targets: [T], the response tokens, response after response.
        lengths: [R], tokens of each response.
        rollout_logprobs: [T], or empty for supervised rows.
        advantages: [R].
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor | None
    pixels: Tensor
    grids: Tensor
    clip_of_pack: list[int]
    index: Tensor
    targets: Tensor
    lengths: Tensor
    rollout_logprobs: Tensor
    advantages: Tensor

    def per_token(self, per_response: Tensor) -> Tensor:
        """[R] to [T]: a response's value for each of its tokens."""
        return per_response.repeat_interleave(self.lengths, output_size=len(self.targets))


class TokenScores(NamedTuple):
    """Per response token: log-probability under the sampling distribution, and entropy in nats."""

    logprobs: Tensor
    entropy: Tensor


def lay_out(packs: Sequence[Sequence[Row]], device: torch.device) -> MicroBatch:
    """Put packs of rows, each behind one copy of its prompt, into one micro-batch."""
    prompts = {pack[0].prompt_key: pack[0].prompt for pack in packs}
    keys = list(prompts)
    rows = [row for pack in packs for row in pack]
    input_ids = _pad([_tokens(pack) for pack in packs])
    width = input_ids.shape[1]
    shared = any(len(pack) > 1 for pack in packs)
    return MicroBatch(
        input_ids=input_ids.to(device),
        position_ids=_pad([_positions(pack).T for pack in packs]).permute(2, 0, 1).to(device),
        attention_mask=_attention([_segments(pack) for pack in packs]).to(device) if shared else None,
        pixels=torch.cat([prompt.pixel_values_videos for prompt in prompts.values()]).to(device),
        grids=torch.cat([prompt.video_grid_thw.reshape(-1, 3) for prompt in prompts.values()]).to(device),
        clip_of_pack=[keys.index(pack[0].prompt_key) for pack in packs],
        index=torch.cat([_predictors(pack) + number * width for number, pack in enumerate(packs)]).to(device),
        targets=torch.tensor([token for row in rows for token in row.response], device=device),
        lengths=torch.tensor([len(row.response) for row in rows], device=device),
        rollout_logprobs=torch.tensor(
            [value for row in rows for value in row.rollout_logprobs], device=device
        ),
        advantages=torch.tensor([row.advantage for row in rows], device=device),
    )


class ResponseScorer(nn.Module):
    """A policy that answers with the log-probabilities of a micro-batch's response tokens.

    Everything that touches weights happens inside `forward`, so that DeepSpeed's hooks see one module.

    Args:
        policy: The Hugging Face model.
        banned_token_ids: Tokens that sampling excludes; they get probability 0 here as well.
    """

    def __init__(
        self, policy: Qwen2_5_VLForConditionalGeneration, banned_token_ids: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.policy = policy
        self._banned = list(banned_token_ids)
        self._vocabulary = int(policy.lm_head.out_features)

    def forward(self, batch: MicroBatch, temperature: float = 1.0, ban: bool = True) -> TokenScores:
        """Score response tokens under the sampling distribution.

        Args:
            temperature: Divides the logits.
            ban: Exclude the banned tokens.

        Returns:
            Two float32 tensors [T]; the entropy carries no gradient.
        """
        # Not by indexing: responses of a pack share a predictor, whose gradients it would add up in any order.
        hidden = self._hidden_states(batch).flatten(0, 1).index_select(0, batch.index)
        pieces = hidden.split(max(1, LOGITS_BYTES // (4 * self._vocabulary)))
        targets = batch.targets.split(len(pieces[0]))
        banned = self._banned if ban else []
        scores = [
            self._score(*piece, temperature, banned, len(pieces) > 1)
            for piece in zip(pieces, targets, strict=True)
        ]
        logprobs, entropies = zip(*scores, strict=True)
        return TokenScores(torch.cat(logprobs), torch.cat(entropies))

    def _hidden_states(self, batch: MicroBatch) -> Tensor:
        """[B, L, hidden]. The tower runs once over the distinct clips; packs of a prompt share features."""
        backbone = self.policy.model
        features = backbone.get_video_features(batch.pixels, batch.grids, return_dict=True).pooler_output
        of_packs: Any = tuple(features[clip] for clip in batch.clip_of_pack)
        hidden: Tensor = backbone(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            attention_mask=batch.attention_mask,
            mm_encoder_outputs={"video": BaseModelOutputWithPooling(pooler_output=of_packs)},
            use_cache=False,
        ).last_hidden_state
        return hidden

    def _score(
        self, hidden: Tensor, targets: Tensor, temperature: float, banned: list[int], recompute: bool
    ) -> tuple[Tensor, Tensor]:
        if recompute and torch.is_grad_enabled():
            scores: tuple[Tensor, Tensor]
            scores = checkpoint(self._score_piece, hidden, targets, temperature, banned, use_reentrant=False)
            return scores
        return self._score_piece(hidden, targets, temperature, banned)

    def _score_piece(
        self, hidden: Tensor, targets: Tensor, temperature: float, banned: list[int]
    ) -> tuple[Tensor, Tensor]:
        logits = self.policy.lm_head(hidden).float() / temperature
        if banned:
            logits = logits.index_fill(1, torch.tensor(banned, device=logits.device), float("-inf"))
        log_probs = logits.log_softmax(dim=-1)
        return log_probs.gather(1, targets[:, None]).squeeze(1), entropy(log_probs.detach())


def _pad(packs: list[Tensor]) -> Tensor:
    return pad_sequence(packs, batch_first=True)


def _tokens(pack: Sequence[Row]) -> Tensor:
    """[tokens]: the prompt and all responses."""
    return torch.tensor([*pack[0].prompt.token_ids, *(token for row in pack for token in row.response)])


def _positions(pack: Sequence[Row]) -> Tensor:
    """[3, tokens]: every response continues at the end of the prompt."""
    prompt = pack[0].prompt.position_ids
    return torch.cat([prompt, *(response_positions(prompt, len(row.response)) for row in pack)], dim=1)


def _segments(pack: Sequence[Row]) -> Tensor:
    """[tokens]: 0 for the prompt, 1 and up for the responses."""
    lengths = torch.tensor([len(pack[0].prompt.token_ids), *(len(row.response) for row in pack)])
    return torch.arange(len(lengths)).repeat_interleave(lengths)


def _attention(segments: list[Tensor]) -> Tensor:
    """[B, 1, L, L]: a token attends to the prompt and to its own segment, up to itself.

    Padding counts as prompt: it comes last, so no real token sees it, and it sees something, which keeps it
    finite.
    """
    segment = _pad(segments)
    visible = (segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None])
    return visible.tril()[:, None]


def _predictors(pack: Sequence[Row]) -> Tensor:
    """[response tokens]: place in the pack of the token before each one.

    A response's first token is predicted by the prompt's last, whatever lies between them.
    """
    end = len(pack[0].prompt.token_ids)
    places = []
    for row in pack:
        places.append(torch.tensor([len(pack[0].prompt.token_ids) - 1]))
        places.append(torch.arange(end, end + len(row.response) - 1))
        end += len(row.response)
    return torch.cat(places)
