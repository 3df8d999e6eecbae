"""A reward worker: scores responses by rule, or by the user's own functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from actors.caption_judge import EndpointJudge, Judge, JudgeReport, Question
from actors.custom_reward import apply_custom_reward, load_custom_reward
from actors.judge_endpoint import JudgeSettings
from data.records import Response
from data.schema import VideoPrompt
from rewards import Mode, Score, score_response


class RewardWorker:
    """Ray actor around `rewards.score_response`.

    Args:
        mode: `strict`, or `paper` for the behaviour of the paper's released functions.
        custom: Dotted path of a reward function by task; other tasks are scored by rule.
        judge: Where the judge of captions is; None leaves them to the lexical judge.

    Raises:
        CustomRewardError: a dotted path does not lead to a function.
    """

    def __init__(
        self,
        mode: Mode = "strict",
        custom: Mapping[str, str] | None = None,
        judge: JudgeSettings | None = None,
    ) -> None:
        self._mode = mode
        self._judge = EndpointJudge(judge) if judge else None
        self._custom = {task: load_custom_reward(task, path) for task, path in (custom or {}).items()}
        self._failures: Counter[str] = Counter()

    def score(
        self, items: Sequence[tuple[VideoPrompt, Response, bool]], by_rule: bool = False
    ) -> list[Score]:
        """Score responses, in order. Whatever a response says, it does not raise.

        Args:
            items: Prompt, one of its responses, and whether it was asked to think first.
            by_rule: Leave the custom functions out: evaluation measures what the metrics' names say.

        Raises:
            EndpointError: the judge cannot be used, and nothing is to take its place.
        """
        if self._judge is not None:
            self._judge.prepare(self._questions(items, by_rule))
        return [self._score(prompt, response.text, thinking, by_rule) for prompt, response, thinking in items]

    def failures(self) -> dict[str, int]:
        """How often a custom reward function failed, by reason."""
        return dict(self._failures)

    def judge_report(self) -> JudgeReport:
        """What the judge has done so far; nothing without one."""
        return self._judge.report() if self._judge else JudgeReport()

    def _questions(
        self, items: Sequence[tuple[VideoPrompt, Response, bool]], by_rule: bool
    ) -> list[Question]:
        """What scoring will ask the judge, found by scoring: only the scorer knows where a response's caption is."""
        asked: list[Question] = []

        def note(events: Sequence[str], caption: str) -> list[bool]:
            asked.append((tuple(events), caption))
            return [False] * len(events)

        for prompt, response, thinking in items:
            if by_rule or prompt.task not in self._custom:
                self._score_by_rule(prompt, response.text, thinking, note)
        return asked

    def _score(self, prompt: VideoPrompt, text: str, thinking: bool, by_rule: bool) -> Score:
        if by_rule or prompt.task not in self._custom:
            return self._score_by_rule(prompt, text, thinking, self._judge)
        return self._score_custom(prompt, text, self._score_by_rule(prompt, text, thinking, None))

    def _score_by_rule(self, prompt: VideoPrompt, text: str, thinking: bool, judge: Judge | None) -> Score:
        judged = {"judge": judge} if judge else {}
        return score_response(
            prompt.task,
            text,
            prompt.target,
            duration=prompt.duration,
            mode=self._mode,
            thinking=thinking,
            num_options=len(prompt.options) or None,
            **judged,
        )

    def _score_custom(self, prompt: VideoPrompt, text: str, by_rule: Score) -> Score:
        """The custom components; what was read from the answer stays as found by rule, for the report."""
        function = self._custom[prompt.task]
        components, reason = apply_custom_reward(function, prompt.task, text, prompt.target, prompt.duration)
        if reason:
            self._failures[f"{prompt.task}: {reason}"] += 1
        return replace(by_rule, rewards=components, total=sum(components.values()), reason=reason)
