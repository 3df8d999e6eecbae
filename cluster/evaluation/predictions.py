"""Answers that came from anywhere else, by prompt id, scored as a policy's would be: no model, no Ray, no torch.

A line has the `id` of a prompt, with or without the name of its dataset before it, and the text of the `response`; or,
of an answer without tags, what belongs inside them: `answer`, and for grounded questions `glue`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.caption_judge import JudgeReport
from actors.reward_worker import RewardWorker
from cluster.config import RunConfig
from cluster.inputs.benchmarks import Benchmark, all_prompts, plain_ids
from cluster.records.eval_records import EvalSample
from cluster.runtime.judge_access import judge_settings
from data.annotation_lines import decode_text
from data.clock import on_policy_clock
from data.records import Response
from data.schema import AnnotationError, VideoPrompt
from rewards import Score, Template
from rewards.baselines import written
from rewards.clock import on_clip_clock, starts_at_problem
from rewards.files import open_file
from rewards.lines import numbered_records

NO_PREDICTION = "no prediction has this id"
BLOCKS = ("answer", "glue")


@dataclass
class Predictions:
    """What a file holds for some prompts.

    Attributes:
        responses: Text by prompt id.
        starts_at: When the clock of their times starts on the clip's, seconds, by prompt id.
        bare: Ids of prompts whose answer came without tags, which no template asks to think before.
        unusable: Why the line of a prompt has none, by prompt id.
        unknown: Ids that no prompt has.
        problems: `file:line: reason` of lines that were not used.
        is_list: Whether the file is one JSON list, whose items stand for lines.
    """

    responses: dict[str, str] = field(default_factory=dict)
    starts_at: dict[str, float] = field(default_factory=dict)
    bare: set[str] = field(default_factory=set)
    unusable: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_list: bool = False

    def template(self, of_responses: Template) -> str:
        """By which they are read: bare answers as `direct` asks for them, responses as the configuration does."""
        if not self.bare:
            return of_responses
        return "direct" if len(self.bare) == len(self.responses) else f"{of_responses}, bare answers direct"


def read_predictions(path: Path, benchmarks: Sequence[Benchmark]) -> Predictions:
    """Read a file of predictions, JSON Lines or one JSON list. Of two lines, or items, with one id the first counts.

    Raises:
        OSError: it cannot be read, or is no regular file, or a list of more than `MAX_FILE_BYTES`.
    """
    found = Predictions()
    full_ids = plain_ids(benchmarks) | {prompt.id: prompt.id for prompt in all_prompts(benchmarks)}
    with open_file(path) as file:
        found.is_list, records = numbered_records(file)
        for number, record in records:
            place = f"{path}: item {number}" if found.is_list else f"{path}:{number}"
            _read(record, place, full_ids, found)
    for prompt in all_prompts(benchmarks):
        if problem := starts_at_problem(found.starts_at.get(prompt.id, 0.0), prompt.duration):
            found.unusable[prompt.id] = problem
            found.responses.pop(prompt.id, None)
            found.bare.discard(prompt.id)
    return found


def _read(record: bytes, place: str, full_ids: Mapping[str, str], found: Predictions) -> None:
    try:
        fields = _fields(record)
    # What json makes of a line beyond its own error: a number of 5,000 digits, brackets a thousand deep.
    except (ValueError, RecursionError) as error:
        found.problems.append(f"{place}: {error}")
        return
    name = full_ids.get(str(fields["id"]))
    if name is None:
        found.unknown.append(str(fields["id"]))
    elif name in found.responses or name in found.unusable:
        kind = "item" if found.is_list else "line"
        found.problems.append(f"{place}: id {fields['id']!r:.80} was used on an earlier {kind}")
    else:
        _take(fields, name, found)


def score_predictions(
    config: RunConfig, predictions: Predictions, prompts: Sequence[VideoPrompt]
) -> tuple[list[EvalSample], list[JudgeReport]]:
    """One sample per prompt, in order, scored as a policy's; a prompt without a prediction has no score and counts 0.

    Returns:
        The samples, and what the judges of captions did.

    Raises:
        EndpointError: the judge of captions cannot be used.
    """
    answered = [prompt for prompt in prompts if prompt.id in predictions.responses]
    bare = [prompt for prompt in answered if prompt.id in predictions.bare]
    whole = [prompt for prompt in answered if prompt.id not in predictions.bare]
    scores: dict[str, Score] = {}
    reports = []
    for template, its in ((config.data.template, whole), ("direct", bare)):
        if its:
            found, report = _scored(config, template, its, predictions)
            scores |= found
            reports.append(report)
    return [_sample(predictions, prompt, scores.get(prompt.id)) for prompt in prompts], reports


def _scored(
    config: RunConfig, template: Template, prompts: Sequence[VideoPrompt], predictions: Predictions
) -> tuple[dict[str, Score], JudgeReport]:
    """Scores by prompt id, of responses as the template asks for them."""
    options = {str(task): given for task, given in config.reward.options.items()}
    worker = RewardWorker(config.reward.mode, template, options, judge=judge_settings(config))
    starts = [predictions.starts_at.get(prompt.id, 0.0) for prompt in prompts]
    items = [
        (on_policy_clock(prompt, starts_at), _response(predictions.responses[prompt.id]))
        for prompt, starts_at in zip(prompts, starts, strict=True)
    ]
    scores = map(on_clip_clock, worker.score(items, by_rule=True), starts)
    return dict(zip((prompt.id for prompt in prompts), scores, strict=True)), worker.judge_report()


def notes(predictions: Predictions, most: int = 5) -> Iterator[str]:
    """What became of lines that were not used, the first of each kind by name."""
    if predictions.unknown:
        first = ", ".join(repr(name)[:80] for name in predictions.unknown[:most])
        yield f"{len(predictions.unknown):,} predictions have an id that no prompt has: {first}"
    if predictions.problems:
        first = "; ".join(predictions.problems[:most])
        kind = "items" if predictions.is_list else "lines"
        yield f"{len(predictions.problems):,} {kind} of the predictions were not used: {first}"


def _fields(line: bytes) -> dict[str, Any]:
    fields = json.loads(decode_text(line))
    if not isinstance(fields, dict):
        raise AnnotationError(f"expected a JSON object, found {type(fields).__name__}")
    if not isinstance(fields.get("id"), str | int):
        raise AnnotationError("has no id")
    return fields


def _take(fields: Mapping[str, Any], name: str, found: Predictions) -> None:
    response, blocks = fields.get("response"), _bare_blocks(fields)
    found.starts_at[name] = fields.get("starts_at") or 0.0
    if response is not None and blocks:
        found.unusable[name] = "its prediction has a response and a bare answer: which of them counts?"
    elif isinstance(response, str):
        found.responses[name] = response
    elif response is None and blocks and all(isinstance(text, str) for text in blocks.values()):
        found.responses[name] = written(blocks)
        found.bare.add(name)
    else:
        found.unusable[name] = (
            "its prediction has neither a response nor an answer without tags, or one that is not text"
        )


def _bare_blocks(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs inside the tags; a number is written out, and null, as tables export it, is nothing."""
    blocks = {block: fields[block] for block in BLOCKS if fields.get(block) is not None}
    return {block: repr(its) if type(its) in (int, float) else its for block, its in blocks.items()}


def _response(text: str) -> Response:
    return Response(index=0, token_ids=[], text=text, logprobs=[], finish_reason="stop", weight_versions=[])


def _sample(predictions: Predictions, prompt: VideoPrompt, score: Score | None) -> EvalSample:
    if score is None:
        return EvalSample(prompt, "", None, problem=predictions.unusable.get(prompt.id, NO_PREDICTION))
    starts_at = predictions.starts_at.get(prompt.id, 0.0)
    return EvalSample(prompt, predictions.responses[prompt.id], score, starts_at=starts_at)
