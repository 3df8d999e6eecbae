"""The tables of an evaluation on terminals of any width: no figure is cut."""

from __future__ import annotations

import pytest

from cluster.evaluation.tables import COLUMNS, PLAIN_WIDTH, rich_table
from rewards.terminal import Terminal

ROWS = [
    (
        "charades, Temporal grounding",
        metric,
        "12,404",
        f"{score} [26.41, 27.58]",
        "26.99",
        "30.10",
        "-3.11 [-3.50, -2.70]",
    )
    for metric, score in (("mIoU", "26.99"), ("R@0.3", "100.00"))
]
COMPARED = (*COLUMNS[:3], "base-evaluation", "mine-evaluation", "Difference", *COLUMNS[4:6])


def lines(columns: tuple[str, ...], rows: list[tuple[str, ...]], width: int) -> list[str]:
    console = Terminal(width=width)
    with console.capture() as captured:
        console.print(rich_table("mine", columns, rows, ["a note"], width))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [66, 80])
def test_a_narrow_terminal_breaks_figures_between_words(width: int) -> None:
    found = lines(COLUMNS, ROWS, width)
    assert max(map(len, found)) <= width and "…" not in "".join(found)
    for word in " ".join(" ".join(row[1:]) for row in ROWS).split():
        assert any(word in line for line in found), word


def test_a_narrow_terminal_has_room_for_two_evaluations() -> None:
    rows = [(*row[:4], row[3], row[6], *row[4:6]) for row in ROWS]
    found = lines(COMPARED, rows, 80)
    assert max(map(len, found)) <= 80
    for word in (
        "Temporal",
        "Difference",
        "12,404",
        "[26.41,",
        "100.00",
        "[-3.50,",
        "-2.70]",
        "26.99",
        "30.10",
    ):
        assert any(word in line for line in found), word


def test_a_wide_one_has_a_line_for_each_metric() -> None:
    found = lines(COLUMNS, ROWS, PLAIN_WIDTH)
    (line,) = (line for line in found if "mIoU" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == list(ROWS[0])
