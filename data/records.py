"""Records that pass between actors, learner and the training loop: plain data, no pixels, no tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from data.schema import VideoPrompt


@dataclass(frozen=True)
class SamplingSettings:
    """How a rollout worker samples the responses of one prompt.

    Attributes:
        group_size: G, responses per prompt.
        temperature: 0 is greedy.
        max_tokens: Longest response in tokens.
        seed: Seed of the group; response i uses a seed derived from it.
    """

    group_size: int
    temperature: float
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class Response:
    """One sampled response.

    Attributes:
        index: Position in its group, 0 to G-1.
        token_ids: Sampled tokens, the end token included when it was sampled.
        text: Decoded response without special tokens.
        logprobs: Log-probability of each token under the distribution it was sampled from (temperature and banned
            tokens applied).
        finish_reason: `stop` or `length`.
        weight_versions: `(start, end, version)` spans over `token_ids`, one per behaviour policy.
    """

    index: int
    token_ids: list[int]
    text: str
    logprobs: list[float]
    finish_reason: str
    weight_versions: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Rollout:
    """A prompt with its group of responses.

    Attributes:
        prompt_token_ids: The prompt as the rollout engine saw it, video placeholders expanded.
        worker: Name of the rollout worker that sampled it.
        seconds: Time the group took on that worker.
        starts_at: When the policy's clock starts on the clip's, seconds; see `data.clock`.
    """

    prompt: VideoPrompt
    prompt_token_ids: list[int]
    responses: list[Response]
    worker: str = ""
    seconds: float = 0.0
    starts_at: float = 0.0


@dataclass(frozen=True)
class TrainSample:
    """One row of a learner batch: a prompt with one response and what the objective needs to know of it.

    Attributes:
        clip: Object reference of the decoded clip (or the clip itself when no Ray is involved).
        rollout_logprobs: Behaviour policy's log-probabilities per response token; empty for supervised samples.
        advantage: Group-relative advantage; unused for supervised samples.
    """

    prompt: VideoPrompt
    prompt_token_ids: list[int]
    response_token_ids: list[int]
    clip: Any
    rollout_logprobs: list[float] = field(default_factory=list)
    advantage: float = 0.0
