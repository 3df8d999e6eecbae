"""What a run trains on: which groups are admitted, which prompts come up more often, and that a resume repeats it."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.inputs.difficulty import difficulty
from cluster.inputs.grades import Grade, append_grades
from cluster.inputs.prompt_mix import Pool, PromptMix
from cluster.training.curriculum import AdmissionGate, Curriculum, DifficultySampler, chance, make_curriculum
from cluster.training.groups import Group
from data.records import Rollout
from data.schema import Task, VideoPrompt
from rewards import Score
from tests.cluster.fakes import make_config, make_prompts

PROMPTS = make_prompts(40)


def score(iou: float) -> Score:
    return Score({"format": 1.0, "iou": iou}, 1 + iou, parsed=True, prediction=None, reason=None)


def group(prompt: VideoPrompt, ious: Sequence[float], staleness: int = 0) -> Group:
    scores = [score(iou) for iou in ious]
    return Group(Rollout(prompt, [], []), "clip", scores, [s.total for s in scores], staleness)


def by_difficulty(**curriculum: Any) -> RunConfig:
    return make_config(curriculum={"sampler": "difficulty"} | curriculum)


def make(config: RunConfig, prompts: Sequence[VideoPrompt] = PROMPTS) -> Curriculum:
    return make_curriculum(config, PromptMix([Pool("", prompts, 1.0)], config.run.seed))


GOOD, FLAT, OLD = (
    group(PROMPTS[0], [0.2, 0.8]),
    group(PROMPTS[1], [0.5, 0.5]),
    group(PROMPTS[2], [0, 1], staleness=2),
)


@pytest.mark.parametrize("sampler", ["in_order", "difficulty"])
def test_groups_without_a_spread_of_rewards_or_too_old_are_not_admitted(sampler: str) -> None:
    curriculum = make(make_config(grpo={"max_staleness": 1}, curriculum={"sampler": sampler}))
    assert curriculum.admit([GOOD, FLAT, OLD]) == [GOOD]
    assert curriculum.metrics()["admitted"] == pytest.approx(1 / 3)
    assert make(make_config(grpo={"max_staleness": 2})).admit([OLD]) == [OLD]


def test_a_kl_penalty_gives_a_group_of_equal_rewards_a_gradient() -> None:
    assert make(make_config(grpo={"kl_coef": 0.1})).admit([FLAT]) == [FLAT]


def test_dynamic_sampling_replaces_groups_of_equal_rewards_beside_a_kl_penalty_too() -> None:
    assert make(make_config(grpo={"kl_coef": 0.1, "dynamic_sampling": 1})).admit([GOOD, FLAT]) == [GOOD]


def test_a_spread_that_was_asked_for_is_asked_of_every_group() -> None:
    strict = make(make_config(grpo={"kl_coef": 0.1, "max_staleness": 2}, curriculum={"min_spread": 0.4}))
    assert strict.admit([GOOD, FLAT, OLD]) == [OLD]
    assert make(make_config(grpo={"kl_coef": 0.1}, curriculum={"min_spread": 0.0})).admit([FLAT]) == []


def test_the_difficulty_of_a_prompt_is_what_its_main_component_lacks() -> None:
    assert difficulty("temporal_grounding", [score(0.25), score(0.75)]) == pytest.approx(0.5)
    custom = Score({"mine": 3.0, "yours": -1.0}, 2.0, parsed=True, prediction=None, reason=None)
    assert difficulty("temporal_grounding", [custom, score(0.0)]) == pytest.approx(0.5)


def test_the_chance_is_gaussian_above_a_floor() -> None:
    section = by_difficulty(target=0.6, width=0.2, floor=0.1).curriculum
    assert chance(0.6, section) == 1
    assert chance(0.8, section) == pytest.approx(0.1 + 0.9 * math.exp(-0.5))
    assert chance(0.4, section) == pytest.approx(chance(0.8, section))
    assert chance(0.0, section) == pytest.approx(0.11, abs=0.001)


def test_hard_but_solvable_prompts_come_up_more_often_than_others_and_all_come_up() -> None:
    curriculum = make(by_difficulty(target=0.5, width=0.15, floor=0.1))
    hardness = {prompt.id: number % 4 / 3 for number, prompt in enumerate(PROMPTS)}
    hardness |= {prompt.id: 0.5 for prompt in PROMPTS[::4]}
    drawn = Counter[str]()
    for step in range(1, 201):
        draws = curriculum.sample(step, 8)
        drawn.update(draw.prompt.id for draw in draws)
        curriculum.admit([group(d.prompt, [1 - hardness[d.prompt.id]] * 2) for d in draws])
    shares = {
        level: sum(n for name, n in drawn.items() if hardness[name] == level)
        for level in set(hardness.values())
    }
    assert shares[0.5] > 1.5 * shares[1 / 3] > 3 * shares[1.0]
    assert set(drawn) == set(hardness)
    assert curriculum.metrics()["prompts_known"] == 40
    assert curriculum.metrics()["prompts_passed_over"] > 400


def test_a_prompt_that_was_never_met_is_taken() -> None:
    curriculum = make(by_difficulty(floor=0.01))
    assert {draw.prompt.id for draw in curriculum.sample(1, 40)} == {prompt.id for prompt in PROMPTS}


def test_the_running_difficulty_leans_to_the_newest_group() -> None:
    curriculum = make(by_difficulty())
    curriculum.admit([group(PROMPTS[0], [1.0, 1.0])])
    curriculum.admit([group(PROMPTS[0], [0.0, 0.0])])
    assert curriculum.state_dict()["known"] == {"p0": pytest.approx(0.5)}
    curriculum.admit([group(PROMPTS[0], [0.0, 0.0])])
    assert curriculum.metrics()["difficulty"] == pytest.approx(0.5 + 0.5 * 0.5)


def test_grades_are_where_it_starts_from(tmp_path: Path) -> None:
    grades = [Grade(id=p.id, task=str(p.task), n=4, difficulty=0.0) for p in PROMPTS[:20]]
    append_grades(tmp_path / "grades.jsonl", grades)
    config = make_config(
        curriculum={"sampler": "difficulty", "floor": 0.01},
        data={"grades": str(tmp_path / "grades.jsonl")},
    )
    drawn = [draw.prompt.id for draw in make(config).sample(1, 20)]
    assert len({p.id for p in PROMPTS[20:]}.intersection(drawn)) >= 17


@pytest.mark.parametrize("sampler", ["in_order", "difficulty"])
def test_a_resumed_curriculum_draws_the_same_prompts(sampler: str) -> None:
    config = make_config(curriculum={"sampler": sampler, "width": 0.1})
    iou = {prompt.id: random.Random(prompt.id).random() for prompt in PROMPTS}

    def run(curriculum: Curriculum, steps: range) -> list[list[str]]:
        found = []
        for step in steps:
            draws = curriculum.sample(step, 6)
            curriculum.admit([group(d.prompt, [iou[d.prompt.id], 0.9 * iou[d.prompt.id]]) for d in draws])
            found.append([draw.prompt.id for draw in draws])
        return found

    whole, before, after = make(config), make(config), make(config)
    expected = run(whole, range(1, 41))
    found = run(before, range(1, 21))
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert found + run(after, range(21, 41)) == expected
    assert after.metrics() == whole.metrics()


def test_what_is_passed_over_leaves_the_mix_its_shares() -> None:
    easy = make_prompts(10, Task.MULTIPLE_CHOICE, "c")
    config = by_difficulty(floor=0.05, width=0.1)
    pools = [Pool("a", PROMPTS, 1.0), Pool("b", easy, 1.0)]
    curriculum = DifficultySampler(config, PromptMix(pools, 0))
    curriculum.load_state_dict(curriculum.state_dict() | {"known": {p.id: 0.0 for p in easy[:9]}})
    drawn = [draw.prompt for draw in curriculum.sample(1, 100)]
    assert sum(prompt.task is Task.MULTIPLE_CHOICE for prompt in drawn) == 50


def test_the_plain_curriculum_is_the_order_of_the_mix() -> None:
    mix, same = (PromptMix([Pool("", PROMPTS, 1.0)], 0) for _ in range(2))
    gate = AdmissionGate(make_config(), mix)
    assert isinstance(make(make_config()), AdmissionGate)
    assert gate.sample(1, 50) == same.draw(1, 50)
