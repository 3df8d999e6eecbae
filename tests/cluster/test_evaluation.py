"""Evaluation: every prompt gets its own answer and score, whatever happens to the clips of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from actors.rollout_fleet import RolloutRequest
from cluster.evaluation import greedy as evaluation
from cluster.evaluation.greedy import Question, answers, ask, evaluate, perceive
from cluster.records.eval_records import EvalSample, read_eval_samples
from data.records import Response, Rollout
from data.schema import Task, VideoPrompt
from rewards import Score, score_response
from tests.cluster.fakes import (
    FakeFleet,
    FakeProgress,
    FakeSystem,
    make_config,
    make_prompts,
    own_score,
)

PROMPTS = make_prompts(5)
BROKEN = 2


def seen(samples: list[EvalSample]) -> list[tuple[str, str, float | None, str | None]]:
    return [(s.prompt.id, s.response, s.score.total if s.score else None, s.problem) for s in samples]


EXPECTED = [
    (p.id, "", None, f"{p.id} is broken") if n == BROKEN else (p.id, f"{p.id}/0", own_score(p.id), None)
    for n, p in enumerate(PROMPTS)
]


def test_answers_and_scores_belong_to_their_own_prompts_around_a_broken_clip() -> None:
    system = FakeSystem(broken={PROMPTS[BROKEN].id})
    samples = ask(make_config(), system, [Question(prompt) for prompt in PROMPTS])  # type: ignore[arg-type]
    assert seen(samples) == EXPECTED
    assert [sample.tokens for sample in samples] == [0 if n == BROKEN else 2 for n in range(5)]


def test_a_question_is_asked_as_it_says_about_its_own_clip() -> None:
    system = FakeSystem(broken={PROMPTS[BROKEN].id})
    questions = [Question(prompt, temperature=n / 4, seed=7 * n) for n, prompt in enumerate(PROMPTS)]
    config = make_config(evaluation={"max_response_tokens": 33})
    ask(config, system, questions)  # type: ignore[arg-type]
    ((*requests,),) = system.fleet.batches
    assert [(r.prompt.id, r.text, r.clip) for r in requests] == [
        (p.id, f"text of {p.id}", f"clip of {p.id}") for n, p in enumerate(PROMPTS) if n != BROKEN
    ]
    assert [(r.sampling.temperature, r.sampling.seed) for r in requests] == [
        (0, 0),
        (0.25, 7),
        (0.75, 21),
        (1, 28),
    ]
    assert {(r.sampling.group_size, r.sampling.max_tokens) for r in requests} == {(1, 33)}


@pytest.mark.parametrize("chunk", [1, 2, 3, 64])
def test_every_prompt_is_evaluated_once_in_order_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", chunk)
    config = make_config(tmp_path)
    system, progress = FakeSystem(broken={PROMPTS[BROKEN].id}), FakeProgress()
    samples = evaluate(config, system, PROMPTS, "cold_start", progress)  # type: ignore[arg-type]
    assert seen(samples) == EXPECTED
    assert seen(read_eval_samples(tmp_path, "cold_start")) == EXPECTED
    assert progress.stages == [("evaluation (cold start)", 5, 0)]
    assert progress.said[-1] == "5 done"


def test_the_next_clips_are_decoded_while_a_chunk_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 2)
    system = FakeSystem()
    prefetched = []
    for _ in answers(make_config(), system, PROMPTS):  # type: ignore[arg-type]
        asked = system.clips.requested[-len(system.fleet.batches[-1]) :]
        prefetched.append((asked, system.clips.prefetched))
    names = [prompt.id for prompt in PROMPTS]
    assert prefetched == [(names[n : n + 2], names[n : n + 4]) for n in (0, 2, 4)]


def test_held_out_answers_are_greedy_and_scored_by_rule(tmp_path: Path) -> None:
    system = FakeSystem()
    evaluate(make_config(tmp_path), system, PROMPTS, "grpo", FakeProgress())  # type: ignore[arg-type]
    assert {request.sampling.temperature for batch in system.fleet.batches for request in batch} == {0.0}
    assert system.rewards.by_rule == [True]


class Answers(FakeFleet):
    """Gives each prompt its answers in turn, the last one from then on."""

    def __init__(self, system: FakeSystem, answers: dict[str, list[str]]) -> None:
        super().__init__(system)
        self.answers = answers

    def _rollout(self, request: RolloutRequest) -> Rollout:
        mine = self.answers[request.prompt.id]
        text = mine.pop(0) if len(mine) > 1 else mine[0]
        response = Response(0, [5], text, [-0.5], "stop", [(0, 1, 0)])
        return Rollout(request.prompt, [1], [response], starts_at=0.5)


class Rules:
    def score(self, rollouts: Sequence[Rollout], by_rule: bool = False) -> list[list[Score]]:
        return [[self._score(r.prompt, response.text) for response in r.responses] for r in rollouts]

    def _score(self, prompt: VideoPrompt, text: str) -> Score:
        return score_response(prompt.task, text, prompt.target, duration=prompt.duration, template="direct")


def look(
    task: Task, answers: dict[str, list[str]], rounds: int, broken: Sequence[str] = (), **listed: None
) -> tuple[list[EvalSample], list[list[RolloutRequest]]]:
    system = FakeSystem(broken)
    system.fleet, system.rewards = Answers(system, answers), Rules()  # type: ignore[assignment]
    config = make_config(evaluation={"perception_rounds": rounds})
    questions = [Question(replace(prompt, **listed)) for prompt in make_prompts(len(answers), task)]
    return perceive(config, system, questions), system.fleet.batches  # type: ignore[arg-type]


def windows(batch: list[RolloutRequest]) -> dict[str, tuple[tuple[float, float], ...]]:
    return {request.prompt.id: request.prompt.windows for request in batch}


TIMES = ["<answer>2 to 4</answer>", "<answer>2 to 4</answer>"]


def test_one_round_asks_once_with_the_usual_frames() -> None:
    samples, batches = look(Task.TEMPORAL_GROUNDING, {"p0": list(TIMES)}, rounds=1)
    assert [windows(batch) for batch in batches] == [{"p0": ()}]
    assert (samples[0].response, samples[0].starts_at) == (TIMES[0], 0.5)


def test_what_is_named_is_looked_at_and_the_answer_is_on_the_videos_clock() -> None:
    """The fake clip shows its frames at twice their time: 2 to 4 of a closer look is 1 to 4 (the end is the end)."""
    samples, batches = look(Task.TEMPORAL_GROUNDING, {"p0": list(TIMES)}, rounds=3)
    assert [windows(batch) for batch in batches] == [{"p0": ()}, {"p0": ((2, 4),)}, {"p0": ((1, 4),)}]
    (sample,) = samples
    assert (sample.response, sample.starts_at) == ("<answer>1.00 to 4.00</answer>", 0.0)
    assert sample.score is not None
    assert sample.score.rewards["iou"] == pytest.approx(1 / 3), "of 1 to 4 and the annotated 1 to 2"
    assert sample.prompt.windows == ((1, 4),)


def test_an_answer_that_names_nothing_stands() -> None:
    answers = {"p0": ["no idea", "<answer>1 to 2</answer>"], "p1": list(TIMES)}
    samples, batches = look(Task.TEMPORAL_GROUNDING, answers, rounds=2)
    assert [windows(batch) for batch in batches] == [{"p0": (), "p1": ()}, {"p1": ((2, 4),)}]
    assert samples[0].response == "no idea"


def test_a_closer_look_that_names_nothing_ends_the_looking() -> None:
    """Going back to the usual frames would ask the first question again."""
    samples, batches = look(Task.TEMPORAL_GROUNDING, {"p0": ["<answer>2 to 4</answer>", "no idea"]}, rounds=4)
    assert [windows(batch) for batch in batches] == [{"p0": ()}, {"p0": ((2, 4),)}]
    assert samples[0].response == "no idea"


def test_a_choice_is_asked_for_its_evidence_first_and_plainly_last() -> None:
    grounded = "<answer>B</answer><glue>[(1, 2)]</glue>"
    answers = {"p0": [grounded, grounded, "<answer>A</answer>"], "p1": ["?", "?", "<answer>A</answer>"]}
    samples, batches = look(Task.MULTIPLE_CHOICE, answers, rounds=3)
    assert [{r.prompt.task for r in batch} for batch in batches] == [
        {Task.GROUNDED_QA},
        {Task.GROUNDED_QA},
        {Task.MULTIPLE_CHOICE},
    ]
    assert windows(batches[1]) == {"p0": ((1, 2),)}
    assert windows(batches[2]) == {"p0": ((0.5, 1),), "p1": ()}
    assert [sample.prompt.task for sample in samples] == [Task.MULTIPLE_CHOICE] * 2
    assert samples[0].score is not None and samples[0].score.rewards["accuracy"] == 1.0


def test_a_clip_of_unlisted_length_is_looked_at_as_long_as_it_is() -> None:
    """Video-MME lists no lengths."""
    answers = {"p0": ["<answer>B</answer><glue>[(1, 2)]</glue>", "<answer>A</answer>"], "p1": []}
    samples, batches = look(Task.MULTIPLE_CHOICE, answers, rounds=2, broken=["p1"], duration=None)
    assert [{r.prompt.task for r in batch} for batch in batches] == [
        {Task.GROUNDED_QA},
        {Task.MULTIPLE_CHOICE},
    ]
    assert windows(batches[1]) == {"p0": ((1, 2),)}
    assert samples[0].score is not None and samples[0].score.rewards["accuracy"] == 1.0
    assert samples[1].problem == "p1 is broken"


def test_a_broken_clip_stays_unanswered_beside_a_closer_look() -> None:
    samples, batches = look(Task.TEMPORAL_GROUNDING, {"p0": [], "p1": list(TIMES)}, 2, broken=["p0"])
    assert [windows(batch) for batch in batches] == [{"p1": ()}, {"p1": ((2, 4),)}]
    assert (samples[0].score, samples[0].problem) == (None, "p0 is broken")


def test_the_windows_of_the_last_look_are_kept_with_the_sample(tmp_path: Path) -> None:
    system = FakeSystem()
    system.fleet, system.rewards = Answers(system, {"p0": list(TIMES)}), Rules()  # type: ignore[assignment]
    config = make_config(tmp_path, evaluation={"perception_rounds": 2})
    evaluate(config, system, make_prompts(1), "grpo", FakeProgress())  # type: ignore[arg-type]
    (sample,) = read_eval_samples(tmp_path, "grpo")
    assert sample.prompt.windows == ((2.0, 4.0),)
