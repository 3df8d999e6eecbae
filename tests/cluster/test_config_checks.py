"""Values that are each allowed and cannot be run together are found."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.config.checks import contradictions, most_video_tokens
from data.sampling import SamplingContract


def config(**sections: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate(sections)


ON_GPUS = {"gpus_per_worker": 1.0}
TRAINED = {"path": "owner/name"}
ENDPOINT = {"base_url": "http://host/v1", "model": "m"}
PATIENT = {"timeout_s": 600.0}

CASES = {
    "G of 1": ({"rollout": {"group_size": 1}}, "rollout.group_size", "at least 2"),
    "fewer responses than ranks": (
        {"grpo": {"prompts_per_step": 1}, "rollout": {"group_size": 3}, "learner": {"num_workers": 4}},
        "learner.num_workers",
        "3 responses per update cannot be shared by 4 learner ranks",
    ),
    "fewer responses of an update than ranks": (
        {
            "grpo": {"prompts_per_step": 4, "updates_per_step": 4},
            "rollout": {"group_size": 8},
            "learner": {"num_workers": 16},
        },
        "grpo.updates_per_step",
        "8 responses per update cannot be shared by 16 learner ranks",
    ),
    "fewer groups than updates": (
        {"grpo": {"prompts_per_step": 2, "updates_per_step": 3}},
        "grpo.updates_per_step",
        "2 groups cannot be shared by 3 updates",
    ),
    "fewer demonstrations than ranks": (
        {"cold_start": {"batch_size": 3}, "learner": {"num_workers": 4}},
        "cold_start.batch_size",
        "3 samples",
    ),
    "bfloat16 without ZeRO": (
        {"model": {"dtype": "bfloat16"}, "learner": {"zero_stage": 0}},
        "learner.zero_stage",
        "adds gradients of bfloat16 weights up in bfloat16",
    ),
    "micro-batch too short": (
        {"learner": {"micro_batch_tokens": 3583}},
        "learner.micro_batch_tokens",
        "3584 tokens",
    ),
    "clip longer than prompt": (
        {"rollout": {"max_prompt_tokens": 2000}},
        "rollout.max_prompt_tokens",
        "allow at least",
    ),
    "frames": ({"video": {"min_frames": 66}}, "video.min_frames", "more than the most"),
    "pixels": (
        {"video": {"min_pixels": 300_000, "max_frames": 4}},
        "video.min_pixels",
        "larger than the largest",
    ),
    "clip bounds": ({"grpo": {"clip_low": 0.3}}, "grpo.clip_low", "clip_high >= clip_low"),
    "betas": ({"learner": {"adam_betas": (0.9, 1.0)}}, "learner.adam_betas", "below 1"),
    "tensor parallel without its GPUs": (
        {"rollout": {"tensor_parallel_size": 2, "gpus_per_worker": 1.0}},
        "rollout.tensor_parallel_size",
        "gpus_per_worker must be 2",
    ),
    "GPUs without tensor parallel": (
        {"rollout": {"gpus_per_worker": 2.0}},
        "rollout.gpus_per_worker",
        "must be 1",
    ),
    "half of tensor-parallel GPUs": (
        {"rollout": {"tensor_parallel_size": 2, "gpus_per_worker": 0.5, "gpu_memory_utilization": 0.5}},
        "rollout.gpus_per_worker",
        "must be 2",
    ),
    "memory of a shared GPU": (
        {"rollout": {"gpus_per_worker": 0.4}},
        "rollout.gpu_memory_utilization",
        "shares a GPU",
    ),
    "two ranks on one GPU": (
        {"learner": {"gpus_per_worker": 0.5, "num_workers": 2}},
        "learner.gpus_per_worker",
        "refuses two",
    ),
    "offload without ZeRO": (
        {"learner": {"offload_optimizer": True, "zero_stage": 0, **ON_GPUS}},
        "learner.zero_stage",
        "from ZeRO stage 1",
    ),
    "offload without GPU": (
        {"learner": {"offload_optimizer": True}},
        "learner.offload_optimizer",
        "nothing to offload",
    ),
    "nccl without learner GPUs": (
        {"sync": {"backend": "nccl"}, "rollout": ON_GPUS},
        "learner.gpus_per_worker",
        "use gloo or auto",
    ),
    "nccl on a shared GPU": (
        {
            "sync": {"backend": "nccl"},
            "rollout": {"gpus_per_worker": 0.4, "gpu_memory_utilization": 0.4},
            "learner": ON_GPUS,
        },
        "rollout.gpus_per_worker",
        "refuses two processes on one GPU",
    ),
    "no task": ({"data": {"tasks": {}}}, "data.tasks", "at least one of them above 0"),
    "tasks of weight 0": ({"data": {"tasks": {"tracking": 0.0}}}, "data.tasks", "at least one"),
    "a task of negative weight": (
        {"data": {"tasks": {"tracking": -1.0, "grounded_qa": 1.0}}},
        "data.tasks",
        "0 or more",
    ),
    "endless synthetic prompts": ({"data": {"num_prompts": None}}, "data.num_prompts", "have no end"),
    "held-out is training": (
        {"data": {"source": "a/../b.jsonl", "eval_source": "./b.jsonl"}, "model": TRAINED},
        "data.eval_source",
        "must not be the training prompts",
    ),
    "a cold start on annotations that hold no thought": (
        {"data": {"source": "a.jsonl"}, "cold_start": {"think_steps": 10}},
        "data.template",
        "answers and no think part; write `data: {template: direct}` and `cold_start: {think_steps: 0}`, or",
    ),
    "think parts of annotations": (
        {"data": {"source": "a.jsonl", "template": "direct"}, "cold_start": {"think_steps": 10}},
        "cold_start.think_steps",
        "answers and no think part; write `cold_start: {think_steps: 0}`, or",
    ),
    "a cold start without thinking": (
        {"data": {"template": "direct"}},
        "data.template",
        "have a think part",
    ),
    "supervised without thinking": (
        {"data": {"template": "direct"}, "model": TRAINED, "run": {"algorithm": "sft"}},
        "run.algorithm",
        "have a think part",
    ),
    "a cold start of think parts alone": (
        {"cold_start": {"max_steps": 250, "think_steps": 250}},
        "cold_start.think_steps",
        "is ever shown",
    ),
    "a task that no clip is drawn for": (
        {"data": {"tasks": {"captioning": 1.0}, "eval_source": "a.jsonl"}},
        "data.tasks",
        "no synthetic clips are made for captioning",
    ),
    "an option of another task": (
        {"reward": {"options": {"tracking": {"boundary_penalty": True}}}},
        "reward.options",
        "tracking: boundary_penalty",
    ),
    "a weight of no component": (
        {"reward": {"weights": {"tracking": {"accuracy": 1.0}}}},
        "reward.weights",
        "it has format, iou",
    ),
    "a judge without a server": (
        {"judge": {**ENDPOINT, "base_url": None}, "reward": PATIENT},
        "judge.base_url",
        "needs a server",
    ),
    "a judge at no address": (
        {"judge": {**ENDPOINT, "base_url": "host:8000/v1"}, "reward": PATIENT},
        "judge.base_url",
        "begin with http",
    ),
    "a judge's password in its address": (
        {"judge": {**ENDPOINT, "base_url": "http://me:s3cret@host/v1"}, "reward": PATIENT},
        "judge.base_url",
        "holds a user or a password",
    ),
    "a judge's key in its address": (
        {"judge": {**ENDPOINT, "base_url": "http://host/v1?key=s3cret"}, "reward": PATIENT},
        "judge.base_url",
        "may be a secret",
    ),
    "a judge without a model": (
        {"judge": {**ENDPOINT, "model": None}, "reward": PATIENT},
        "judge.model",
        "name of a model",
    ),
    "more reward workers than requests": (
        {"judge": {**ENDPOINT, "concurrency": 2}, "reward": {**PATIENT, "num_workers": 3}},
        "judge.concurrency",
        "at least one for each",
    ),
    "a judge slower than scoring may be": (
        {"judge": {**ENDPOINT, "timeout_s": 30.0}, "reward": {"timeout_s": 180.0}},
        "reward.timeout_s",
        "may take the judge 180 s",
    ),
    "a bonus of nothing": (
        {"reward": {"shuffle_bonus": {"tracking": 0.3, "grounded_qa": 0.0}}},
        "reward.shuffle_bonus",
        "above 0",
    ),
    "a bonus on a reward of one's own": (
        {"reward": {"shuffle_bonus": {"tracking": 0.3}, "custom": {"tracking": "a.b"}}},
        "reward.custom",
        "which of tracking are",
    ),
    "CPUs of a cluster": ({"ray": {"address": "auto", "num_cpus": 2}}, "ray.num_cpus", "its own"),
}


@pytest.mark.parametrize("name", CASES)
def test_found_once_and_alone(name: str) -> None:
    sections, key, text = CASES[name]
    # Python values, not JSON: tasks are given as text, which the strict mode of Python input refuses.
    problems = list(contradictions(RunConfig.model_validate(sections, strict=False)))
    assert len(problems) == 1, problems
    assert key in problems[0].keys
    assert text in problems[0].message


@pytest.mark.parametrize(
    "sections",
    [
        {"rollout": {"group_size": 1}, "run": {"algorithm": "sft"}},
        {"grpo": {"prompts_per_step": 3}, "rollout": {"group_size": 4}, "learner": {"num_workers": 2}},
        {"cold_start": {"batch_size": 33}, "learner": {"num_workers": 2}, "model": {"path": "a/b"}},
        {"rollout": {"tensor_parallel_size": 2, "gpus_per_worker": 2.0}},
        {"rollout": {"tensor_parallel_size": 2}},
        {"rollout": {"gpus_per_worker": 0.5, "gpu_memory_utilization": 0.5}},
        {"sync": {"backend": "nccl"}, "rollout": ON_GPUS, "learner": ON_GPUS},
        {"data": {"source": "a.jsonl"}, "model": TRAINED},
        {"learner": {"warmup_steps": 10}, "grpo": {"steps": 2}},
        {"data": {"source": "a.jsonl", "num_prompts": None}, "model": TRAINED},
        {"grpo": {"clip_low": 0.2, "clip_high": 0.28}},
        {"data": {"template": "direct"}, "model": TRAINED},
        {"data": {"source": "a.jsonl", "template": "direct"}},
        {
            "data": {"source": "a.jsonl", "template": "direct"},
            "model": TRAINED,
            "run": {"algorithm": "sft"},
        },
        {"cold_start": {"max_steps": 251, "think_steps": 250}},
        {"cold_start": {"max_steps": 4, "think_steps": 250}, "model": TRAINED},
        {"judge": ENDPOINT, "reward": PATIENT},
        {"judge": {"timeout_s": 600.0}},
    ],
)
def test_what_can_be_run_is_let_through(sections: dict[str, Any]) -> None:
    assert list(contradictions(config(**sections))) == []


@pytest.mark.parametrize("max_pixels", [12544, 200_704, 602_112])
@pytest.mark.parametrize("max_frames", [16, 64, 768])
def test_no_clip_has_more_tokens_than_planned(max_frames: int, max_pixels: int) -> None:
    video = {
        "max_frames": max_frames,
        "max_pixels": max_pixels,
        "min_pixels": 3136,
        "total_pixels": 2_809_856,
    }
    run = config(video=video)
    contract = SamplingContract(**run.video.model_dump())
    bound = most_video_tokens(run)
    found = 0
    for frames in range(4, max_frames + 1, 2):
        for height, width in ((720, 1280), (480, 480), (1920, 1080), (240, 320)):
            rows, columns = contract.choose_size(height, width, frames)
            found = max(found, frames // 2 * (rows // 28) * (columns // 28))
    assert 0.8 * bound <= found <= bound


def test_all_mistakes_about_the_judge_are_found_at_once() -> None:
    found = [problem.keys[0] for problem in contradictions(config(judge={"base_url": "host:8000"}))]
    assert found == ["judge.base_url", "judge.model", "reward.timeout_s"]
