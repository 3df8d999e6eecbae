"""What data says is shown and does nothing, on a terminal as in a log."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rewards.terminal import Terminal, one_line, printable, say

HOSTILE = (
    "[/] [bold]b[/bold] :smile: \x1b]8;;http://evil\x1b\\ \x1b[2J \x9b2J \u202eabc\u2066 \r\x08\x7f \ud800"
)


def shown(*what: object) -> str:
    terminal = Terminal(file=io.StringIO(), width=300)
    terminal.print(*what)
    return terminal.file.getvalue()


def in_a_table(text: str) -> Table:
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    return table


@pytest.mark.parametrize(
    "wrapped", [lambda text: text, Text, in_a_table, lambda text: Panel(Group(text, Text(text, "red")))]
)
def test_a_terminal_shows_a_text_as_it_is(wrapped: object) -> None:
    found = shown(wrapped(HOSTILE))  # type: ignore[operator]
    assert not set(found) & set("\x1b\x9b\u202e\u2066\r\x08\x7f\ud800")
    for part in (
        "[/] [bold]b[/bold] :smile:",
        r"\x1b]8;;http://evil\x1b\ \x1b[2J",
        r"\u202eabc\u2066",
        r"\ud800",
    ):
        assert part in found


def test_the_styles_of_a_text_without_such_characters_stay() -> None:
    terminal = Terminal(file=io.StringIO(), force_terminal=True, color_system="standard")
    terminal.print(Text.assemble(("step", "red"), " 1"))
    assert "\x1b[31mstep" in terminal.file.getvalue()


def test_a_plain_line_and_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"first\n\tsecond {HOSTILE}", is_error=True)
    found = capsys.readouterr()
    assert found.out == "" and found.err.startswith("first\n\tsecond [/]")
    assert "\x1b" not in found.err and "\u202e" not in found.err
    assert one_line("clip\nwarning: all is well") == r"clip\nwarning: all is well"


@given(st.text(st.characters()))
def test_nothing_that_acts_is_left_of_any_text(text: str) -> None:
    left = printable(text)
    assert printable(left) == left
    kinds = {unicodedata.category(one) for one in left if one not in "\n\t"}
    assert "Cc" not in kinds and "Cs" not in kinds
    assert not any(unicodedata.bidirectional(one) in BIDI for one in left)


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
