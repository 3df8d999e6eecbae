"""The command that scores a file."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rewards import MAIN_COMPONENT, TASKS

ROOT = Path(__file__).parents[2]
BOXES = [[0.1, 0.1, 0.5, 0.5]] * 8


def line(id: Any, task: str, answer: str, target: Any, **more: Any) -> dict[str, Any]:
    response = f"<think>x</think><answer>{answer}</answer>{more.pop('glue', '')}"
    return {"id": id, "task": task, "response": response, "target": target, "duration": 30.0, **more}


GOOD = [
    line("tg-1", "temporal_grounding", "10 to 20", {"interval": [12, 18]}),
    line("tg-2", "temporal_grounding", "12 to 18", {"interval": [12, 18]}, duration=None),
    line("tr-1", "tracking", str(BOXES), {"boxes": BOXES}),
    line("mc-1", "multiple_choice", "E", {"answer": "C"}, options=["w", "x", "y", "z"]),
    line(7, "grounded_qa", "C", {"answer": "C", "intervals": [[5, 10]]}, glue="<glue>[(5, 7)]</glue>"),
]


def score(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rewards.score", "--input", str(file), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def write(folder: Path, lines: list[Any]) -> Path:
    """A predictions file of JSON objects, or of raw bytes as they are."""
    file = folder / "predictions.jsonl"
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    file.write_bytes(b"\n".join(raw) + b"\n")
    return file


def strict_json(text: str) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(row, parse_constant=refuse) for row in text.splitlines()]


def row_of(table: str, task: str, component: str) -> list[str]:
    """Cells of the summary's row of a task and a component."""
    rows = [[cell.strip() for cell in row.strip("│ ").split("│")] for row in table.splitlines()]
    return next(row for row in rows if len(row) > 3 and row[0] == task and row[3] == component)


def test_a_file_of_good_lines(tmp_path: Path) -> None:
    run = score(write(tmp_path, GOOD))
    assert run.returncode == 0, run.stderr
    assert strict_json(run.stdout) == [
        {"id": "tg-1", "task": "temporal_grounding", "rewards": {"format": 1.0, "iou": 0.6}, "total": 1.6},
        {"id": "tg-2", "task": "temporal_grounding", "rewards": {"format": 1.0, "iou": 1.0}, "total": 2.0},
        {"id": "tr-1", "task": "tracking", "rewards": {"format": 1.0, "iou": 1.0}, "total": 2.0},
        {"id": "mc-1", "task": "multiple_choice", "rewards": {"format": 0.0, "accuracy": 0.0}, "total": 0.0},
        {
            "id": 7,
            "task": "grounded_qa",
            "rewards": {"format": 1.0, "accuracy": 1.0, "evidence_iou": 0.4},
            "total": 2.4,
        },
    ]
    assert row_of(run.stderr, "temporal_grounding", "iou")[1:6] == ["2", "0", "iou", "0.8000", "1.0000"]
    assert row_of(run.stderr, "tracking", "iou")[5] == "1.0000"
    assert row_of(run.stderr, "multiple_choice", "accuracy")[4:] == ["0.0000", "1.0000"]
    assert row_of(run.stderr, "grounded_qa", "total")[4] == "2.4000"
    assert "constant answer for tracking: first box repeated" in run.stderr
    assert "constant answer for temporal_grounding: 40% to 60% of the clip" in run.stderr
    assert "bad lines: 0" in run.stderr


def test_output_file_paper_mode_and_direct_template(tmp_path: Path) -> None:
    direct = line("a", "temporal_grounding", "1:02 to 1:10", {"interval": [1, 2]})
    direct["response"] = "<answer>-1 to 2</answer>"
    output = tmp_path / "scores.jsonl"
    run = score(write(tmp_path, [direct]), "--mode", "paper", "--template", "direct", "--output", str(output))
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert [row["rewards"] for row in strict_json(output.read_text())] == [{"format": 1.0, "iou": 1.0}]


