"""From the text of a response to its blocks: `<think>`, `<answer>` and `<glue>` (the evidence)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.result import Unreadable
from rewards.templates import TEMPLATES, layout

_TAG = re.compile(r"(</?(?:think|answer|glue)>)")


@dataclass(slots=True)
class Blocks:
    """A response cut at its tags.

    Attributes:
        tags: Every opening and closing tag in order.
        texts: What stands before, between and after them, one more than there are tags.
    """

    tags: list[str]
    texts: list[str]

    def layout_problem(self, order: Sequence[str]) -> str | None:
        """What keeps the response from being exactly the blocks `order`, one of each, or None.

        White space may stand around the blocks and nowhere else outside them; no block may be blank.
        """
        if self.tags != _tags(order):
            wanted = ", then one ".join(f"<{block}> block" for block in order)
            answer = [block for block in order if block != "think"]
            fits = [name for name in TEMPLATES if self.tags == _tags(layout(answer, name))]
            hint = f" (the tags found fit the template {fits[0]})" if fits else ""
            return f"not exactly one {wanted}, and no other{hint}"
        if any(text.strip() for text in self.texts[::2]):
            return "text outside the blocks"
        return None if all(text.strip() for text in self.texts[1::2]) else "an empty block"

    def only(self, block: str) -> str:
        """Content of the only block of that name.

        Raises:
            Unreadable: there is none, or one of its tags occurs more than once.
        """
        opening, closing, tags = f"<{block}>", f"</{block}>", self.tags
        if tags.count(opening) > 1 or tags.count(closing) > 1:
            raise Unreadable(f"more than one <{block}> block")
        if opening not in tags or closing not in tags or tags.index(opening) > tags.index(closing):
            raise Unreadable(f"no <{block}> block")
        first, last = tags.index(opening), tags.index(closing)
        if last == first + 1:
            return self.texts[last]
        inside = zip(self.texts[first + 1 : last], tags[first + 1 : last], strict=True)
        return "".join(piece for pair in inside for piece in pair) + self.texts[last]


def _tags(order: Sequence[str]) -> list[str]:
    return [tag for block in order for tag in (f"<{block}>", f"</{block}>")]


def find_blocks(response: str) -> Blocks:
    """Find the tags of a response. Tags are case-sensitive and hold no spaces; anything else is text."""
    pieces = _TAG.split(response)
    return Blocks(pieces[1::2], pieces[::2])
