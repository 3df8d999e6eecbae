"""Multiple choice: which option is right? The answer is its letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rewards import paper
from rewards.constants import every_letter, most_frequent
from rewards.letters import read_letter
from rewards.measures import mean_of
from rewards.spec import Choices, Constant, Items, PaperScore, Part, Question, TaskOptions, TaskSpec, Trivial
from rewards.targets import count_options, letter_problem, option_texts, read_letter_target
from rewards.templates import Template, format_options, layout


class Choice(NamedTuple):
    """The right option's letter, upper case, and how many options there are with what texts, where that is known."""

    letter: str
    num_options: int | None
    options: tuple[str, ...]


def _read_truth(target: Mapping[str, Any], choices: Choices) -> Choice:
    num_options = count_options(choices)
    return Choice(read_letter_target(target, num_options), num_options, option_texts(choices))


def ask_with_options(question: Question) -> str:
    """The question with its lettered options below."""
    return f"{question.question}\n{format_options(question.options)}"


def paper_choice(text: str, letter: str, template: Template) -> PaperScore:
    """Format and accuracy of a question by the released function, which wants a `<glue>` block of plain ones too."""
    found = paper.first_letter(paper.first_block(text, "answer"))
    evidence = paper.evidence_intervals(paper.first_block(text, "glue"))
    is_formed = evidence is not None and paper.has_layout(text, layout(["answer", "glue"], template))
    return PaperScore({"format": float(is_formed), "accuracy": float(found == letter)}, {"answer": found})


# Of every task whose truth has a `letter`, `num_options` and `options`.
LETTER = Part[Any, Any](
    block="answer",
    key="answer",
    component="accuracy",
    read=lambda text, case: read_letter(text, case.truth.num_options, case.truth.options),
    measure=lambda letter, case: float(letter == case.truth.letter),
    zero=lambda letter, case: f"{letter} is wrong, {case.truth.letter} is right",
)


def _baseline(items: Items[Choice]) -> Constant:
    letter = most_frequent(truth.letter for truth, _ in items)
    return Constant(f"always {letter}", [{"answer": letter}] * len(items))


def _trivial(items: Items[Choice]) -> Trivial:
    letters = every_letter([truth.num_options for truth, _ in items])
    return {"chance": [[{"answer": letter} for letter in its] for its in letters]} if letters else {}


SPEC = TaskSpec[Choice, TaskOptions](
    name="multiple_choice",
    title="Multiple choice",
    main="accuracy",
    parts=lambda options: (LETTER,),
    read_truth=_read_truth,
    problem=lambda question: letter_problem(question.target.get("answer"), len(question.options)),
    ask=ask_with_options,
    answer=lambda question, options: "the letter of the right option inside <answer> </answer>.",
    solution=lambda truth, options: {"answer": truth.letter},
    baseline=_baseline,
    metrics=(mean_of("accuracy", "accuracy", "share of right letters"),),
    options=TaskOptions,
    trivial=_trivial,
    paper=lambda text, truth, template: paper_choice(text, truth.letter, template),
)