def test_every_task_is_scored_beside_its_constant_answer(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    samples = [json.loads(text) for text in re.findall(r"```json\n(.*)\n```", page)]
    answers = {
        "temporal_grounding": "12.5 to 17",
        "tracking": str([[0.1, 0.4, 0.3, 0.6]] * 8),
        "multiple_choice": "B",
        "grounded_qa": "A",
        "spatial_grounding": "[0.42, 0.3, 0.55, 0.9]",
        "captioning": "A dog ran out.",
        "quality": "High quality",
        "numerical": "**3**",
        "ocr": "OPEN ALL NIGHT",
        "free_form": "it rains",
        "regression": "3",
    }
    assert list(answers) == list(TASKS)
    lines = [sample | {"response": f"<answer>{answers[sample['task']]}</answer>"} for sample in samples]
    run = score(write(tmp_path, lines), "--template", "direct")
    assert run.returncode == 0, run.stderr
    mains = [row["rewards"][MAIN_COMPONENT[row["task"]]] for row in strict_json(run.stdout)]
    overlap = 1 / 7 * (1 + 2 * 1 / 3)
    assert mains[0] == mains[2] == mains[3] == mains[4] == mains[6] == mains[7] == mains[8] == 1.0
    assert mains[1] == pytest.approx(overlap)
    assert mains[5] == 0.5
    assert mains[10] == pytest.approx(0.75)
    for task in TASKS:
        constant = row_of(run.stderr, task, MAIN_COMPONENT[task])[5]
        assert 0.0 < float(constant) <= 1.0


# A line, what is told of it, and the task that counts it.
BAD: list[tuple[Any, str, str | None]] = [
    (b'{"id": "x", "task": "tracking"', "not JSON", None),
    (b"[1, 2]", "expected a JSON object", None),
    (b'{"id": "x\xff"}', "not UTF-8", None),
    (b"[" * 100_000, "not JSON", None),
    (b'{"id": ' + b"9" * 5000 + b"}", "not JSON", None),
    (b'{"id": "x", "task": "tracking", "duration": NaN}', "not standard JSON", None),
    ({**GOOD[0], "task": "dancing"}, "unknown task 'dancing'; known: temporal_grounding", None),
    ({**GOOD[0], "task": ["tracking"]}, "unknown task", None),
    ({"id": "x", "response": "", "target": {}}, "missing task", None),
    ({"task": "tracking", "response": "", "target": {"boxes": BOXES}}, "missing id", "tracking"),
    ({"id": "x", "task": "tracking"}, "missing response, target", "tracking"),
    ({**GOOD[0], "id": None}, "id must be", "temporal_grounding"),
    ({**GOOD[0], "response": None}, "response must be a string, found NoneType", "temporal_grounding"),
    ({**GOOD[0], "target": {"interval": [12]}}, "target.interval", "temporal_grounding"),
    ({**GOOD[0], "target": {"boxes": BOXES}}, "target.interval", "temporal_grounding"),
    ({**GOOD[0], "duration": "30"}, "duration must be", "temporal_grounding"),
    ({**GOOD[3], "target": {"answer": "F"}}, "option F does not exist", "multiple_choice"),
    ({**GOOD[3], "options": None, "num_options": 99}, "number of options", "multiple_choice"),
]


@pytest.fixture(scope="module")
def run_on_bad_lines(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return score(write(tmp_path_factory.mktemp("bad"), [*GOOD, *(line for line, _, _ in BAD)]))


def test_bad_lines_are_reported_by_number(run_on_bad_lines: subprocess.CompletedProcess[str]) -> None:
    assert run_on_bad_lines.returncode == 1
    for number, (_, reason, task) in enumerate(BAD, start=len(GOOD) + 1):
        reported = next(
            row for row in run_on_bad_lines.stderr.splitlines() if row.startswith(f"line {number}: ")
        )
        assert reason in reported
        assert reported.endswith("(scored 0)" if task else "(unscored)")
    assert f"bad lines: {len(BAD)} (scored 0: 9, unscored lines: 9)" in run_on_bad_lines.stderr


def test_bad_lines_stay_in_the_denominator(run_on_bad_lines: subprocess.CompletedProcess[str]) -> None:
    rows = strict_json(run_on_bad_lines.stdout)
    assert len(rows) == len(GOOD) + 9
    assert all(row["total"] == 0 for row in rows[len(GOOD) :])
    assert [row["task"] for row in rows[len(GOOD) :]] == [task for _, _, task in BAD if task]
    # Two good lines (0.6 + 1.0) and five bad ones, of which two have a usable target for the constant answer.
    cells = row_of(run_on_bad_lines.stderr, "temporal_grounding", "iou")
    assert cells[1:6] == ["7", "5", "iou", f"{1.6 / 7:.4f}", f"{4 / 7:.4f}"]


def test_the_order_of_the_lines_leaves_the_means(
    tmp_path: Path, run_on_bad_lines: subprocess.CompletedProcess[str]
) -> None:
    lines = [*GOOD, *(line for line, _, _ in BAD)]
    random.Random(1).shuffle(lines)
    run = score(write(tmp_path, lines))
    assert (
        run.stderr[run.stderr.index("strict scoring") :]
        == (run_on_bad_lines.stderr[run_on_bad_lines.stderr.index("strict scoring") :])
    )


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "reversed": (
        line("odd", "temporal_grounding", "12 to 18", {"interval": [18, 12]}),
        "ends after it starts",
    ),
    "past the clip": (
        line("odd", "temporal_grounding", "1 to 2", {"interval": [40, 50]}),
        "outside the clip",
    ),
    "evidence": (
        line("odd", "grounded_qa", "C", {"answer": "C", "intervals": [[9, 3]]}, glue="<glue>[(5, 7)]</glue>"),
        "reversed",
    ),
    "pixels": (line("odd", "spatial_grounding", "[0, 0, 1, 1]", {"box": [100, 50, 300, 200]}), "box"),
    "another script": (line("odd", "free_form", "a cat", {"text": "\u732b"}), "word"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_target_that_would_not_score_itself_is_told_and_counts(tmp_path: Path, kind: str) -> None:
    odd, reason = ODD[kind]
    run = score(write(tmp_path, [*GOOD, odd, odd]))
    assert run.returncode == 0
    assert len(strict_json(run.stdout)) == len(GOOD) + 2
    told = next(row for row in run.stderr.splitlines() if row.startswith("odd targets: "))
    assert (
        told.startswith("odd targets: 2, which count as they are; the first: id 'odd': ") and reason in told
    )


def test_good_targets_are_not_called_odd(tmp_path: Path) -> None:
    fine = [
        line("q", "quality", "bad", {"label": "good"}),
        line("m", "multiple_choice", "B", {"answer": "(b)"}),
        line("g", "grounded_qa", "A", {"answer": "A", "intervals": []}, glue="<glue>[]</glue>"),
        line("t", "tracking", str(BOXES[:2]), {"boxes": BOXES[:2]}),
    ]
    assert "odd targets" not in score(write(tmp_path, [*GOOD, *fine])).stderr
    pixels = line("p", "tracking", str(BOXES), {"boxes": [[100, 50, 300, 200]] * 8})
    assert "odd targets" not in score(write(tmp_path, [pixels]), "--mode", "paper").stderr


def test_reasons_are_written_where_wanted(tmp_path: Path) -> None:
    missed = line("missed", "temporal_grounding", "1 to 2", {"interval": [12, 18]})
    rows = strict_json(score(write(tmp_path, [GOOD[0], missed]), "--reasons").stdout)
    assert rows[0]["reason"] is None
    assert rows[1]["reason"] == "no overlap with the annotated 12 to 18 s"


def test_repeated_ids_are_told_and_both_count(tmp_path: Path) -> None:
    run = score(write(tmp_path, [GOOD[0], GOOD[1], GOOD[0]]))
    assert run.returncode == 0
    assert "line 3: warning: id 'tg-1' was used on line 1" in run.stderr
    assert len(strict_json(run.stdout)) == 3


def test_odd_text_passes_through(tmp_path: Path) -> None:
    lone = {**GOOD[0], "id": "\ud800\u2028", "response": "\udfff\x00" + GOOD[0]["response"]}
    marked = b"\xef\xbb\xbf" + json.dumps(GOOD[1]).encode() + b"\r"
    run = score(write(tmp_path, [marked, lone, b"  ", lone]))
    assert run.returncode == 0, run.stderr
    assert [row["id"] for row in strict_json(run.stdout)] == ["tg-2", "\ud800\u2028", "\ud800\u2028"]
    assert "line 4: warning" in run.stderr


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "empty", "overwritten", "no folder", "full"])
def test_a_file_that_cannot_be_used_is_one_clear_message(tmp_path: Path, kind: str) -> None:
    file = write(tmp_path, [GOOD[0]])
    os.mkfifo(tmp_path / "pipe")
    runs = {
        "pipe": lambda: score(tmp_path / "pipe"),
        "missing": lambda: score(tmp_path / "none.jsonl"),
        "folder": lambda: score(tmp_path),
        "empty": lambda: score(write(tmp_path, [])),
        "overwritten": lambda: score(file, "--output", str(file)),
        "full": lambda: score(write(tmp_path, [GOOD[0]]), "--output", "/dev/full"),
        "no folder": lambda: score(file, "--output", str(tmp_path / "none" / "scores.jsonl")),
    }
    run = runs[kind]()
    assert run.returncode == 2
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert str(tmp_path) in run.stderr or "No space left" in run.stderr


def test_a_line_of_a_gigabyte_is_read_past(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    with file.open("wb") as written:
        written.write(json.dumps(GOOD[0]).encode() + b'\n{"id": "')
        written.seek(2**30, os.SEEK_CUR)  # a hole, which takes no space on the disk
        written.write(b"\n" + json.dumps(GOOD[1]).encode() + b"\n")
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({2**30},) * 2); "
    command = [sys.executable, "-c", f"{limited}from rewards.score import *; typer.run(main)"]
    run = subprocess.run([*command, "--input", str(file)], cwd=ROOT, capture_output=True, text=True)
    assert "line 2: longer than 16,777,216 bytes (unscored)" in run.stderr
    assert run.returncode == 1 and len(strict_json(run.stdout)) == 2


def test_a_vast_list_is_one_clear_message(tmp_path: Path) -> None:
    file = tmp_path / "predictions.json"
    with file.open("wb") as written:
        written.write(b"[1, ")
        written.truncate(2**31 + 1)
    run = score(file)
    assert run.returncode == 2 and run.stdout == ""
    assert f"{file}: a JSON list of more than 2,147,483,648 bytes; save it as JSON Lines" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_the_help_says_where_a_benchmarks_metrics_are() -> None:
    command = [sys.executable, "-m", "rewards.score", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120).stdout
    assert "cluster.evaluate" in shown and "--predictions" in shown


@pytest.mark.parametrize("form", ["lines apart", "one line", "marked"])
def test_a_json_list_is_read_and_told_once(tmp_path: Path, form: str) -> None:
    bad = {"id": "x", "task": "tracking"}
    text = json.dumps([*GOOD, bad, GOOD[0]], indent=None if form == "one line" else 1)
    file = tmp_path / "list.json"
    file.write_text(text, encoding="utf-8-sig" if form == "marked" else "utf-8")
    run = score(file)
    assert run.returncode == 1
    assert run.stderr.count("is a JSON list rather than JSON Lines") == 1
    assert "item 6: missing response, target (scored 0)" in run.stderr
    assert "item 7: warning: id 'tg-1' was used on item 1; both count" in run.stderr
    of_lines = score(write(tmp_path, [*GOOD, bad, GOOD[0]]))
    assert "JSON list" not in of_lines.stderr
    assert run.stdout == of_lines.stdout


def test_a_list_that_is_cut_short_costs_its_end(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text(json.dumps(GOOD)[:-30])
    run = score(file)
    assert len(strict_json(run.stdout)) == len(GOOD) - 1
    assert f"item {len(GOOD)}: not JSON" in run.stderr


def test_a_list_as_the_first_of_several_lines_is_a_bad_line(tmp_path: Path) -> None:
    run = score(write(tmp_path, [b"[1, 2]", *GOOD]))
    assert "line 1: expected a JSON object, found list" in run.stderr and "rather than" not in run.stderr
    assert len(strict_json(run.stdout)) == len(GOOD)


def test_an_answer_to_a_picture_that_starts_late_is_scored_on_the_policys_clock(tmp_path: Path) -> None:
    late = line("late", "temporal_grounding", "2 to 4", {"interval": [6, 8]})
    evidence = line(
        "g", "grounded_qa", "A", {"answer": "A", "intervals": [[6, 8]]}, glue="<glue>[(2, 4)]</glue>"
    )
    missed = line("no", "temporal_grounding", "6 to 8", {"interval": [6, 8]}, starts_at=4.0)
    bad = [{**late, "starts_at": value} for value in (-1, "4", True, 30.0)]
    lines = [{**late, "starts_at": 4}, {**evidence, "starts_at": 4.0}, late, missed, *bad]
    run = score(write(tmp_path, lines), "--reasons")
    scores = strict_json(run.stdout)
    assert [one["rewards"].get("iou", one["rewards"].get("evidence_iou")) for one in scores] == [
        *(1.0, 1.0, 0.0, 0.0),
        *[0.0] * 4,
    ]
    assert "count from the first frame, at 4 s" in scores[3]["reason"]
    assert run.stderr.count("starts_at must be 0 or more seconds") == 4
    assert "line 8: starts_at must be 0 or more seconds, below the clip's 30 s, found 30.0" in run.stderr


def test_a_file_of_which_nothing_can_be_scored_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    unscored = {"id": 1, "task": "dancing", "response": "x", "target": {}}
    no_target = line("a", "temporal_grounding", "1 to 2", {"interval": [1]})
    assert score(write(tmp_path, [unscored, no_target])).returncode == 2
    assert score(write(tmp_path, [unscored, no_target, GOOD[0]])).returncode == 1
