"""All learner ranks as one: what the training loop talks to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import ray
import ray.util

from data.interfaces import free_port
from data.records import TrainSample
from data.schema import VideoPrompt
from learner.batching import RowSize
from learner.calls import call_all
from learner.report import StepReport, merge_reports
from learner.settings import BatchSize, LearnerSettings, Objective
from learner.sharding import imbalance, shard_groups, shard_work

if TYPE_CHECKING:
    from data.encoding import VideoEncoder
    from learner.weight_transport import TransferSettings


class LearnerGroup:
    """The learner's ranks, each a Ray actor.

    Every method returns when all ranks have answered and raises `ActorFailure`, naming the rank, as soon as
    one failed or the deadline passed. After a failure the group can only be stopped.

    Args:
        settings: The same for all ranks.
        model_path: Folder or Hub id of the policy.
        make_encoder: Makes a rank's encoder in its process, like `functools.partial(VideoEncoder, path,
            contract)`.
        actor_options: Ray options of each rank's actor (CPUs, GPUs, placement); their number is the number of
            ranks.
        deadline_s: Longest wait for a call, in seconds; beyond `settings.timeout`, so that ranks report
            first.
        sync_deadline_s: Longest wait for weights to be sent, in seconds; beyond the transfer's own time-out.
    """

    def __init__(
        self,
        settings: LearnerSettings,
        model_path: str,
        make_encoder: Callable[[], VideoEncoder],
        actor_options: Sequence[Mapping[str, Any]] = ({"num_cpus": 1},),
        deadline_s: float = 900.0,
        sync_deadline_s: float = 900.0,
    ) -> None:
        self._deadline_s, self._sync_deadline_s = deadline_s, sync_deadline_s
        self._tower_trains, self._vision_tokens = settings.tower_trains, frozenset(settings.banned_token_ids)
        self._actors = {
            f"learner rank {rank}": _create_actor(options).remote(settings, model_path, make_encoder)
            for rank, options in enumerate(actor_options)
        }

    @property
    def actors(self) -> dict[str, Any]:
        """Handles by name."""
        return dict(self._actors)

    def start(self, deadline_s: float = 600.0) -> None:
        """Let the ranks find each other and load the policy, within `deadline_s` seconds each."""
        first = dict(list(self._actors.items())[:1])
        address, port = call_all(first, "address", [()], "starting", deadline_s)[0]
        size = len(self._actors)
        calls = [("start", address, port, rank, size) for rank in range(size)]
        call_all(self._actors, "call", calls, "loading the policy", deadline_s)

    def step(
        self, samples: Sequence[TrainSample], kind: Objective, size: BatchSize | None = None
    ) -> StepReport:
        """One optimizer step on a whole batch.

        Args:
            size: Of the batch, where it has more responses than these: others whose gradient is 0.

        Raises:
            ValueError: fewer samples than ranks.
        """
        size = size or BatchSize(sum(len(sample.response_token_ids) for sample in samples), len(samples))
        sizes = self._sizes(samples)
        shards = shard_groups(sizes, len(self._actors))
        calls = [([samples[row] for row in shard], size.tokens, size.responses, kind) for shard in shards]
        report = merge_reports(self._all("step", calls, "taking an optimizer step"))
        return replace(report, imbalance=imbalance([shard_work(sizes, shard) for shard in shards]))

    def logprobs(self, samples: Sequence[TrainSample]) -> list[list[float]]:
        """Log-probabilities of each sample's response tokens, in the order of the samples."""
        rows = shard_groups(self._sizes(samples), len(self._actors))
        calls = [([samples[row] for row in shard],) for shard in rows]
        answers = self._all("logprobs", calls, "computing log-probabilities")
        scored = dict(zip(chain(*rows), chain(*answers), strict=True))
        return [scored[row] for row in range(len(samples))]

    def compute_features(self, clips: Sequence[Any], prompts: Sequence[VideoPrompt]) -> str:
        """Bring the feature cache up to these clips, shared among the ranks; returns the frozen tower's digest."""
        shares = deal_videos(prompts, len(self._actors))
        calls = [([clips[one] for one in its], [prompts[one] for one in its]) for its in shares]
        digest: str = self._all("compute_features", calls, "computing vision features")[0]
        return digest

    def save_checkpoint(self, folder: str, client_state: Mapping[str, Any], keep: int = 2) -> str:
        """Write a checkpoint to resume from; returns its path."""
        path: str = self._same("save_checkpoint", (folder, client_state, keep), "writing a checkpoint")[0]
        return path

    def load_checkpoint(self, folder: str) -> tuple[dict[str, Any] | None, list[str]]:
        """Continue from the newest complete checkpoint; see `LearnerRank.load_checkpoint`."""
        answer: tuple[dict[str, Any] | None, list[str]]
        answer = self._same("load_checkpoint", (folder,), "loading a checkpoint")[0]
        return answer

    def export_hf(self, folder: str) -> None:
        """Write a checkpoint that transformers and vLLM load."""
        self._same("export_hf", (folder,), "exporting the policy")

    def weight_checksums(self) -> dict[str, str]:
        """SHA-256 of every parameter by its Hugging Face name."""
        digests: dict[str, str] = self._same("weight_checksums", (), "computing weight checksums")[0]
        return digests

    def init_weight_transfer(self, workers: Mapping[str, Any], transfer: TransferSettings) -> None:
        """Connect with the rollout workers, whose handles are given by name."""
        what = "connecting to the rollout workers"
        self._same("init_weight_transfer", (dict(workers), transfer), what, self._sync_deadline_s)

    def send_weights(self, version: int) -> float:
        """Put the current weights into service on all rollout workers; returns the seconds it took."""
        what = f"sending weight version {version}"
        seconds: list[float] = self._same("send_weights", (version,), what, self._sync_deadline_s)
        return max(seconds)

    def stop(self) -> None:
        """End all ranks at once, stuck ones included."""
        for actor in self._actors.values():
            ray.kill(actor)

    def _sizes(self, samples: Sequence[TrainSample]) -> list[RowSize]:
        return [
            RowSize(s.prompt.id, len(s.prompt_token_ids), len(s.response_token_ids), self._video_tokens(s))
            for s in samples
        ]

    def _video_tokens(self, sample: TrainSample) -> int:
        """Those that the tower will compute: what sampling excludes are vision tokens, all but two of them a clip's."""
        if not self._tower_trains:
            return 0
        return sum(token in self._vision_tokens for token in sample.prompt_token_ids)

    def _same(
        self, method: str, arguments: tuple[Any, ...], what: str, deadline_s: float | None = None
    ) -> list[Any]:
        return self._all(method, [arguments] * len(self._actors), what, deadline_s)

    def _all(
        self, method: str, calls: Sequence[tuple[Any, ...]], what: str, deadline_s: float | None = None
    ) -> list[Any]:
        named = [(method, *arguments) for arguments in calls]
        return call_all(self._actors, "call", named, what, deadline_s or self._deadline_s)


def deal_videos(prompts: Sequence[VideoPrompt], ranks: int) -> list[list[int]]:
    """Which prompts' clips each rank computes. Those of one video go to one rank, which meets it a second time in the
    cache; two ranks would compute it side by side.
    """
    by_video: dict[str, list[int]] = defaultdict(list)
    for number, prompt in enumerate(prompts):
        by_video[prompt.video].append(number)
    dealt = list(by_video.values())
    return [list(chain.from_iterable(dealt[rank::ranks])) for rank in range(ranks)]


def _create_actor(options: Mapping[str, Any]) -> Any:
    environment = {} if options.get("num_gpus") else {"env_vars": {"DS_ACCELERATOR": "cpu"}}
    return ray.remote(RankActor).options(**({"runtime_env": environment} | dict(options)))


class RankActor:
    """`LearnerRank` in a process of its own, the only one that imports DeepSpeed and vLLM."""

    def __init__(self, *arguments: Any) -> None:
        from learner.rank import LearnerRank

        self._rank = LearnerRank(*arguments)

    def address(self) -> tuple[str, int]:
        """Address of this rank's host and a port that is free on it."""
        address = ray.util.get_node_ip_address()
        return address, free_port(address)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the rank."""
        return getattr(self._rank, method)(*arguments)
