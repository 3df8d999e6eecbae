"""Reading a file of predictions: every line gives a sample, and one that cannot be scored says why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewards.baselines import written
from rewards.clock import on_policy_clock, starts_at_problem
from rewards.lines import decode_line
from rewards.scoring import check_duration, read_target, score_response
from rewards.targets import BadTarget, is_number
from rewards.tasks import COMPONENTS, SPECS, TASKS

SampleId = str | int | float


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a predictions file.

    Attributes:
        id: None where the line has none that is a string or a number.
        task: None where it could not be read or is unknown.
        response: The text to score.
        target: None where it does not fit the task; its times are on the policy's clock.
        duration: Length of the clip on that clock in seconds, where known.
        options: Answer texts of a choice question, where known.
        num_options: How many options the question has, where known.
        tokens: Length of the response, where known.
        starts_at: When that clock starts on the clip's, seconds; see `rewards.clock`.
        problem: Why the line is bad and scores 0, or None.
    """

    id: SampleId | None = None
    task: str | None = None
    response: str = ""
    target: Mapping[str, Any] | None = None
    duration: float | None = None
    options: tuple[str, ...] = ()
    num_options: int | None = None
    tokens: int | None = None
    starts_at: float = 0.0
    problem: str | None = None


def oddity(sample: Sample) -> str | None:
    """Why the annotation, given as the answer, would not score in every component: a reversed interval, for instance.

    Such a target is scored like any other, because published scores count it.
    """
    if sample.task is None or sample.target is None:
        return None
    choices = sample.options or sample.num_options
    spec = SPECS[sample.task]
    solution = spec.solution(read_target(sample.task, sample.target, choices), spec.options())
    score = score_response(
        sample.task,
        written(solution),
        sample.target,
        duration=sample.duration,
        template="direct",
        options=sample.options,
        num_options=sample.num_options,
    )
    return score.reason


def parse_sample(line: bytes) -> Sample:
    """Read one line `{"id", "task", "response", "target", "duration"}`; never raises.

    `duration` may be missing or null where it is unknown. `options` (a list) or `num_options` gives the range
    of letters; `tokens` is the length of the response, and `starts_at` the second of the clip that its times count
    from.
    """
    try:
        text = decode_line(line)
    except ValueError as error:
        return Sample(problem=str(error))
    try:
        fields = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        # Among the ValueErrors are numbers of thousands of digits.
        return Sample(problem=f"not JSON: {getattr(error, 'msg', error)}")
    if not isinstance(fields, dict):
        return Sample(problem=f"expected a JSON object, found {type(fields).__name__}")
    return _from_fields(fields)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not standard JSON")


def _from_fields(fields: Mapping[str, Any]) -> Sample:
    task = fields.get("task")
    task = task if isinstance(task, str) and task in COMPONENTS else None
    problems = _field_problems(fields)
    target_problem = _target_problem(task, fields) if task and "target" in fields else None
    if target_problem:
        problems.append(target_problem)
    starts_at = fields.get("starts_at") or 0.0
    target_is_usable = task is not None and "target" in fields and target_problem is None
    target, duration = (
        on_policy_clock(fields["target"], fields.get("duration"), starts_at)
        if target_is_usable
        else (None, None)
    )
    return Sample(
        id=fields.get("id") if _is_id(fields.get("id")) else None,
        task=task,
        response=fields["response"] if isinstance(fields.get("response"), str) else "",
        target=target,
        duration=duration,
        options=_options(fields) if target_is_usable else (),
        num_options=_num_options(fields) if target_is_usable else None,
        tokens=fields["tokens"] if type(fields.get("tokens")) is int else None,
        starts_at=starts_at if target_is_usable else 0.0,
        problem="; ".join(problems) or None,
    )


def _field_problems(fields: Mapping[str, Any]) -> list[str]:
    """What is wrong with the fields, the target aside."""
    missing = [name for name in ("id", "task", "response", "target") if name not in fields]
    problems = [f"missing {', '.join(missing)}"] if missing else []
    if "id" in fields and not _is_id(fields["id"]):
        problems.append("id must be a string or a number")
    if "task" in fields and fields["task"] not in TASKS:
        problems.append(f"unknown task {fields['task']!a:.60}; known: {', '.join(TASKS)}")
    if "response" in fields and not isinstance(fields["response"], str):
        problems.append(f"response must be a string, found {type(fields['response']).__name__}")
    return problems


def _target_problem(task: str, fields: Mapping[str, Any]) -> str | None:
    try:
        check_duration(fields.get("duration"))
        read_target(task, fields["target"], _options(fields) or _num_options(fields))
    except BadTarget as error:
        return str(error)
    return starts_at_problem(fields.get("starts_at") or 0.0, fields.get("duration"))


def _is_id(value: object) -> bool:
    return isinstance(value, str) or is_number(value)


def _options(fields: Mapping[str, Any]) -> tuple[str, ...]:
    options = fields.get("options")
    return tuple(map(str, options)) if isinstance(options, list) else ()


def _num_options(fields: Mapping[str, Any]) -> Any:
    options = fields.get("options")
    return fields.get("num_options") if not options or isinstance(options, list) else options
