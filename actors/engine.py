"""The vLLM engine of a rollout worker: its environment and its arguments.

vLLM reads its environment variables when it is imported, so `prepare_environment` comes before the first import of it
in a process, and nothing here imports vLLM at module level.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.video_features import keep_spacing
from data.encoding import banned_token_ids
from data.tools_path import put_own_programs_first

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

# vLLM's CPU attention wants a multiple of 32; a small block lets the responses of a group share most of their prompt.
CPU_BLOCK_TOKENS = 32
CPU_BATCH_TOKENS = 16384
GIB = 2**30


@dataclass(frozen=True)
class EngineSettings:
    """What a rollout worker's engine is built with.

    Attributes:
        model_path: Local folder or Hub id, Hugging Face format.
        weight_transfer: `gloo` or `nccl`.
        dtype: `float32`, `bfloat16` or `float16`.
        use_gpu: False runs vLLM's CPU build, eagerly.
        tensor_parallel_size: Worker processes per engine.
        max_model_len: Longest prompt plus response, in tokens.
        max_num_seqs: Most responses sampled at a time.
        gpu_memory_utilization: Share of each GPU's memory the engine may take.
        kv_cache_gib: Size of the KV cache on the CPU, in GiB.
        threads: OpenMP threads of each worker process on the CPU.
        feature_cache: Folder of a frozen vision tower's features; empty runs the engine's own tower.
    """

    model_path: str
    weight_transfer: str = "gloo"
    dtype: str = "float32"
    use_gpu: bool = False
    tensor_parallel_size: int = 1
    max_model_len: int = 4096
    max_num_seqs: int = 64
    gpu_memory_utilization: float = 0.85
    kv_cache_gib: float = 1.0
    threads: int = 1
    feature_cache: str = ""


def prepare_environment(settings: EngineSettings) -> None:
    """Set the variables vLLM reads at import, for this process and the engine processes it starts."""
    put_own_programs_first()
    os.environ["VLLM_LOGGING_LEVEL"] = os.environ.get("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    if not settings.use_gpu:
        # Bound threads of two engines, or of an engine and the learner, could end up on the same core.
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
        # Without this the first request waits for one small sampling kernel to be compiled, up to 18 s.
        os.environ["TORCHDYNAMO_DISABLE"] = "1"
        # The engine core has a process of its own either way. This lets it also be its only worker, which vLLM's CPU
        # build otherwise starts as another process, to bind its threads: a third of the start-up time for nothing.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if settings.tensor_parallel_size == 1 else "1"


def engine_arguments(settings: EngineSettings) -> dict[str, Any]:
    """Arguments of `AsyncEngineArgs`, vLLM 0.32."""
    arguments: dict[str, Any] = {
        "model": settings.model_path,
        # As wherever a policy is loaded: code that comes with it is not run, and nobody is asked whether it may be.
        "trust_remote_code": False,
        "dtype": settings.dtype,
        "tensor_parallel_size": settings.tensor_parallel_size,
        # Left to itself, vLLM inside a Ray actor starts its workers as further actors, outside this one's reservation.
        "distributed_executor_backend": "uni" if settings.tensor_parallel_size == 1 else "mp",
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "limit_mm_per_prompt": {"video": 1, "image": 0},
        # The distribution a token was really drawn from: after temperature and banned tokens.
        "logprobs_mode": "processed_logprobs",
        "weight_transfer_config": {"backend": settings.weight_transfer},
        "worker_extension_cls": "actors.weight_transport.audit.WeightAudit",
        # Processed pixels are not kept: the cache has a half in each of two processes, and the halves disagree when a
        # request arrives while a weight update clears them.
        "mm_processor_cache_gb": 0,
        # Features may stand for pixels; without them the engine's own tower runs.
        "enable_mm_embeds": bool(settings.feature_cache),
        "disable_log_stats": True,
        # Requests that enter together are scheduled in the order of their prompts, not of their arrival.
        "scheduling_policy": "priority",
        "use_tqdm_on_load": False,
    }
    if settings.use_gpu:
        return arguments | {"gpu_memory_utilization": settings.gpu_memory_utilization}
    return arguments | {
        "enforce_eager": True,
        "block_size": CPU_BLOCK_TOKENS,
        # A prompt computed in parts makes vLLM step back the generator of a seeded request, which torch's CPU generator
        # cannot do: the engine would die. Whole prompts only, and room for many of them at a time.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(CPU_BATCH_TOKENS, settings.max_model_len),
        "kv_cache_memory_bytes": int(settings.kv_cache_gib * GIB),
        "skip_mm_profiling": True,
    }


def build_engine(settings: EngineSettings) -> AsyncLLM:
    """Start an engine; its core and worker processes are children of this one. Takes half a minute on two cores."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    if settings.feature_cache:
        keep_spacing()
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_arguments(settings)))


def banned_tokens(engine: AsyncLLM) -> dict[int, float]:
    """The logit bias that makes vision tokens impossible.

    A bias of minus infinity is added before the log-softmax, so the log-probabilities returned are those of the
    remaining tokens alone. The constructor of `SamplingParams` keeps it; `from_optional` would clip it to -100.
    """
    return dict.fromkeys(banned_token_ids(engine.get_tokenizer()), float("-inf"))
