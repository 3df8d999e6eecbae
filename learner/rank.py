"""One learner rank: its share of the policy under DeepSpeed, and of every batch.

`LearnerRank` is an ordinary class, so that tests drive it in any process; `learner.group` runs it as a Ray
actor. Every method is collective: all ranks are called with the same arguments but their own samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist
from deepspeed.runtime.engine import DeepSpeedEngine
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from data.encoding import VideoEncoder
from data.records import TrainSample
from learner import checkpoint
from learner.batching import Pack, plan_micro_batches
from learner.deepspeed_config import deepspeed_config
from learner.engine import build_engine, build_reference, device_of_rank, gradient_norm, join_process_group
from learner.export import export_huggingface
from learner.forward import MicroBatch, TokenScores, lay_out
from learner.losses import micro_batch_loss
from learner.report import StepReport, StepSums
from learner.rows import Row, build_rows
from learner.schedule import learning_rate_at
from learner.settings import LearnerSettings, Objective
from learner.weight_source import DeepSpeedSource, checksums


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
        self._seconds: dict[str, float] = {}
        self._sender: Any = None

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
        self._reference: nn.Module | None = None
        if settings.kl_coef > 0:
            self._reference = build_reference(self._model_path, settings, config)

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
        self._seconds = {}
        with self._timed("encode"):
            rows = self._build_rows(samples)
        plan = self._plan(rows)
        passes = self._most_passes(len(plan))
        sums = StepSums()
        for number in range(passes):
            self._engine.set_gradient_accumulation_boundary(number == passes - 1)
            # Backward passes are collective: a rank that has run out repeats one row without weight.
            real = number < len(plan)
            batch = self._lay_out(rows, plan[number] if real else _least(plan))
            part = self._pass(batch, global_tokens, global_responses, kind, float(real))
            if real:
                sums.add(part)
        return self._update(sums)

    def logprobs(self, samples: Sequence[TrainSample]) -> list[list[float]]:
        """Log-probabilities of each sample's response tokens under the sampling distribution."""
        self._seconds = {}
        rows = self._build_rows(samples)
        plan = self._plan(rows)
        scored: list[list[float]] = [[] for _ in rows]
        for number in range(self._most_passes(len(plan))):
            packs = plan[number] if number < len(plan) else _least(plan)
            batch = self._lay_out(rows, packs)
            with torch.no_grad():
                scores: TokenScores = self._engine(batch, self._settings.temperature)
            for row, values in zip(chain(*packs), scores.logprobs.split(batch.lengths.tolist()), strict=True):
                scored[row] = values.tolist()
        return scored

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

    def init_weight_transfer(self, workers: Mapping[str, Any], transfer: Any) -> None:
        """Connect with the rollout workers.

        Args:
            workers: Actor handles by worker name.
            transfer: `learner.weight_transport.TransferSettings`.
        """
        from learner.weight_transport import WeightSender

        if self._sender is not None:
            self._sender.close()
        self._sender = WeightSender(workers, self.weights, self._rank, self._master_addr, transfer)

    def send_weights(self, version: int) -> float:
        """Put the weights into service on all rollout workers as `version`; returns the seconds it took."""
        start = time.perf_counter()
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

    @property
    def _device(self) -> torch.device:
        return device_of_rank()

    def _layout(self) -> dict[str, int]:
        return {"learner ranks": self._world_size, "ZeRO stage": self._settings.zero_stage}

    def _build_rows(self, samples: Sequence[TrainSample]) -> list[Row]:
        return build_rows(samples, resolve_clips(samples), self._encoder)

    def _plan(self, rows: Sequence[Row]) -> list[list[Pack]]:
        return plan_micro_batches([row.size for row in rows], self._settings.micro_batch_tokens)

    def _lay_out(self, rows: Sequence[Row], packs: Sequence[Pack]) -> MicroBatch:
        return lay_out([[rows[row] for row in pack] for pack in packs], self._device)

    def _most_passes(self, mine: int) -> int:
        """Passes of the rank that needs most: all ranks run as many."""
        most = torch.tensor(mine, device=self._device)
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
        return int(most)

    def _pass(
        self, batch: MicroBatch, global_tokens: int, global_responses: int, kind: Objective, scale: float
    ) -> StepSums:
        """Forward and backward of one micro-batch, its loss scaled by `scale`."""
        sampled = kind == "grpo"
        with self._timed("forward"):
            # Supervised steps learn the plain distribution, without temperature and banned tokens.
            scores = self._engine(batch, self._settings.temperature if sampled else 1.0, ban=sampled)
        reference = self._reference_logprobs(batch) if sampled else None
        loss, sums = micro_batch_loss(
            batch, scores, reference, kind, self._settings, global_tokens, global_responses
        )
        with self._timed("backward"):
            # DeepSpeed averages gradients over ranks; the shares of the loss already add up over them.
            self._engine.backward(loss * (scale * self._world_size), scale_wrt_gas=False)
        return sums

    def _reference_logprobs(self, batch: MicroBatch) -> Tensor | None:
        if self._reference is None:
            return None
        with self._timed("reference"), torch.no_grad():
            scores: TokenScores = self._reference(batch, self._settings.temperature)
        return scores.logprobs

    def _update(self, sums: StepSums) -> StepReport:
        learning_rate = learning_rate_at(self._settings, self._engine.global_steps)
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        with self._timed("update"):
            norm = gradient_norm(self._engine)
            self._engine.step()
        norm = float(self._engine.get_global_grad_norm()) if norm is None else norm
        return StepReport(self._engine.global_steps, sums, norm, learning_rate, self._seconds)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - start


def _least(plan: Sequence[Sequence[Pack]]) -> list[Pack]:
    """A micro-batch of one row, of the shortest pack."""
    return [plan[-1][-1][:1]]


def resolve_clips(samples: Sequence[TrainSample]) -> list[Any]:
    """The clip of each sample, fetched from the object store once per distinct reference."""
    references = {sample.clip for sample in samples if isinstance(sample.clip, ray.ObjectRef)}
    fetched = dict(zip(references, ray.get(list(references)), strict=True)) if references else {}
    return [
        fetched[sample.clip] if isinstance(sample.clip, ray.ObjectRef) else sample.clip for sample in samples
    ]
