"""The text of a prompt: the question of an annotation wrapped in the instruction of its task.

The instructions ask for the answer formats that VideoChat-R1 rewards (arXiv 2504.06958, section 3) in our own words.
"""

from __future__ import annotations

from data.schema import LETTERS, NUM_BOXES, Task, VideoPrompt

THINK = "Reason inside <think> </think>, with times in seconds where they help. Then "


def render_prompt(prompt: VideoPrompt, thinking: bool = True) -> str:
    """The user's text for one prompt.

    Args:
        prompt: Any task.
        thinking: Ask for a think block before the answer.
    """
    instruction = _INSTRUCTIONS[prompt.task](prompt)
    then = f"{THINK}give" if thinking else "Give"
    return f"{_question(prompt)}\n{then} {instruction}"


def _question(prompt: VideoPrompt) -> str:
    if prompt.task is Task.TEMPORAL_GROUNDING:
        return f"When does this happen in the video: {prompt.question}?"
    if prompt.task is Task.TRACKING:
        return f"Follow {prompt.question}, which starts at {format_box(prompt.first_box)}."
    return f"{prompt.question}\n{format_options(prompt.options)}"


def _interval_instruction(prompt: VideoPrompt) -> str:
    return "its start and end in seconds as <answer>12.5 to 17.0</answer>."


def _boxes_instruction(prompt: VideoPrompt) -> str:
    return (
        f"its box [x0, y0, x1, y1], each number from 0 to 1, at {NUM_BOXES} evenly spaced moments of the video, "
        f"the first included, as a list of {NUM_BOXES} lists inside <answer> </answer>."
    )


def _letter_instruction(prompt: VideoPrompt) -> str:
    return "the letter of the right option inside <answer> </answer>."


def _grounded_instruction(prompt: VideoPrompt) -> str:
    return (
        "the letter of the right option inside <answer> </answer>, and the times in seconds of the evidence as "
        "<glue>[(5.2, 10.4)]</glue>."
    )


_INSTRUCTIONS = {
    Task.TEMPORAL_GROUNDING: _interval_instruction,
    Task.TRACKING: _boxes_instruction,
    Task.MULTIPLE_CHOICE: _letter_instruction,
    Task.GROUNDED_QA: _grounded_instruction,
}


def format_options(options: tuple[str, ...]) -> str:
    """`(A) red (B) blue`, in letter order."""
    return " ".join(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))


def format_box(box: list[float]) -> str:
    """A normalised box with two decimals, `[0.10, 0.25, 0.40, 0.55]`."""
    return "[" + ", ".join(f"{value:.2f}" for value in box) + "]"
