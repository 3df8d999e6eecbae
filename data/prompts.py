"""The text of a prompt: the question of an annotation with the instruction of its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from data.schema import VideoPrompt
from rewards import SPECS, Template
from rewards.spec import TaskOptions
from rewards.templates import wrap


@dataclass(frozen=True)
class PromptStyle:
    """How the prompts of a run ask for their answers.

    Attributes:
        template: Reason first, answer at once, or answer first and explain.
        options: Options of tasks, where they are not the defaults; some change what is asked for.
    """

    template: Template = "thinking"
    options: Mapping[str, TaskOptions] = field(default_factory=dict)

    def options_of(self, task: str) -> TaskOptions:
        """The options that a task's prompts are asked with."""
        return self.options.get(task) or SPECS[task].options()


THINKING = PromptStyle()


def render_prompt(prompt: VideoPrompt, style: PromptStyle = THINKING) -> str:
    """The user's text for one prompt."""
    spec = SPECS[prompt.task]
    return wrap(spec.ask(prompt), spec.answer(prompt, style.options_of(prompt.task)), style.template)
