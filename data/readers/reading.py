"""From the entries of any reader to prompts, each judged by the schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.limits import reason_of
from data.readers.entries import Entry, Fields
from data.schema import LETTERS, AnnotationError, VideoPrompt, misspelt_fields, parse_prompt
from rewards.targets import is_number

# Letters of a place or a reason in a report. Paths may be long.
MOST_SHOWN = 1000


@dataclass
class Reading:
    """What came of the entries of a dataset.

    Attributes:
        prompts: The usable ones, in order, with the path of their video made absolute.
        places: Where each of them stands in the annotations.
        problems: `place: reason` of each entry that cannot be used.
        warnings: `place: reason` of what looks wrong with an entry and does not make it unusable.
        entries: How many entries there are, unusable ones included.
        listed: Listed duration in seconds, or None, of every video that an entry names, unusable entries included.
    """

    prompts: list[VideoPrompt] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    entries: int = 0
    listed: dict[str, float | None] = field(default_factory=dict)

    def nothing_left(self, tasks: Iterable[str]) -> str:
        """Why no prompt of these tasks is left for use, in words."""
        if not self.entries:
            return "the dataset is empty"
        if not self.prompts:
            return f"all {self.entries:,} entries were skipped, the first: {self.problems[0]}"
        return f"no usable prompt of {', '.join(tasks)} is left"


def judge(entries: Iterable[Entry]) -> Reading:
    """Make a prompt of every entry that allows it.

    Annotations are taken as they are. An interval that reaches beyond the clip, as one in seven of Charades-STA does,
    is used and warned of; one that is reversed, or nowhere inside the clip, makes its entry a problem.
    """
    reading = Reading()
    used: dict[str, str] = {}
    for entry in entries:
        reading.entries += 1
        place = shown(entry.place)
        try:
            prompt = _prompt(entry, place, reading)
            if prompt.id in used:
                raise AnnotationError(f"the id {prompt.id!r} was used at {used[prompt.id]}")
        # What stands in a damaged entry may be of any type and size, down to brackets a thousand deep.
        except (ValueError, TypeError, OverflowError, RecursionError, OSError) as error:
            reading.problems.append(f"{place}: {shown(reason_of(error))}")
            continue
        used[prompt.id] = place
        reading.prompts.append(prompt)
        reading.places.append(place)
    return reading


def shown(text: str) -> str:
    """What is told of an annotation, in one line: neither pages of it nor what a terminal acts on."""
    cut = text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def _prompt(entry: Entry, place: str, reading: Reading) -> VideoPrompt:
    fields = entry.fields()
    outside = _reaches_outside(fields)
    for warning in [*([outside] if outside else []), *misspelt_fields(fields), *_odd_options(fields)]:
        reading.warnings.append(f"{place}: {shown(warning)}")
    video, duration = fields.get("video"), fields.get("duration")
    if isinstance(video, str):
        known = reading.listed.get(video)
        reading.listed[video] = float(duration) if is_number(duration) else known
    return parse_prompt(fields, Path())


def _reaches_outside(fields: Fields) -> str | None:
    """Which interval of a target reaches beyond the clip, if one does."""
    target, duration = fields.get("target"), fields.get("duration")
    if not isinstance(target, dict) or not is_number(duration):
        return None
    intervals: list[Any] = [target.get("interval"), *_as_list(target.get("intervals"))]
    outside = next((i for i in intervals if _is_pair(i) and (i[0] < 0 or i[1] > duration)), None)
    return f"interval {outside} reaches beyond the listed duration of {duration} s" if outside else None


def _odd_options(fields: Fields) -> Iterator[str]:
    """What is said of options that hold their letters already, or of which two cannot be told apart."""
    options = [str(option).strip() for option in _as_list(fields.get("options"))]
    texts = dict(zip(LETTERS, options, strict=False))
    if texts and all(
        re.match(rf"\(?{letter}[.):]\s?\S", text, re.IGNORECASE) for letter, text in texts.items()
    ):
        yield "its options begin with their letters, which the prompt writes before them too; leave them out"
    first: dict[str, str] = {}
    for letter, text in texts.items():
        if (earlier := first.setdefault(text.casefold(), letter)) != letter:
            yield f"its options {earlier} and {letter} are the same text"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
