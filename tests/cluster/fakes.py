"""Stand-ins for what the loop drives, in this process: clips, rollout workers, reward workers, learner.

They follow the interfaces of our own classes and note what they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.rollout_fleet import RolloutRequest, Submitted
from actors.video_loader import LoadReport
from cluster.config import RunConfig
from data.records import Response, Rollout, TrainSample
from data.schema import Task, VideoPrompt
from learner.report import StepReport, StepSums
from learner.settings import BatchSize
from rewards import Score


def make_config(run_dir: Path | None = None, **sections: Mapping[str, Any]) -> RunConfig:
    """A configuration with these fields set, `grpo={"steps": 3}`; its run folder is `run_dir`."""
    if run_dir is not None:
        named = {"name": run_dir.name, "output_dir": str(run_dir.parent)}
        sections = {**sections, "run": {**named, **sections.get("run", {})}}
    return RunConfig.model_validate(sections)


def make_prompts(count: int, task: Task = Task.TEMPORAL_GROUNDING, prefix: str = "p") -> list[VideoPrompt]:
    """Prompts `p0`, `p1`, ... about clips of the same name."""
    target = {"answer": "A"} if task is Task.MULTIPLE_CHOICE else {"interval": [1.0, 2.0]}
    return [
        VideoPrompt(f"{prefix}{n}", task, f"{prefix}{n}.mp4", "what?", target, 4.0, ("x", "y"))
        for n in range(count)
    ]


class FakeClips:
    """Every clip is the name of its prompt, except for those of `broken` prompts."""

    def __init__(self, broken: Iterable[str] = ()) -> None:
        self.broken = set(broken)
        self.requested: list[str] = []
        self.prefetched: list[str] = []

    def prefetch(self, prompts: Iterable[VideoPrompt]) -> None:
        self.prefetched = [prompt.id for prompt in prompts]

    def request(self, prompts: Iterable[VideoPrompt]) -> list[str | None]:
        asked = list(prompts)
        self.requested += [prompt.id for prompt in asked]
        return [None if prompt.id in self.broken else f"clip of {prompt.id}" for prompt in asked]

    def facts(self, prompt: VideoPrompt) -> LoadReport:
        """As if frames were shown twice as late as they are."""
        length = prompt.duration or 4.0
        moments = tuple(length * number / 16 for number in range(8))
        return LoadReport(prompt.video, 0.0, tokens=4, moments=moments, duration=4.0)

    def problem(self, prompt: VideoPrompt) -> str | None:
        return f"{prompt.id} is broken" if prompt.id in self.broken else None

    def tokens(self, prompt: VideoPrompt) -> int:
        return 4

    def metrics(self) -> dict[str, float]:
        return {"hits": 3, "misses": 1, "quarantined": len(self.broken)}


class FakeFleet:
    """Responses whose text says whose they are: `p0/2` is the third response to p0."""

    def __init__(self, system: FakeSystem) -> None:
        self._system = system
        self.batches: list[list[RolloutRequest]] = []
        self.together: list[bool] = []

    @property
    def submitted(self) -> list[str]:
        return [request.prompt.id for batch in self.batches for request in batch]

    def submit(self, requests: Sequence[RolloutRequest], together: bool = True) -> list[Submitted]:
        self.batches.append(list(requests))
        self.together.append(together)
        return [Submitted("rollout-0", self._rollout(request)) for request in requests]

    def gather(self, submitted: Sequence[Submitted]) -> list[Rollout]:
        return [group.rollout for group in submitted]

    def _rollout(self, request: RolloutRequest) -> Rollout:
        versions = [(0, 2, self._system.version)]
        responses = [
            Response(index, [5, 6 + index], f"{request.prompt.id}/{index}", [-0.5, -0.1], "stop", versions)
            for index in range(request.sampling.group_size)
        ]
        return Rollout(request.prompt, [1, 2, 3], responses)


class FakeRewards:
    """A response's total is its number within its group plus ten times its prompt's, `flat` prompts' the latter alone.

    No two prompts have the same scores, so whoever swaps them is found out.
    """

    def __init__(self, flat: Iterable[str] = ()) -> None:
        self.flat = set(flat)
        self.by_rule: list[bool] = []

    def score(self, rollouts: Sequence[Rollout], by_rule: bool = False) -> list[list[Score]]:
        self.by_rule.append(by_rule)
        return [[self._score(r.prompt, response.text) for response in r.responses] for r in rollouts]

    def metrics(self) -> dict[str, float]:
        return {"judge_requests": 7.0}

    def _score(self, prompt: VideoPrompt, text: str) -> Score:
        name, _, index = text.partition("/")
        assert name == prompt.id
        value = own_score(name) + (0.0 if name in self.flat else float(index))
        return Score({"iou": value}, value, parsed=True, prediction=None, reason=None)


def own_score(name: str) -> float:
    """What `FakeRewards` gives to every response to a prompt: 30 for `p3`."""
    return 10.0 * int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))


class FakeLearner:
    """Takes steps and notes what it was given.

    Args:
        checkpoint: What the newest one stores; one that is torn lies beside it.
        dies_at: Step that it does not survive.
    """

    def __init__(self, checkpoint: dict[str, Any] | None = None, dies_at: int | None = None) -> None:
        self._checkpoint, self._dies_at = checkpoint, dies_at
        self.steps: list[tuple[str, list[TrainSample]]] = []
        self.sizes: list[BatchSize | None] = []
        self.saved: list[dict[str, Any]] = []
        self.written: list[str] = []
        self.mismatch = 1.0
        # What each step adds to the mismatch of the next.
        self.drift = 0.0

    def step(self, samples: Sequence[TrainSample], kind: str, size: BatchSize | None = None) -> StepReport:
        if len(self.steps) + 1 == self._dies_at:
            raise KeyboardInterrupt
        self.steps.append((kind, list(samples)))
        self.sizes.append(size)
        tokens = sum(len(sample.response_token_ids) for sample in samples)
        sums = StepSums(loss=0.25, entropy=2.0 * tokens, mismatch=self.mismatch * tokens, tokens=tokens)
        self.mismatch += self.drift
        return StepReport(len(self.steps), sums, grad_norm=0.5, learning_rate=1e-3, seconds={"forward": 1.0})

    def save_checkpoint(self, folder: str, client_state: Mapping[str, Any], keep: int) -> str:
        self.saved.append(dict(client_state))
        self.written.append(Path(folder).name)
        return folder

    def load_checkpoint(self, folder: str) -> tuple[dict[str, Any] | None, list[str]]:
        return self._checkpoint, ["step-3 is torn"] if self._checkpoint else []

    def export_hf(self, folder: str) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.written.append(Path(folder).name)


class FakeEncoder:
    """Texts and tokens without a tokenizer."""

    def prompt_text(self, prompt: VideoPrompt) -> str:
        return f"text of {prompt.id}"

    def text_tokens(self, prompt: VideoPrompt) -> int:
        return len(prompt.question)

    def prompt_ids(self, prompt: VideoPrompt, num_video_tokens: int) -> list[int]:
        return [*map(ord, prompt.question), *[1] * num_video_tokens]

    def response_ids(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


class FakeSystem:
    """The actors of a run; `events` has what happened to the weights, in order."""

    def __init__(self, broken: Iterable[str] = (), flat: Iterable[str] = ()) -> None:
        self.version = 0
        self.connected = False
        self.clips = FakeClips(broken)
        self.fleet = FakeFleet(self)
        self.rewards = FakeRewards(flat)
        self.learner = FakeLearner()
        self.encoder = FakeEncoder()
        self.events: list[str] = []

    def actors(self) -> dict[str, Any]:
        return {}

    def submit(self, requests: Sequence[RolloutRequest], together: bool = True) -> list[Submitted]:
        return self.fleet.submit(requests, together)

    def features_found(self) -> int:
        return 11

    def begin_learner(self, model_path: Any, settings: Any) -> None:
        self.events.append(f"learner on {Path(model_path).name}")

    def connect(self) -> float:
        self.connected = True
        self.events.append(f"connect {self.version}")
        return 0.1

    def sync(self, version: int) -> float:
        self.version = version
        if not self.connected:
            return self.connect()
        self.events.append(f"sync {version}")
        return 0.1

    def shutdown(self) -> None:
        self.events.append("shutdown")


class FakeProgress:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warnings: list[str] = []
        self.stages: list[tuple[str, int | None, int]] = []

    def stage(self, name: str, total: int | None = None, done: int = 0) -> None:
        self.stages.append((name, total, done))

    def advance(self, done: int) -> None:
        self.said.append(f"{done} done")

    def step(self, record: Any) -> None:
        self.said.append(f"step {record.step}")

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, message: str) -> None:
        self.warnings.append(message)
