"""Answers that came from anywhere else, by prompt id, scored as a policy's would be: no model, no Ray, no torch.

A line has the `id` of a prompt, with or without the name of its dataset before it, and the text of the `response`; or,
of an answer without tags, what belongs inside them: `answer`, and for grounded questions `glue`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cluster.benchmarks import Benchmark, all_prompts, plain_ids
from cluster.config import RunConfig
from cluster.eval_records import EvalSample
from data.schema import AnnotationError, VideoPrompt, annotation_lines, decode_text
from rewards import Scorer
from rewards.baselines import written

NO_PREDICTION = "no prediction has this id"
BLOCKS = ("answer", "glue")


@dataclass
class Predictions:
    """What a file holds for some prompts.

    Attributes:
        responses: Text by prompt id.
        unusable: Why the line of a prompt has none, by prompt id.
        unknown: Ids that no prompt has.
        problems: `file:line: reason` of lines that were not used.
    """

    responses: dict[str, str] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_predictions(path: Path, benchmarks: Sequence[Benchmark]) -> Predictions:
    """Read a file of predictions, JSON Lines. Of two lines with one id the first counts.

    Raises:
        OSError: it cannot be read.
    """
    found = Predictions()
    full_ids = plain_ids(benchmarks) | {prompt.id: prompt.id for prompt in all_prompts(benchmarks)}
    for number, line in annotation_lines(path):
        try:
            fields = _fields(line)
        # What json makes of a line beyond its own error: a number of 5,000 digits, brackets a thousand deep.
        except (ValueError, RecursionError) as error:
            found.problems.append(f"{path}:{number}: {error}")
            continue
        name = full_ids.get(str(fields["id"]))
        if name is None:
            found.unknown.append(str(fields["id"]))
        elif name in found.responses or name in found.unusable:
            found.problems.append(f"{path}:{number}: id {fields['id']!r:.80} was used on an earlier line")
        else:
            _take(fields, name, found)
    return found


def score_predictions(
    config: RunConfig, predictions: Predictions, prompts: Sequence[VideoPrompt]
) -> Iterator[EvalSample]:
    """One sample per prompt, in order; a prompt without a prediction has no score and counts 0."""
    options = {str(task): given for task, given in config.reward.options.items()}
    scorer = {
        task: Scorer(task, config.reward.mode, config.data.template, options.get(task))
        for task in dict.fromkeys(str(prompt.task) for prompt in prompts)
    }
    return map(partial(_sample, scorer, predictions), prompts)


def notes(predictions: Predictions, most: int = 5) -> Iterator[str]:
    """What became of lines that were not used, the first of each kind by name."""
    if predictions.unknown:
        first = ", ".join(repr(name)[:80] for name in predictions.unknown[:most])
        yield f"{len(predictions.unknown):,} predictions have an id that no prompt has: {first}"
    if predictions.problems:
        first = "; ".join(predictions.problems[:most])
        yield f"{len(predictions.problems):,} lines of the predictions were not used: {first}"


def _fields(line: bytes) -> dict[str, Any]:
    fields = json.loads(decode_text(line))
    if not isinstance(fields, dict):
        raise AnnotationError(f"expected a JSON object, found {type(fields).__name__}")
    if not isinstance(fields.get("id"), str | int):
        raise AnnotationError("has no id")
    return fields


def _take(fields: Mapping[str, Any], name: str, found: Predictions) -> None:
    blocks = {block: fields[block] for block in BLOCKS if block in fields}
    response = fields["response"] if "response" in fields else written(blocks) if blocks else None
    if isinstance(response, str) and all(isinstance(text, str) for text in blocks.values()):
        found.responses[name] = response
    else:
        found.unusable[name] = "its prediction has no response, or one that is not text"


def _sample(scorer: Mapping[str, Scorer], predictions: Predictions, prompt: VideoPrompt) -> EvalSample:
    response = predictions.responses.get(prompt.id)
    if response is None:
        return EvalSample(prompt, "", None, problem=predictions.unusable.get(prompt.id, NO_PREDICTION))
    score = scorer[prompt.task].score(
        response, prompt.target, duration=prompt.duration, options=prompt.options
    )
    return EvalSample(prompt, response, score)
