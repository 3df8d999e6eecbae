"""Open questions: the answer is a text, compared with a reference (Video-R1, arXiv 2503.21776, section 3.1)."""

from __future__ import annotations

from rewards.constants import best_of, spread
from rewards.measures import mean_of
from rewards.spec import Constant, Items, Part, TaskOptions, TaskSpec
from rewards.targets import read_text_target, text_problem
from rewards.texts import read_wording, rouge

_TEXT = Part[str, TaskOptions](
    block="answer",
    key="text",
    component="rouge",
    read=lambda text, case: read_wording(text),
    measure=lambda text, case: rouge(text, case.truth),
    zero="no word is in common with the reference",
)


def _baseline(items: Items[str]) -> Constant:
    texts = [truth for truth, _ in items]
    text = best_of(spread(texts), texts, rouge)
    return Constant(f"always {text!r:.60}", [{"answer": text}] * len(items))


SPEC = TaskSpec[str, TaskOptions](
    name="free_form",
    title="Free-form",
    main="rouge",
    parts=lambda options: (_TEXT,),
    read_truth=lambda target, choices: read_text_target(target, "text"),
    problem=lambda question: text_problem(question.target, "text"),
    ask=lambda question: question.question,
    answer=lambda question, options: "a short answer in words inside <answer> </answer>.",
    solution=lambda truth, options: {"answer": truth},
    baseline=_baseline,
    metrics=(mean_of("ROUGE", "rouge", "mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L"),),
    options=TaskOptions,
)
