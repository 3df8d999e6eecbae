"""From the text of a response to its blocks: `<think>`, `<answer>` and `<glue>` (the evidence)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rewards.tasks import Unreadable

_TAG = re.compile(r"</?(?:think|answer|glue)>")


class Tag(NamedTuple):
    """An opening or closing tag and where it stands in the response."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Blocks:
    """A response with its tags found."""

    text: str
    tags: tuple[Tag, ...]

    def layout_problem(self, order: Sequence[str]) -> str | None:
        """What keeps the response from being exactly the blocks `order`, one of each, or None.

        White space may stand around the blocks and nowhere else outside them; no block may be blank.
        """
        expected = [name for block in order for name in (f"<{block}>", f"</{block}>")]
        if [tag.name for tag in self.tags] != expected:
            return f"not exactly one {', then one '.join(f'<{block}> block' for block in order)}"
        starts = [0, *(tag.end for tag in self.tags)]
        ends = [*(tag.start for tag in self.tags), len(self.text)]
        between = [self.text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if any(between[::2]):
            return "text outside the blocks"
        return None if all(between[1::2]) else "an empty block"

    def only(self, block: str) -> str:
        """Content of the only block of that name.

        Raises:
            Unreadable: there is none, or one of its tags occurs more than once.
        """
        opening = [tag.end for tag in self.tags if tag.name == f"<{block}>"]
        closing = [tag.start for tag in self.tags if tag.name == f"</{block}>"]
        if len(opening) > 1 or len(closing) > 1:
            raise Unreadable(f"more than one <{block}> block")
        if not opening or not closing or opening[0] > closing[0]:
            raise Unreadable(f"no <{block}> block")
        return self.text[opening[0] : closing[0]]


def find_blocks(response: str) -> Blocks:
    """Find the tags of a response. Tags are case-sensitive and hold no spaces; anything else is text."""
    return Blocks(response, tuple(Tag(m.group(), m.start(), m.end()) for m in _TAG.finditer(response)))
