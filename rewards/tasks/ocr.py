"""Reading text in the video: the answer is the text (Video-R1, arXiv 2503.21776, section 3.1)."""

from __future__ import annotations

from rewards.constants import best_of, most_frequent, spread
from rewards.measures import mean_of, share_reaching
from rewards.plain import without_emphasis
from rewards.spec import Constant, Items, Part, TaskOptions, TaskSpec
from rewards.targets import read_text_target, text_problem
from rewards.texts import read_text, word_accuracy


def _accuracy(text: str, truth: str) -> float:
    """Of the answer as it stands or without the marks of Markdown: they are the answer's, or stand on the sign too."""
    return max(word_accuracy(reading, truth) for reading in {text, without_emphasis(text)})


_TEXT = Part[str, TaskOptions](
    block="answer",
    key="text",
    component="word_accuracy",
    read=lambda text, case: read_text(text),
    measure=lambda text, case: _accuracy(text, case.truth),
    zero="the word error rate is 1 or more",
)


def _baseline(items: Items[str]) -> Constant:
    texts = [truth for truth, _ in items]
    text = best_of([most_frequent(texts), *spread(texts)], texts, word_accuracy)
    return Constant(f"always {text!r:.60}", [{"answer": text}] * len(items))


SPEC = TaskSpec[str, TaskOptions](
    name="ocr",
    title="OCR",
    main="word_accuracy",
    parts=lambda options: (_TEXT,),
    read_truth=lambda target, choices: read_text_target(target, "text"),
    problem=lambda question: text_problem(question.target, "text"),
    ask=lambda question: question.question,
    answer=lambda question, options: "the text exactly as it is written inside <answer> </answer>.",
    solution=lambda truth, options: {"answer": truth},
    baseline=_baseline,
    metrics=(
        mean_of("word accuracy", "word_accuracy", "mean of 1 - word error rate, at least 0"),
        share_reaching("exact", "word_accuracy", 1.0, "share without a word error"),
    ),
    options=TaskOptions,
)
