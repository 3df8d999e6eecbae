"""The policy's log-probabilities of response tokens, each prompt and each clip computed once.

`lay_out` is the only place that knows how rows become tensors. The responses to one prompt follow a single
copy of it; each attends to the prompt and to itself (`learner.shared_prefix`) and has the positions it would
have alone, so the result is that of separate rows at a fraction of the tokens. Packs stand behind one another
in one flat sequence: nothing is padded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from learner.objective import entropy
from learner.rows import Row, response_positions
from learner.shared_prefix import PackLayout, as_mask, use_shared_prefix
from learner.tower_attention import use_attention_by_length

# Logits are computed and dropped in pieces of this size; a vocabulary of 150,000 makes 600 kB per token.
LOGITS_BYTES = 1 << 28
# Two frames of 14 x 14 pixels of three colours.
PATCH_VALUES = 1176


@dataclass(frozen=True)
class MicroBatch:
    """Packed rows as one flat sequence of L tokens; R responses with T tokens in all.

    Attributes:
        input_ids: [1, L].
        position_ids: [3, 1, L], M-RoPE ids (time, height, width).
        layout: Where packs and responses begin and end.
        pixels: [patches, 1176], normalised patches of the distinct prompts' clips; empty where features are given.
        grids: [clips, 3], patches in time, height and width.
        features: [video tokens, width] of each clip where the vision tower is frozen; None runs the tower.
        clip_of_pack: Which of the clips each pack shows; None for a prompt of text alone.
        index: [T], place in the sequence of the hidden state that predicts each response token.
        targets: [T], the response tokens, response after response.
        lengths: [R], tokens of each response.
        rollout_logprobs: [T], or empty for supervised rows.
        advantages: [R].
        most_tokens: Response tokens of the rank with most of them in this pass; T where nobody else takes part.
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: PackLayout
    pixels: Tensor
    grids: Tensor
    features: list[Tensor] | None
    clip_of_pack: list[int | None]
    index: Tensor
    targets: Tensor
    lengths: Tensor
    rollout_logprobs: Tensor
    advantages: Tensor
    most_tokens: int

    def per_token(self, per_response: Tensor) -> Tensor:
        """[R] to [T]: a response's value for each of its tokens."""
        return per_response.repeat_interleave(self.lengths, output_size=len(self.targets))


class TokenScores(NamedTuple):
    """Per response token: log-probability under the sampling distribution, and entropy in nats."""

    logprobs: Tensor
    entropy: Tensor


