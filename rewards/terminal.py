"""The one way to a terminal, or to the log that takes its place: text from data is shown there and does nothing.

Questions, answers, responses, ids, paths and messages that quote them may hold rich's markup, escape sequences of
terminals, and characters that reorder what is read. `Terminal` is for tables and styles, `say` for plain lines.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

# Unicode's controls (C0 but for tab and newline, DEL, C1), lone surrogates, and what is not seen and changes how the
# text around it is read: marks, embeddings, overrides and isolates of direction, separators of lines, tag characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)

_BLOCKS = ((0, 0x620), (0x2000, 0x2070), (0xD800, 0xE000), (0xFE00, 0x10000), (0xE0000, 0xE0080))


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_ESCAPES = {code: _escape(code) for block in _BLOCKS for code in range(*block) if _UNSAFE.match(chr(code))}


def printable(text: str) -> str:
    r"""The text with every character that would do something instead of being seen as its escape: `\x1b`, `\u202e`.

    Tabs and newlines stay, so that nothing changes in a text of ordinary lines.
    """
    return text.translate(_ESCAPES) if _UNSAFE.search(text) else text


def one_line(text: str) -> str:
    """The same on one line: data cannot end the line that quotes it and begin one of its own."""
    return printable(text).replace("\n", "\\n")


class Terminal(Console):
    """A console that takes text as it is: no markup, no `:smile:` for an emoji, no colours guessed, no escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every plain string comes by here, those in tables and titles too, before room is made for it."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Styled text comes by here; one that must be escaped loses the styles of its parts."""
        if isinstance(renderable, Text) and _UNSAFE.search(renderable.plain):
            renderable = Text(printable(renderable.plain), renderable.style, overflow=renderable.overflow)
        return super().render(renderable, options)


def say(text: str, is_error: bool = False) -> None:
    """Print a text of one line or several at once, to standard error if it is one."""
    print(printable(text), file=sys.stderr if is_error else sys.stdout, flush=True)
