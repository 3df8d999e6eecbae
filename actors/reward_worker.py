"""A reward worker: scores responses by rule, or by the user's own functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from actors.caption_judge import JudgeReport, Question, QuestionNotes, make_judge
from actors.custom_reward import apply_custom_reward, load_custom_reward
from actors.judge_endpoint import JudgeSettings
from data.records import Response
from data.schema import VideoPrompt
from rewards import TASKS, Mode, Score, Scorer, Template
from rewards.scoring import evaluation_options

Item = tuple[VideoPrompt, Response]


class RewardWorker:
    """Ray actor around `rewards.Scorer`.

    Args:
        mode: `strict`, or `paper` for the behaviour of the paper's released functions.
        template: How the prompts asked for their answers.
        options: Options by task, where they are not the defaults.
        weights: Weights of components by task, where they are not 1.
        custom: Dotted path of a reward function by task; other tasks are scored by rule.
        judge: Where the judge of captions is; None leaves them to the lexical judge.

    Raises:
        ValueError: an option or a weight is not one of its task.
        CustomRewardError: a dotted path does not lead to a function.
    """

    def __init__(
        self,
        mode: Mode = "strict",
        template: Template = "thinking",
        options: Mapping[str, Mapping[str, Any]] | None = None,
        weights: Mapping[str, Mapping[str, float]] | None = None,
        custom: Mapping[str, str] | None = None,
        judge: JudgeSettings | None = None,
    ) -> None:
        self._custom = {task: load_custom_reward(task, path) for task, path in (custom or {}).items()}
        self._judge = make_judge(judge) if judge else None
        self._notes = QuestionNotes()
        given = {task: (options or {}).get(task, {}) for task in TASKS}
        measured = {task: evaluation_options(task, given[task]) for task in TASKS}
        self._plain = {
            task: Scorer(task, mode, template, measured[task], judge=self._judge) for task in TASKS
        }
        # By whether scoring is by rule, for what is asked depends on the options.
        self._noting = {
            by_rule: {task: Scorer(task, mode, template, its[task], judge=self._notes) for task in TASKS}
            for by_rule, its in ((True, measured), (False, given))
        }
        self._scorers = {
            task: Scorer(
                task,
                mode,
                template,
                given[task],
                (weights or {}).get(task),
                # What takes the place of a score by rule is not worth a request.
                None if task in self._custom else self._judge,
            )
            for task in TASKS
        }
        self._failures: Counter[str] = Counter()

    def score(self, items: Sequence[Item], by_rule: bool = False) -> list[Score]:
        """Score responses, in order. Whatever a response says, it does not raise.

        Args:
            items: Prompt, and one of its responses.
            by_rule: Leave weights, custom functions and options that only shape rewards out: evaluation measures what
                the metrics' names say.

        Raises:
            EndpointError: the judge cannot be used, and nothing is to take its place.
        """
        if self._judge is not None:
            self._judge.prepare(self._questions(items, by_rule))
        scorers = self._plain if by_rule else self._scorers
        scores = [self._score(scorers[prompt.task], prompt, response) for prompt, response in items]
        if by_rule:
            return scores
        return [self._custom_score(*item, score) for item, score in zip(items, scores, strict=True)]

    def failures(self) -> dict[str, int]:
        """How often a custom reward function failed, by reason."""
        return dict(self._failures)

    def judge_report(self) -> JudgeReport:
        """What the judge has done so far; nothing without one."""
        return self._judge.report() if self._judge else JudgeReport()

    def _questions(self, items: Sequence[Item], by_rule: bool) -> list[Question]:
        """What scoring will ask the judge, found by scoring: only the scorer knows where a response's caption is."""
        for prompt, response in items:
            if by_rule or prompt.task not in self._custom:
                self._score(self._noting[by_rule][prompt.task], prompt, response)
        return self._notes.take()

    def _score(self, scorer: Scorer, prompt: VideoPrompt, response: Response) -> Score:
        return scorer.score(
            response.text,
            prompt.target,
            duration=prompt.duration,
            options=prompt.options,
            tokens=len(response.token_ids),
        )

    def _custom_score(self, prompt: VideoPrompt, response: Response, by_rule: Score) -> Score:
        """The custom components; what was read from the answer stays as found by rule, for the report."""
        if prompt.task not in self._custom:
            return by_rule
        function = self._custom[prompt.task]
        components, reason = apply_custom_reward(
            function, prompt.task, response.text, prompt.target, prompt.duration
        )
        if reason:
            self._failures[f"{prompt.task}: {reason}"] += 1
        return replace(by_rule, rewards=components, total=sum(components.values()), reason=reason)
