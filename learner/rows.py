"""From train samples to rows: every distinct prompt is encoded once and checked against the rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from data.encoding import EncodedPrompt, VideoEncoder
from data.records import TrainSample
from data.schema import VideoPrompt
from learner.batching import RowSize

if TYPE_CHECKING:
    from learner.frozen_tower import FrozenTower


class PromptMismatchError(RuntimeError):
    """Rollout and learner do not see the same prompt, or a sample is unfit for training; names the prompt."""


@dataclass(frozen=True)
class Row:
    """A prompt with one response, ready to be laid out in a micro-batch.

    Attributes:
        prompt_key: Equal for rows that share a prompt and its clip.
        rollout_logprobs: One per response token; empty for a supervised row.
        features: [video tokens, width] of the prompt's clip where the vision tower is frozen, empty without a clip;
            None runs it.
    """

    prompt_key: str
    prompt: EncodedPrompt
    response: list[int]
    rollout_logprobs: list[float]
    advantage: float
    features: Tensor | None = None

    @property
    def size(self) -> RowSize:
        """What planning needs to know."""
        return RowSize(self.prompt_key, len(self.prompt.token_ids), len(self.response))


def build_rows(
    samples: Sequence[TrainSample],
    clips: Sequence[Any],
    encoder: VideoEncoder,
    tower: FrozenTower | None = None,
) -> list[Row]:
    """Encode each distinct prompt once and pair it with its responses.

    Args:
        clips: Decoded clip of each sample; None for a prompt of text alone, which the encoder must know.
        tower: Where it is frozen; gives the clips' features, which are then not computed in the forward pass.

    Raises:
        PromptMismatchError: a check between rollout and learner failed.
    """
    encoded: dict[str, tuple[EncodedPrompt, Tensor | None]] = {}
    rows = []
    for sample, clip in zip(samples, clips, strict=True):
        key = sample.prompt.id
        if key not in encoded:
            encoded[key] = _encode(sample.prompt, clip, encoder, tower)
            check_placeholders(sample.prompt, encoded[key][0], encoder.video_token_id)
        prompt, features = encoded[key]
        check_sample(sample, prompt, encoder.video_token_id)
        response, logprobs = sample.response_token_ids, sample.rollout_logprobs
        rows.append(Row(key, prompt, response, logprobs, sample.advantage, features))
    return rows


def _encode(
    prompt: VideoPrompt, clip: Any, encoder: VideoEncoder, tower: FrozenTower | None
) -> tuple[EncodedPrompt, Tensor | None]:
    """The prompt; with a frozen tower its clip's features, and no pixels where the cache has those."""
    if tower is None or clip is None:
        return encoder.encode(prompt, clip), tower.nothing if tower else None
    found = tower.find(clip.digest)
    encoded = encoder.encode(prompt, clip, pixels=found is None)
    return encoded, tower.compute(encoded, clip.digest) if found is None else found


def check_placeholders(prompt: VideoPrompt, encoded: EncodedPrompt, video_token_id: int) -> None:
    """Video placeholders in the prompt must equal the features the vision tower will give.

    Raises:
        PromptMismatchError: they do not.
    """
    placeholders = encoded.token_ids.count(video_token_id)
    if placeholders != encoded.num_video_tokens:
        raise PromptMismatchError(
            f"prompt {prompt.id!r} ({prompt.video}) has {placeholders} video placeholders but its clip gives "
            f"{encoded.num_video_tokens} features"
        )


def check_sample(sample: TrainSample, encoded: EncodedPrompt, video_token_id: int) -> None:
    """A sample that carries its prompt must carry it as the learner encodes it.

    Raises:
        PromptMismatchError: it does not, or its response cannot be trained on.
    """
    name = f"prompt {sample.prompt.id!r} ({sample.prompt.video})"
    if sample.prompt_token_ids and list(sample.prompt_token_ids) != list(encoded.token_ids):
        raise PromptMismatchError(f"{name}: {_first_difference(sample.prompt_token_ids, encoded.token_ids)}")
    if not sample.response_token_ids:
        raise PromptMismatchError(f"{name}: a response has no tokens")
    if video_token_id in sample.response_token_ids:
        raise PromptMismatchError(f"{name}: a response contains the video placeholder; ban it when sampling")
    if sample.rollout_logprobs and len(sample.rollout_logprobs) != len(sample.response_token_ids):
        raise PromptMismatchError(
            f"{name}: {len(sample.response_token_ids)} response tokens but {len(sample.rollout_logprobs)} "
            "log-probabilities"
        )


def response_positions(prompt_positions: Tensor, length: int) -> Tensor:
    """M-RoPE ids of `length` text tokens after a prompt: on from its largest id, alike in all sections.

    Args:
        prompt_positions: [3, prompt tokens].

    Returns:
        [3, length].
    """
    start = int(prompt_positions.max()) + 1
    return torch.arange(start, start + length).expand(3, length)


def _first_difference(rollout: Sequence[int], learner: Sequence[int]) -> str:
    if len(rollout) != len(learner):
        return f"the rollout engine saw {len(rollout)} prompt tokens, the learner encodes {len(learner)}"
    place = next(i for i, (a, b) in enumerate(zip(rollout, learner, strict=True)) if a != b)
    return f"prompt token {place} is {rollout[place]} for the rollout, {learner[place]} for the learner"
