"""What evaluation found for each held-out prompt, and the file that keeps it: `eval_<stage>.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cluster.records.json_lines import json_line
from cluster.records.metrics import encodable, finite_or_none
from data.schema import VideoPrompt, parse_prompt
from rewards import Score


@dataclass(frozen=True)
class EvalSample:
    """One held-out prompt with the policy's greedy response.

    Attributes:
        prompt: As it was asked last; after a closer look it has that look's windows.
        response: Text of the response; empty when there is none. After a closer look with times of the video's clock.
        score: None when the prompt could not be evaluated: it then counts 0 everywhere.
        tokens: Length of the response.
        problem: Why the prompt could not be evaluated, a clip that does not decode for instance.
        starts_at: When the clock of the times in the response starts on the clip's, seconds; see `rewards.clock`.
    """

    prompt: VideoPrompt
    response: str
    score: Score | None
    tokens: int = 0
    problem: str | None = None
    starts_at: float = 0.0

    def value(self, component: str) -> float:
        """A reward component in 0-1, 0 when there is no score or it is not finite."""
        value = self.score.rewards.get(component) if self.score else None
        return finite_or_none(value) or 0.0


def eval_path(run_dir: Path, stage: str) -> Path:
    """Where a stage's evaluation is kept: `cold_start`, `grpo`, or `step_<n>` for those on the way."""
    return run_dir / f"eval_{stage}.jsonl"


def write_eval_samples(run_dir: Path, stage: str, samples: Iterable[EvalSample]) -> Path:
    """Write an evaluation, one JSON object per prompt, in one rename.

    Returns:
        The path of the file.
    """
    path = eval_path(run_dir, stage)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(json_line(sample_to_json(sample)) for sample in samples), encoding="utf-8")
    temporary.replace(path)
    return path


def read_eval_samples(run_dir: Path, stage: str) -> list[EvalSample]:
    """The samples of an evaluation, in the order they were written.

    Raises:
        FileNotFoundError: this stage was not evaluated.
    """
    lines = eval_path(run_dir, stage).read_text(encoding="utf-8").splitlines()
    return [sample_from_json(json.loads(line)) for line in lines]


def sample_to_json(sample: EvalSample) -> dict[str, Any]:
    """The JSON object of a sample."""
    return {
        "prompt": _plain(sample.prompt.to_json()),
        "windows": _plain(sample.prompt.windows),
        "response": encodable(sample.response),
        "starts_at": sample.starts_at,
        "score": _plain(asdict(sample.score)) if sample.score else None,
        "tokens": sample.tokens,
        "problem": encodable(sample.problem),
    }


def sample_from_json(fields: dict[str, Any]) -> EvalSample:
    """The sample of a JSON object, which may have further keys."""
    score = Score(**fields["score"]) if fields["score"] else None
    windows = tuple((start, end) for start, end in fields["windows"])
    prompt = replace(parse_prompt(fields["prompt"], Path()), windows=windows)
    starts_at = fields.get("starts_at", 0.0)  # not in files of before it was kept
    return EvalSample(prompt, fields["response"], score, fields["tokens"], fields["problem"], starts_at)


def _plain(value: Any) -> Any:
    """Mappings and sequences as JSON has them, non-finite numbers as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return encodable(finite_or_none(value))
