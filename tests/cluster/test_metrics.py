"""Step and sample records: valid JSON whatever was measured, flushed per step, cut back on resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cluster.records.json_lines import JsonLines, keep_through, read_records
from cluster.records.metrics import (
    PerStage,
    SampleRecord,
    Stage,
    StepRecord,
    TaskRewards,
    scalars,
)

NAN, INF = float("nan"), float("inf")


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def strict_json(line: str) -> Any:
    return json.loads(line, parse_constant=refuse_constant)


def sample(step: int = 1, response: str = "<answer>A</answer>") -> SampleRecord:
    return SampleRecord(
        step=step,
        prompt_id="clip-1",
        task="multiple_choice",
        index=0,
        response=response,
        rewards={"format": 1.0, "accuracy": NAN},
        total=1.0,
        weight_versions=[(0, 4, 7)],
    )


def test_a_number_that_is_not_finite_becomes_null_wherever_it_stands(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl")
    rewards = TaskRewards(reward=NAN, components={"iou": -INF, "format": 0.5}, responses=4)
    seconds = PerStage(learn=INF, total=2.0)
    log.append(StepRecord(step=1, loss=NAN, grad_norm=INF, tasks={"tracking": rewards}, seconds=seconds))
    line = strict_json((tmp_path / "metrics.jsonl").read_text())
    assert line["loss"] is None and line["grad_norm"] is None
    assert line["tasks"]["tracking"] == {
        "reward": None,
        "components": {"iou": None, "format": 0.5},
        "responses": 4,
    }
    assert line["seconds"]["learn"] is None and line["seconds"]["total"] == 2.0


def test_each_record_is_on_disk_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl")
    for step in range(1, 4):
        log.append(StepRecord(step=step))
        assert len((tmp_path / "metrics.jsonl").read_bytes().splitlines()) == step


def test_records_read_back_as_they_were_written(tmp_path: Path) -> None:
    written = [
        StepRecord(step=0, stage=Stage.COLD_START, loss=2.5),
        StepRecord(step=1, mismatch=1.00004, tokens=PerStage(rollout=812)),
    ]
    log = JsonLines(tmp_path / "m.jsonl")
    log.append(*written)
    log.close()
    assert list(read_records(tmp_path / "m.jsonl", StepRecord)) == written


@given(st.text(alphabet=st.characters(categories=("L", "Zl", "Zp", "Cc", "Cs", "So"))))
def test_any_response_text_stays_on_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("samples") / "samples.jsonl"
    log = JsonLines(path)
    log.append(sample(response=text))
    log.close()
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1
    (back,) = read_records(path, SampleRecord)
    assert back.response == text.encode("utf-8", "replace").decode()


def test_resuming_keeps_the_records_up_to_the_resumed_step_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path)
    log.append(*(StepRecord(step=step) for step in range(1, 8)))
    log.close()
    assert keep_through(path, StepRecord, last_step=5) == 2
    log = JsonLines(path)
    log.append(StepRecord(step=6, loss=0.5))
    steps = list(read_records(path, StepRecord))
    assert [record.step for record in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[-1].loss == 0.5


def test_resuming_cuts_every_sample_of_a_later_step(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    log = JsonLines(path)
    log.append(*(sample(step) for step in (1, 1, 2, 2, 3, 3)))
    log.close()
    assert keep_through(path, SampleRecord, last_step=2) == 2
    assert [record.step for record in read_records(path, SampleRecord)] == [1, 1, 2, 2]


def test_resuming_without_a_file_is_fine(tmp_path: Path) -> None:
    assert keep_through(tmp_path / "metrics.jsonl", StepRecord, last_step=3) == 0
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_line_torn_by_a_kill_is_dropped_and_never_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path)
    log.append(StepRecord(step=1), StepRecord(step=2))
    log.close()
    path.write_bytes(path.read_bytes()[:-9])
    assert [record.step for record in read_records(path, StepRecord)] == [1]
    JsonLines(path).append(StepRecord(step=2))
    assert [record.step for record in read_records(path, StepRecord)] == [1, 2]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": "x"}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2"):
        list(read_records(path, StepRecord))


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="los"):
        StepRecord(step=1, los=0.5)  # type: ignore[call-arg]


def test_scalars_carry_task_and_component_and_leave_out_what_was_not_measured() -> None:
    rewards = TaskRewards(reward=1.25, components={"format": 0.0, "iou": NAN}, responses=8)
    record = StepRecord(
        step=3, loss=NAN, mismatch=1.0, tasks={"tracking": rewards}, seconds=PerStage(sync=0.5)
    )
    found = {scalar.key: scalar.value for scalar in scalars(record)}
    assert found["reward/tracking/total"] == 1.25
    assert found["reward/tracking/format"] == 0.0
    assert found["seconds/sync"] == 0.5
    assert found["mismatch"] == 1.0
    assert not {"loss", "reward/tracking/iou", "seconds/total"} & set(found)
