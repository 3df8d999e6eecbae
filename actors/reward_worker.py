"""A reward worker: scores responses by rule, or by the user's own functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from actors.custom_reward import apply_custom_reward, load_custom_reward
from data.records import Response
from data.schema import VideoPrompt
from rewards import Mode, Score, score_response


class RewardWorker:
    """Ray actor around `rewards.score_response`.

    Args:
        mode: `strict`, or `paper` for the behaviour of the paper's released functions.
        custom: Dotted path of a reward function by task; other tasks are scored by rule.

    Raises:
        CustomRewardError: a dotted path does not lead to a function.
    """

    def __init__(self, mode: Mode = "strict", custom: Mapping[str, str] | None = None) -> None:
        self._mode = mode
        self._custom = {task: load_custom_reward(task, path) for task, path in (custom or {}).items()}
        self._failures: Counter[str] = Counter()

    def score(
        self, items: Sequence[tuple[VideoPrompt, Response, bool]], by_rule: bool = False
    ) -> list[Score]:
        """Score responses, in order. Never raises, whatever a response says.

        Args:
            items: Prompt, one of its responses, and whether it was asked to think first.
            by_rule: Leave the custom functions out: evaluation measures what the metrics' names say.
        """
        return [self._score(prompt, response.text, thinking, by_rule) for prompt, response, thinking in items]

    def failures(self) -> dict[str, int]:
        """How often a custom reward function failed, by reason."""
        return dict(self._failures)

    def _score(self, prompt: VideoPrompt, text: str, thinking: bool, by_rule: bool) -> Score:
        score = score_response(
            prompt.task,
            text,
            prompt.target,
            duration=prompt.duration,
            mode=self._mode,
            thinking=thinking,
            num_options=len(prompt.options) or None,
        )
        if by_rule or prompt.task not in self._custom:
            return score
        return self._score_custom(prompt, text, score)

    def _score_custom(self, prompt: VideoPrompt, text: str, by_rule: Score) -> Score:
        """The custom components; what was read from the answer stays as found by rule, for the report."""
        function = self._custom[prompt.task]
        components, reason = apply_custom_reward(function, prompt.task, text, prompt.target, prompt.duration)
        if reason:
            self._failures[f"{prompt.task}: {reason}"] += 1
        return replace(by_rule, rewards=components, total=sum(components.values()), reason=reason)
