"""Evaluation: every prompt gets its own answer and score, whatever happens to the clips of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import evaluation
from cluster.eval_records import EvalSample, read_eval_samples
from cluster.evaluation import Question, ask, evaluate
from tests.cluster.fakes import FakeProgress, FakeSystem, make_config, make_prompts, own_score

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


def test_held_out_answers_are_greedy_and_scored_by_rule(tmp_path: Path) -> None:
    system = FakeSystem()
    evaluate(make_config(tmp_path), system, PROMPTS, "grpo", FakeProgress())  # type: ignore[arg-type]
    assert {request.sampling.temperature for batch in system.fleet.batches for request in batch} == {0.0}
    assert system.rewards.by_rule == [True]
