"""The three ways a prompt asks for its answer, and the blocks that a response to each consists of.

The instructions ask for the answer formats that VideoChat-R1 rewards (arXiv 2504.06958, section 3) in our own words;
answering first and explaining afterwards follows VideoAuto-R1 (arXiv 2601.05175), without its second answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Literal, get_args

Template = Literal["thinking", "direct", "answer_first"]
TEMPLATES: tuple[Template, ...] = get_args(Template)

THINK = "Reason inside <think> </think>, with times in seconds where they help. Then "
EXPLAIN = "After that, explain it inside <think> </think>."


def wrap(question: str, answer: str, template: Template) -> str:
    """The user's text: a question, and how to answer it.

    Args:
        answer: What is to be given, with its tags, as the object of "give" and with a full stop.
    """
    if template == "thinking":
        return f"{question}\n{THINK}give {answer}"
    if template == "direct":
        return f"{question}\nGive {answer}"
    return f"{question}\nGive {answer} {EXPLAIN}"


def layout(blocks: Sequence[str], template: Template) -> tuple[str, ...]:
    """The order of the blocks of a response, given those that hold the answer."""
    if template == "thinking":
        return ("think", *blocks)
    return tuple(blocks) if template == "direct" else (*blocks, "think")


def format_options(options: Sequence[str]) -> str:
    """`(A) red (B) blue`, in letter order."""
    pairs = zip(ascii_uppercase, options, strict=False)
    return " ".join(f"({letter}) {option}" for letter, option in pairs)


def format_box(box: Sequence[float], decimals: int = 2) -> str:
    """A normalised box, `[0.10, 0.25, 0.40, 0.55]`."""
    return "[" + ", ".join(f"{value:.{decimals}f}" for value in box) + "]"
