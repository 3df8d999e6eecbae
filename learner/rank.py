"""One learner rank: its share of the policy under DeepSpeed, and of every batch.

`LearnerRank` is an ordinary class, so that tests drive it in any process; `learner.group` runs it as a Ray
actor. Every method is collective: all ranks are called with the same arguments but their own samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist
from deepspeed.runtime.engine import DeepSpeedEngine
from transformers import Qwen2_5_VLForConditionalGeneration

from data.encoding import VideoEncoder
from data.feature_cache import FeatureCache
from data.records import TrainSample
from data.schema import VideoPrompt
from learner import checkpoint
from learner.deepspeed_config import deepspeed_config
from learner.engine import build_engine, build_reference, join_process_group
from learner.export import export_huggingface
from learner.frozen_tower import FrozenTower
from learner.report import StepReport, Stopwatch
from learner.rows import Row, build_rows
from learner.runner import BatchRunner
from learner.settings import LearnerSettings, Objective
from learner.weight_source import DeepSpeedSource, checksums
from learner.weight_transport import TransferSettings, WeightSender


class LearnerRank:
    """One process of the learner.

    Args:
        settings: The same on all ranks.
        model_path: Folder or Hub id of the policy, and of the reference policy where there is one.
        make_encoder: Called once in the rank's process; encodes prompts and clips.
    """

    def __init__(
        self, settings: LearnerSettings, model_path: str, make_encoder: Callable[[], VideoEncoder]
    ) -> None:
        self._settings = settings
        self._model_path = model_path
        self._make_encoder = make_encoder
        self._sender: WeightSender | None = None

    def start(self, master_addr: str, master_port: int, rank: int, world_size: int) -> None:
        """Join the other ranks and load the policy.

        Args:
            master_addr, master_port: Where rank 0 listens.
        """
        settings = self._settings
        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        torch.manual_seed(settings.seed)
        self._rank, self._world_size, self._master_addr = rank, world_size, master_addr
        join_process_group(master_addr, master_port, rank, world_size, settings.timeout)
        self._encoder = self._make_encoder()
        config = deepspeed_config(settings, world_size)
        self._engine: DeepSpeedEngine = build_engine(self._model_path, settings, config)
        self._tower = self._frozen_tower()
        # With LoRA the reference policy is the policy without its adapters.
        wants_reference = settings.kl_coef > 0 and not settings.lora_rank
        reference = build_reference(self._model_path, settings, config) if wants_reference else None
        self._runner = BatchRunner(self._engine, reference, settings)

    def step(
        self, samples: Sequence[TrainSample], global_tokens: int, global_responses: int, kind: Objective
    ) -> StepReport:
        """One optimizer step.

        Args:
            samples: This rank's share of the batch, at least one.
            global_tokens: Response tokens of the whole batch, over all ranks.
            global_responses: Responses of the whole batch.
            kind: `grpo` or `sft`.

        Raises:
            PromptMismatchError: a prompt differs from what the rollout engine saw; names it.
        """
        watch = Stopwatch()
        with watch.measure("encode"):
            rows = self._build_rows(samples)
        return self._runner.step(rows, global_tokens, global_responses, kind, watch)

    def logprobs(self, samples: Sequence[TrainSample]) -> list[list[float]]:
        """Log-probabilities of each sample's response tokens under the sampling distribution."""
        return self._runner.logprobs(self._build_rows(samples))

    def compute_features(self, clips: Sequence[Any], prompts: Sequence[VideoPrompt]) -> str:
        """Put the features of clips into the cache that it lacks. Not collective.

        Args:
            clips: Decoded clips or their references.
            prompts: Which prompts they belong to.

        Returns:
            Digest of the vision tower, by which readers of the cache find them.
        """
        if self._tower is None:
            raise RuntimeError("the vision tower trains: its features are worth nothing after the next step")
        for clip, prompt in zip(fetch_clips(clips), prompts, strict=True):
            if not self._tower.keeps(clip.digest):
                self._tower.compute(self._encoder.encode(prompt, clip), clip.digest)
        return self._tower.digest

    def save_checkpoint(self, folder: str, client_state: Mapping[str, Any], keep: int = 2) -> str:
        """Write everything needed to resume; see `learner.checkpoint`.

        Args:
            folder: The run's checkpoint folder, on a file system that all ranks share.
            client_state: What the training loop wants back; must be JSON.

        Returns:
            Path of the checkpoint.
        """
        step = self._engine.global_steps
        self._engine.save_checkpoint(folder, tag=checkpoint.unfinished_name(step), save_latest=False)
        dist.barrier()
        if self._rank == 0:
            checkpoint.seal(Path(folder), step, client_state, self._layout(), keep)
        dist.barrier()
        return str(Path(folder) / f"{checkpoint.PREFIX}{step:08d}")

    def load_checkpoint(self, folder: str) -> tuple[dict[str, Any] | None, list[str]]:
        """Continue from the newest complete checkpoint.

        Returns:
            What the training loop stored, None without any checkpoint; and one message per checkpoint
            skipped.

        Raises:
            CheckpointError: it was written by another number of ranks or another ZeRO stage.
        """
        newest, problems = checkpoint.newest_complete(Path(folder))
        if newest is None:
            return None, problems
        checkpoint.check_layout(newest, self._layout())
        loaded, _ = self._engine.load_checkpoint(folder, tag=newest.name)
        if loaded is None:
            raise checkpoint.CheckpointError(f"DeepSpeed could not load {newest}")
        return checkpoint.read_client_state(newest), problems

    def export_hf(self, folder: str) -> None:
        """Write a checkpoint that transformers and vLLM load."""
        export_huggingface(
            Path(folder), self.policy, self.weights, self._model_path, is_writer=self._rank == 0
        )
        dist.barrier()

    def weight_checksums(self) -> dict[str, str]:
        """SHA-256 of every parameter by its Hugging Face name."""
        return checksums(self.weights)

    def init_weight_transfer(self, workers: Mapping[str, Any], transfer: TransferSettings) -> None:
        """Connect with the rollout workers.

        Args:
            workers: Actor handles by worker name.
            transfer: The same on all ranks.
        """
        if self._sender is not None:
            self._sender.close()
        self._sender = WeightSender(workers, self.weights, self._rank, self._master_addr, transfer)

    def send_weights(self, version: int) -> float:
        """Put the weights into service on all rollout workers as `version`; returns the seconds it took."""
        if self._sender is None:
            raise RuntimeError("init_weight_transfer comes before send_weights")
        start = time.perf_counter()
        if torch.cuda.is_available():
            # vLLM packs on streams of its own, which do not wait for the optimizer's kernels.
            torch.cuda.synchronize()
        self._sender.send(version)
        return time.perf_counter() - start

    @property
    def policy(self) -> Qwen2_5_VLForConditionalGeneration:
        """The model inside the engine; under ZeRO-3 its parameters are empty outside a forward pass."""
        policy: Qwen2_5_VLForConditionalGeneration = self._engine.module.policy
        return policy

    @property
    def weights(self) -> DeepSpeedSource:
        """The policy's whole parameters; iterating is collective."""
        return DeepSpeedSource(self.policy)

    def _layout(self) -> dict[str, int]:
        return {"learner ranks": self._world_size, "ZeRO stage": self._settings.zero_stage}

    def _build_rows(self, samples: Sequence[TrainSample]) -> list[Row]:
        return build_rows(samples, resolve_clips(samples), self._encoder, self._tower)

    def _frozen_tower(self) -> FrozenTower | None:
        settings = self._settings
        if settings.tower_trains:
            return None
        bound = settings.feature_cache_bytes
        cache = FeatureCache(Path(settings.feature_cache), bound) if bound else None
        return FrozenTower(self.policy, cache, partitioned=settings.zero_stage == 3)


def resolve_clips(samples: Sequence[TrainSample]) -> list[Any]:
    """The clip of each sample."""
    return fetch_clips([sample.clip for sample in samples])


def fetch_clips(clips: Sequence[Any]) -> list[Any]:
    """Clips or references as clips, fetched from the object store once per distinct reference."""
    references = {clip for clip in clips if isinstance(clip, ray.ObjectRef)}
    fetched = dict(zip(references, ray.get(list(references)), strict=True)) if references else {}
    return [fetched[clip] if isinstance(clip, ray.ObjectRef) else clip for clip in clips]
