"""The policy's log-probabilities of response tokens: row layout, vision features once per clip, logits where needed.

`lay_out` is the only place that knows how rows become tensors; a packed layout with shared prompts would replace it and
the hidden states' index, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    """Rows as right-padded tensors. B rows of at most L tokens, T response tokens in all.

    Padding needs no attention mask: under causal attention no real token sees what follows it.

    Attributes:
        input_ids: [B, L].
        position_ids: [3, B, L], M-RoPE ids (time, height, width).
        pixels: [patches, 1176], normalised patches of the distinct clips.
        grids: [clips, 3], patches in time, height and width.
        clip_of_row: Which of the clips each row shows.
        index: [T], place in the flattened [B * L] of the hidden state that predicts each response token.
        targets: [T], the response tokens, row after row.
        lengths: [B], response tokens of each row.
        rollout_logprobs: [T], or empty for supervised rows.
        advantages: [B].
    """

    input_ids: Tensor
    position_ids: Tensor
    pixels: Tensor
    grids: Tensor
    clip_of_row: list[int]
    index: Tensor
    targets: Tensor
    lengths: Tensor
    rollout_logprobs: Tensor
    advantages: Tensor

    def per_token(self, per_row: Tensor) -> Tensor:
        """[B] to [T]: a row's value for each of its response tokens."""
        return per_row.repeat_interleave(self.lengths, output_size=len(self.targets))


class TokenScores(NamedTuple):
    """Per response token: log-probability under the sampling distribution (differentiable) and entropy in nats."""

    logprobs: Tensor
    entropy: Tensor


def lay_out(rows: Sequence[Row], device: torch.device) -> MicroBatch:
    """Right-pad rows into one micro-batch; rows with the same prompt share its clip."""
    prompts = {row.prompt_key: row.prompt for row in rows}
    keys = list(prompts)
    width = max(row.num_tokens for row in rows)
    lengths = [len(row.response) for row in rows]
    return MicroBatch(
        input_ids=_pad([torch.tensor([*row.prompt.token_ids, *row.response]) for row in rows]).to(device),
        position_ids=_positions(rows).to(device),
        pixels=torch.cat([prompt.pixel_values_videos for prompt in prompts.values()]).to(device),
        grids=torch.cat([prompt.video_grid_thw.reshape(-1, 3) for prompt in prompts.values()]).to(device),
        clip_of_row=[keys.index(row.prompt_key) for row in rows],
        index=torch.cat([_predictors(row, number * width) for number, row in enumerate(rows)]).to(device),
        targets=torch.tensor([token for row in rows for token in row.response], device=device),
        lengths=torch.tensor(lengths, device=device),
        rollout_logprobs=torch.tensor([value for row in rows for value in row.rollout_logprobs], device=device),
        advantages=torch.tensor([row.advantage for row in rows], device=device),
    )


class ResponseScorer(nn.Module):
    """A policy that answers with the log-probabilities of a micro-batch's response tokens.

    Everything that touches weights happens inside `forward`, so that DeepSpeed's hooks see one module.

    Args:
        policy: The Hugging Face model.
        banned_token_ids: Tokens that sampling excludes; they get probability 0 here as well.
    """

    def __init__(self, policy: Qwen2_5_VLForConditionalGeneration, banned_token_ids: Sequence[int] = ()) -> None:
        super().__init__()
        self.policy = policy
        self._banned = list(banned_token_ids)

    def forward(self, batch: MicroBatch, temperature: float = 1.0, ban: bool = True) -> TokenScores:
        """Score response tokens under the sampling distribution.

        Args:
            temperature: Divides the logits.
            ban: Exclude the banned tokens.

        Returns:
            Two float32 tensors [T]; the entropy carries no gradient.
        """
        hidden = self._hidden_states(batch).flatten(0, 1)[batch.index]
        pieces = hidden.split(max(1, LOGITS_BYTES // (4 * self.policy.config.text_config.vocab_size)))
        targets = batch.targets.split(len(pieces[0]))
        banned = self._banned if ban else []
        scores = [self._score(*piece, temperature, banned, len(pieces) > 1) for piece in zip(pieces, targets, strict=True)]
        logprobs, entropies = zip(*scores, strict=True)
        return TokenScores(torch.cat(logprobs), torch.cat(entropies))

    def _hidden_states(self, batch: MicroBatch) -> Tensor:
        """[B, L, hidden]. The tower runs once over the distinct clips; rows of one prompt share its features."""
        backbone = self.policy.model
        features = backbone.get_video_features(batch.pixels, batch.grids, return_dict=True).pooler_output
        video = BaseModelOutputWithPooling(pooler_output=tuple(features[clip] for clip in batch.clip_of_row))
        return backbone(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            mm_encoder_outputs={"video": video},
            use_cache=False,
        ).last_hidden_state

    def _score(
        self, hidden: Tensor, targets: Tensor, temperature: float, banned: list[int], recompute: bool
    ) -> tuple[Tensor, Tensor]:
        if recompute and torch.is_grad_enabled():
            return checkpoint(self._score_piece, hidden, targets, temperature, banned, use_reentrant=False)
        return self._score_piece(hidden, targets, temperature, banned)

    def _score_piece(
        self, hidden: Tensor, targets: Tensor, temperature: float, banned: list[int]
    ) -> tuple[Tensor, Tensor]:
        logits = self.policy.lm_head(hidden).float() / temperature
        if banned:
            logits = logits.index_fill(1, torch.tensor(banned, device=logits.device), float("-inf"))
        log_probs = logits.log_softmax(dim=-1)
        return log_probs.gather(1, targets[:, None]).squeeze(1), entropy(log_probs.detach())


def _pad(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)


def _positions(rows: Sequence[Row]) -> Tensor:
    whole = [
        torch.cat([row.prompt.position_ids, response_positions(row.prompt.position_ids, len(row.response))], dim=1)
        for row in rows
    ]
    return _pad([positions.T for positions in whole]).permute(2, 0, 1)


def _predictors(row: Row, start: int) -> Tensor:
    """Flat places of the tokens before each response token, for a row that starts at `start`."""
    first = start + len(row.prompt.token_ids) - 1
    return torch.arange(first, first + len(row.response))