def lay_out(packs: Sequence[Sequence[Row]], device: torch.device, most_tokens: int = 0) -> MicroBatch:
    """Put packs of rows, each behind one copy of its prompt, into one micro-batch.

    Args:
        most_tokens: See `MicroBatch`; 0 where this rank's are the most.
    """
    shown = {pack[0].prompt_key: pack[0] for pack in packs if pack[0].prompt.num_video_tokens}
    clips, place = list(shown.values()), {key: number for number, key in enumerate(shown)}
    # Ranks must agree on whether the tower runs, so a frozen one shows on rows without a clip as well.
    frozen = any(pack[0].features is not None for pack in packs)
    rows = [row for pack in packs for row in pack]
    layout = PackLayout(
        tuple(len(pack[0].prompt.token_ids) for pack in packs),
        tuple(tuple(len(row.response) for row in pack) for pack in packs),
    )
    return MicroBatch(
        input_ids=torch.cat([_tokens(pack) for pack in packs])[None].to(device),
        position_ids=torch.cat([_positions(pack) for pack in packs], dim=1)[:, None].to(device),
        layout=layout,
        pixels=_stack([clip.prompt.pixel_values_videos for clip in clips], not frozen).to(device),
        grids=_stack([clip.prompt.video_grid_thw.reshape(-1, 3) for clip in clips]).to(device),
        features=[clip.features.to(device) for clip in clips if clip.features is not None]
        if frozen
        else None,
        clip_of_pack=[place.get(pack[0].prompt_key) for pack in packs],
        index=torch.cat([_predictors(*pack) for pack in layout.packs()]).to(device),
        targets=torch.tensor([token for row in rows for token in row.response], device=device),
        lengths=torch.tensor([len(row.response) for row in rows], device=device),
        rollout_logprobs=torch.tensor(
            [value for row in rows for value in row.rollout_logprobs], device=device
        ),
        advantages=torch.tensor([row.advantage for row in rows], device=device),
        most_tokens=most_tokens or sum(len(row.response) for row in rows),
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
        use_shared_prefix(policy)
        use_attention_by_length(policy.model.visual)
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
        hidden = self._hidden_states(batch).squeeze(0).index_select(0, batch.index)
        # As many as on every other rank: under ZeRO-3 each call of the head gathers its weights from all of them.
        count = math.ceil(batch.most_tokens / max(1, LOGITS_BYTES // (4 * self._vocabulary)))
        pieces = zip(hidden.tensor_split(count), batch.targets.tensor_split(count), strict=True)
        banned = self._banned if ban else []
        scores = [self._score(*piece, temperature, banned, count > 1) for piece in pieces]
        logprobs, entropies = zip(*scores, strict=True)
        return TokenScores(torch.cat(logprobs), torch.cat(entropies))

    def _hidden_states(self, batch: MicroBatch) -> Tensor:
        """[1, L, hidden]. The tower runs once over each distinct prompt's clip; its packs share the features."""
        backbone = self.policy.model
        features, nothing = (batch.features, None) if batch.features is not None else self._run_tower(batch)
        of_packs: Any = tuple(features[clip] for clip in batch.clip_of_pack if clip is not None)
        hidden: Tensor = backbone(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            attention_mask=as_mask(batch.layout),
            mm_encoder_outputs={"video": BaseModelOutputWithPooling(pooler_output=of_packs)}
            if of_packs
            else None,
            use_cache=False,
        ).last_hidden_state
        return hidden if nothing is None else hidden + nothing

    def _run_tower(self, batch: MicroBatch) -> tuple[Sequence[Tensor], Tensor | None]:
        """Features of each clip. Without a clip the tower runs on a blank one, whose result counts nothing.

        Under ZeRO-3 every rank gathers the tower's weights and reduces its gradients in every micro-batch; one that
        skipped it would leave the others waiting.
        """
        tower = self.policy.model
        if len(batch.grids):
            features: Sequence[Tensor]
            features = tower.get_video_features(batch.pixels, batch.grids, return_dict=True).pooler_output
            return features, None
        side = tower.visual.spatial_merge_size
        blank = torch.zeros(side * side, PATCH_VALUES, device=batch.input_ids.device)
        grid = torch.tensor([[1, side, side]], device=batch.input_ids.device)
        return [], 0.0 * tower.get_video_features(blank, grid, return_dict=True).pooler_output[0].sum()

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


def _stack(parts: Sequence[Tensor], wanted: bool = True) -> Tensor:
    """All parts behind one another; empty where there are none or nobody wants them."""
    return torch.cat(list(parts)) if parts and wanted else torch.empty(0)


def _tokens(pack: Sequence[Row]) -> Tensor:
    """[tokens]: the prompt and all responses."""
    return torch.tensor([*pack[0].prompt.token_ids, *(token for row in pack for token in row.response)])


def _positions(pack: Sequence[Row]) -> Tensor:
    """[3, tokens]: every response continues at the end of the prompt."""
    prompt = pack[0].prompt.position_ids
    return torch.cat([prompt, *(response_positions(prompt, len(row.response)) for row in pack)], dim=1)


def _predictors(start: int, prompt: int, responses: Sequence[int]) -> Tensor:
    """[response tokens of a pack]: place in the sequence of the token before each one.

    A response's first token is predicted by the prompt's last, whatever lies between them.
    """
    end = start + prompt
    places = []
    for length in responses:
        places += [torch.tensor([start + prompt - 1]), torch.arange(end, end + length - 1)]
        end += length
    return torch.cat(places)
