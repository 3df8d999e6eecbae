"""The acting side: rollout workers, reward workers, and evaluation through both."""

from __future__ import annotations

from typing import Literal

from cluster.config.base import PathText, Section, described
from data.schema import Task


class RolloutSection(Section):
    """Rollout workers: one vLLM engine each."""

    num_workers: int = described(1, "Rollout workers, engines.", ge=1)
    tensor_parallel_size: int = described(
        1, "Processes that share one engine's weights, each with a GPU of its own, processes.", ge=1
    )
    gpus_per_worker: float = described(
        0.0, "GPUs reserved for a worker, GPUs; below 1 shares one, 0 serves on the CPU.", ge=0
    )
    cpus_per_worker: float = described(1.0, "CPUs reserved for a worker, cores.", ge=0)
    threads_per_worker: int | None = described(
        None, "OpenMP threads of a worker, threads; null takes `cpus_per_worker` rounded up.", ge=1
    )
    group_size: int = described(8, "G, responses sampled per prompt, responses.", ge=1)
    temperature: float = described(
        1.0, "Sampling temperature while training; evaluation is greedy. No unit.", gt=0
    )
    max_prompt_tokens: int = described(
        3072, "Longest prompt, video included, tokens; a longer one is skipped.", ge=1
    )
    max_response_tokens: int = described(512, "Longest response, tokens.", ge=1)
    max_concurrent: int = described(64, "Most responses that one engine samples at a time, sequences.", ge=1)
    gpu_memory_utilization: float = described(
        0.85, "Share of a GPU's memory that an engine takes for weights and KV cache, 0-1.", gt=0, le=1
    )
    kv_cache_gib: int = described(1, "KV cache of an engine on the CPU, GiB.", ge=1)
    start_timeout_s: float = described(600.0, "Longest an engine may take to start, seconds.", gt=0)
    request_timeout_s: float = described(600.0, "Longest a group may take to be sampled, seconds.", gt=0)


class RewardSection(Section):
    """Reward workers: they score responses by rule."""

    num_workers: int = described(1, "Reward workers, actors.", ge=1)
    cpus_per_worker: float = described(0.1, "CPUs reserved for a worker, cores.", ge=0)
    mode: Literal["strict", "paper"] = described(
        "strict", "`strict` parsing, or `paper`: as the paper's released functions."
    )
    options: dict[Task, dict[str, bool | int | float]] = described(
        {},
        "Options of tasks by name, such as `{temporal_grounding: {max_intervals: 3}}`; docs/tasks.md names them, "
        "with the units of numbers.",
    )
    weights: dict[Task, dict[str, float]] = described(
        {}, "Weights of a task's reward components in the total, 1 where none is given. No unit."
    )
    custom: dict[Task, str] = described(
        {}, "Reward functions of your own by task, dotted paths `package.module.function`."
    )
    shuffle_bonus: dict[Task, float] = described(
        {},
        "T-GRPO's bonus by task: reward that a right response gains where the policy does no worse on the clip than on "
        "the clip with its frames shuffled. Half a group more is sampled on the latter. No unit.",
    )
    shuffle_form: Literal["paper", "code"] = described(
        "paper", "Who earns the bonus: as Video-R1's paper has it, or its released code."
    )
    timeout_s: float = described(60.0, "Longest the scoring of one step may take, seconds.", gt=0)


class JudgeSection(Section):
    """The judge of captions: which events of the reference does a caption tell of?

    Words are compared, or a language model behind an OpenAI-compatible server is asked where `base_url` names one.
    """

    base_url: str | None = described(
        None,
        "Where the server's API begins, `http://host:8000/v1`, without a user or password; null compares words.",
        min_length=1,
    )
    model: str | None = described(None, "Name of the model on that server.", min_length=1)
    api_key_variable: str | None = described(
        None,
        "Environment variable, in capitals, that holds the API key where the run is started; null sends none.",
    )
    concurrency: int = described(
        16, "Most requests at a time, of all reward workers together, requests.", ge=1
    )
    requests_per_minute: float = described(
        600.0, "Rate that requests start at, of all reward workers together, requests/minute.", gt=0
    )
    max_requests: int = described(
        100_000,
        "Budget: most requests that `cache` may count, resumed runs and retries included, requests.",
        ge=1,
    )
    fallback: Literal["stop", "lexical"] = described(
        "stop",
        "When the server fails beyond its retries or the budget is spent: `stop` ends the run, to go on with --resume; "
        "`lexical` lets the lexical judge take over for the rest of the step, with a warning.",
    )
    timeout_s: float = described(
        10.0,
        "Longest one attempt at a request may take, seconds; failed ones are tried again three times.",
        gt=0,
    )
    cache: PathText | None = described(
        None,
        "File of the answers and of the requests spent; runs that share it share both. "
        "Null takes `judge.sqlite` in the run's folder.",
        min_length=1,
    )


class EvaluationSection(Section):
    """Greedy answers on held-out clips, before and after training."""

    every_steps: int = described(
        0, "Evaluate while training too, every so many optimizer steps; 0 never.", ge=0
    )
    max_response_tokens: int | None = described(
        None, "Longest greedy response, tokens; null takes `rollout.max_response_tokens`.", ge=1
    )
    perception_rounds: int = described(
        1,
        "Times that a question is asked: from the second on, parts of the clip that the answer before named are "
        'sampled denser, rounds. See docs/tasks.md, "Perception rounds".',
        ge=1,
        le=8,
    )
