"""The configuration's shape: few fields, all described, all checked by type, none changeable."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from cluster.config import RunConfig
from cluster.config.checks import contradictions
from cluster.config.fields import every_field, nearest, sections
from data.sampling import SamplingContract

# Words of which each numeric field's description must have one: its unit.
UNITS = re.compile(
    r"seconds|GiB|MiB|tokens|steps|prompts|responses|samples|frames|pixels|cores|requests|events|rounds|GPUs|actors|engines|processes|threads|"
    r"versions|checkpoints|sequences|No unit|weights|numbers|0-1|per step|Seed|never|ZeRO stage"
)


EVERY_FIELD = {field.key: field for field in every_field()}


# A new field takes the place of one that nobody sets; what is sound for everyone is a constant beside its use.
MOST_FIELDS = 138


def test_no_more_fields_than_there_were() -> None:
    assert 60 < len(EVERY_FIELD) <= MOST_FIELDS


@pytest.mark.parametrize("key", EVERY_FIELD)
def test_every_field_is_described_with_its_unit(key: str) -> None:
    field = EVERY_FIELD[key]
    assert len(field.description) > 15
    assert field.description.endswith(".")
    if "number" in field.allowed:
        assert UNITS.search(field.description), field.description


def test_every_section_is_described() -> None:
    assert all(section.__doc__ for section in sections().values())


def test_the_defaults_do_not_contradict_each_other() -> None:
    assert list(contradictions(RunConfig())) == []


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().rollout.group_size = 4  # type: ignore[misc]


def test_video_fields_are_the_sampling_contract() -> None:
    assert SamplingContract(**RunConfig().video.model_dump()) == SamplingContract()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("rollout.group_szie", "rollout.group_size"),
        ("grpo.group_size", "rollout.group_size"),
        ("group_size", "rollout.group_size"),
        ("rolout.num_workers", "rollout.num_workers"),
        ("learner.timeout_s", "learner.step_timeout_s"),
        ("checkpoint.fps", "video.fps"),
        ("evaluation.dtype", "model.dtype"),
        ("learner.lr", "learner.learning_rate"),
        ("data.tasks.tracing", "data.tasks.tracking"),
        ("lerner", "learner"),
        ("xyz", None),
        ("sync.xyz", None),
    ],
)
def test_nearest_key(wrong: str, right: str | None) -> None:
    assert nearest(wrong) == right


def test_a_cold_start_comes_before_the_tiny_policy_only() -> None:
    assert RunConfig().has_cold_start
    assert not RunConfig.model_validate({"model": {"path": "a/b"}}).has_cold_start
    assert RunConfig.model_validate({"model": {"path": "a/b"}, "run": {"algorithm": "sft"}}).has_cold_start


@pytest.mark.parametrize(
    ("rollout", "learner", "backend"),
    [(0.0, 0.0, "gloo"), (1.0, 1.0, "nccl"), (0.45, 0.45, "gloo"), (2.0, 0.0, "gloo")],
)
def test_auto_sync_uses_nccl_between_whole_gpus_only(rollout: float, learner: float, backend: str) -> None:
    config = RunConfig.model_validate(
        {"rollout": {"gpus_per_worker": rollout}, "learner": {"gpus_per_worker": learner}}
    )
    assert config.sync_backend == backend


def test_the_longest_sequence_counts_evaluation() -> None:
    config = RunConfig.model_validate(
        {
            "rollout": {"max_prompt_tokens": 100, "max_response_tokens": 10},
            "evaluation": {"max_response_tokens": 20},
        }
    )
    assert config.max_model_tokens == 120
