"""A rollout worker: serves the policy with vLLM, samples groups of responses, takes new weights."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actors.engine import EngineSettings, banned_tokens, build_engine, prepare_environment
from actors.engine_death import unless_engine_dies
from actors.start_together import StartTogether, Turn
from data.encoding import vllm_request
from data.feature_cache import FeatureCache, feature_key
from data.records import Response, Rollout, SamplingSettings
from data.schema import VideoPrompt
from data.shuffling import shuffle_frames
from data.video import Clip

if TYPE_CHECKING:
    import torch
    from vllm import SamplingParams
    from vllm.inputs import PromptType
    from vllm.logprobs import Logprob
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

SHUTDOWN_SECONDS = 2.0


class RolloutWorker:
    """Ray actor around one vLLM engine. Its methods are coroutines: many groups are sampled at a time.

    A weight update is `start_weight_update`, `update_weights`, `finish_weight_update`; sampling is paused between the
    first and the last, and requests that arrive meanwhile wait.
    """

    def __init__(self, name: str, settings: EngineSettings) -> None:
        self.name = name
        self._settings = settings
        self._engine: AsyncLLM | None = None
        self._banned: dict[int, float] = {}
        self._version = 0
        self._checksums: dict[str, str] = {}
        self._auditing = False
        self._requests = 0
        self._running = 0
        self._tokens = 0
        self._prompt_tokens = 0
        self._cached_prompt_tokens = 0
        self._features_found = 0

    @unless_engine_dies
    async def start(self, version: int = 0) -> int:
        """Load the model and start the engine's processes.

        Args:
            version: Weight version that the model's files hold.

        Returns:
            This actor's process id.
        """
        prepare_environment(self._settings)
        self._engine = build_engine(self._settings)
        self._together = StartTogether(self._engine)
        self._banned = banned_tokens(self._engine)
        await self._set_version(version)
        return os.getpid()

    @unless_engine_dies
    async def generate(
        self,
        prompt: VideoPrompt,
        text: str,
        clip: Clip,
        sampling: SamplingSettings,
        turn: Turn | None = None,
        tower_digest: str = "",
        shuffle_seed: int | None = None,
    ) -> Rollout:
        """Sample one group of responses.

        Args:
            prompt: Goes back with the rollout.
            text: The whole prompt in chat layout, with one `<|video_pad|>`.
            clip: The decoded clip. Pass its object reference: Ray resolves it to memory shared with the object store.
            sampling: Responses, temperature, length and seed.
            turn: Its place among the groups that this worker is to start together; None starts at once.
            tower_digest: Of the frozen vision tower whose features the cache may have; empty without one.
            shuffle_seed: Show the clip's frames in an order drawn from this seed; None as they come.

        Raises:
            ValueError: a greedy group of more than one response, or a prompt that does not fit `max_model_len`.
        """
        started = time.monotonic()
        self._requests += 1
        self._running += 1
        if shuffle_seed is not None:
            clip = shuffle_frames(clip, shuffle_seed)
        try:
            request = vllm_request(clip, text, self._features(clip, tower_digest), self._patch_size)
            output = await self._sample(request, self._sampling_params(sampling), turn)
        finally:
            self._running -= 1
        responses = [_response(completion) for completion in output.outputs]
        self._count(output)
        return Rollout(
            prompt=prompt,
            prompt_token_ids=list(output.prompt_token_ids or []),
            responses=responses,
            worker=self.name,
            seconds=time.monotonic() - started,
            starts_at=clip.starts_at,
        )

    @unless_engine_dies
    async def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Join the learner's transfer group. Returns when every member has joined."""
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        await self._started.init_weight_transfer_engine(WeightTransferInitRequest(init_info=init_info))

    @unless_engine_dies
    async def start_weight_update(self, audit: bool = False) -> None:
        """Freeze sampling, drop everything computed with the old weights, and make ready to receive.

        `clear_cache` empties the prefix cache, the processor cache and the encoder cache (vLLM's
        `EngineCore._reset_caches`). Responses under way keep their tokens; their prompts are computed anew.

        Args:
            audit: Digest every parameter that arrives, for `weight_checksums`.
        """
        await self._started.pause_generation(mode="keep", clear_cache=True)
        self._auditing = audit
        if audit:
            await self._started.collective_rpc("start_weight_audit")
        await self._started.start_weight_update()

    @unless_engine_dies
    async def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive one update; returns when the model has loaded it."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        await self._started.update_weights(WeightTransferUpdateRequest(update_info=update_info))

    @unless_engine_dies
    async def finish_weight_update(self, version: int) -> None:
        """Put the received weights into service as `version` and go on sampling."""
        if self._auditing:
            self._checksums = (await self._started.collective_rpc("finish_weight_audit"))[0]
        await self._started.finish_weight_update()
        await self._set_version(version)
        await self._started.resume_generation()

    @unless_engine_dies
    async def shutdown_weight_transfer_engine(self) -> None:
        """Leave the transfer group; the engine goes on serving."""
        await self._started.shutdown_weight_transfer_engine()

    async def weight_checksums(self) -> dict[str, str]:
        """SHA-256 of each parameter as it arrived in the last audited update, by the learner's name of it."""
        return self._checksums

    async def version(self) -> int:
        """Weight version in service."""
        return self._version

    async def metrics(self) -> dict[str, float]:
        """Counters since the start, and groups under way now."""
        return {
            "groups": self._requests,
            "groups_running": self._running,
            "tokens": self._tokens,
            "prompt_tokens": self._prompt_tokens,
            "cached_prompt_tokens": self._cached_prompt_tokens,
            "features_found": self._features_found,
        }

    async def shutdown(self) -> None:
        """Stop the engine and its processes."""
        if self._engine is not None:
            self._engine.shutdown(timeout=SHUTDOWN_SECONDS)
            self._engine = None

    def _features(self, clip: Clip, tower_digest: str) -> torch.Tensor | None:
        if not tower_digest:
            return None
        features = FeatureCache(Path(self._settings.feature_cache)).get(
            feature_key(clip.digest, tower_digest)
        )
        self._features_found += features is not None
        return features

    @property
    def _patch_size(self) -> int:
        return int(self._started.model_config.hf_config.vision_config.patch_size)

    @property
    def _started(self) -> AsyncLLM:
        if self._engine is None:
            raise RuntimeError(f"{self.name} has no engine: start() comes first")
        return self._engine

    async def _set_version(self, version: int) -> None:
        await self._started.update_weight_version(str(version))
        self._version = version

    async def _sample(
        self, request: dict[str, Any], params: SamplingParams, turn: Turn | None
    ) -> RequestOutput:
        async with self._together.entering(turn):
            output = await self._started.add_request(
                request_id=f"{self.name}-{self._requests}",
                prompt=cast("PromptType", request),
                params=params,
                priority=turn.place if turn else 0,
            )
        # One output, when the last response has ended; an engine that died raises.
        return cast("RequestOutput", await output.get())

    def _sampling_params(self, sampling: SamplingSettings) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        greedy = sampling.temperature == 0
        if greedy and sampling.group_size > 1:
            raise ValueError(f"greedy sampling gives one response, {sampling.group_size} were asked for")
        return SamplingParams(
            n=sampling.group_size,
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            seed=None if greedy else _spread(sampling.seed),
            logprobs=0,
            logit_bias=self._banned,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _count(self, output: RequestOutput) -> None:
        self._tokens += sum(len(completion.token_ids) for completion in output.outputs)
        self._prompt_tokens += len(output.prompt_token_ids or [])
        self._cached_prompt_tokens += output.num_cached_tokens or 0


def _response(completion: CompletionOutput) -> Response:
    """One of vLLM's outputs as our record."""
    token_ids = list(completion.token_ids)
    assert completion.logprobs is not None and completion.finish_reason is not None
    steps = cast("list[dict[int, Logprob]]", completion.logprobs)
    logprobs = [step[token].logprob for step, token in zip(steps, token_ids, strict=True)]
    spans = [(span.start, span.end, int(span.version)) for span in completion.weight_versions or []]
    return Response(
        index=completion.index,
        token_ids=token_ids,
        text=completion.text,
        logprobs=logprobs,
        finish_reason=completion.finish_reason,
        weight_versions=spans,
    )


def _spread(seed: int) -> int:
    """A 31-bit seed far from those of neighbouring groups: vLLM seeds response i with the group's seed plus i."""
    return int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest()) >> 1
