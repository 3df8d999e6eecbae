"""A finished run with small real videos, made up where it does not matter: for the tests that need one."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np

from cluster.records.eval_records import EvalSample, write_eval_samples
from cluster.records.metrics import PerStage, Stage, StepRecord, TaskRewards
from cluster.records.results import compute_results, write_results
from cluster.records.run_facts import RunFacts, write_facts
from cluster.records.run_log import RunLog
from data.schema import NUM_BOXES, Task, VideoPrompt
from data.synthetic import TASKS
from rewards import score_response

FPS, SECONDS = 8, 4
CLIPS_PER_TASK = 5


def write_video(path: Path, width: int = 96, height: int = 64) -> Path:
    """A grey clip with a bright square that moves to the right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(FPS * SECONDS):
            pixels = np.full((height, width, 3), 70, np.uint8)
            pixels[16:40, 2 * index : 2 * index + 24] = (230, 60, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def make_prompt(task: Task, number: int, video: Path) -> VideoPrompt:
    """A prompt about the clip that `write_video` makes."""
    boxes = [[0.05 * n, 0.25, 0.05 * n + 0.25, 0.62] for n in range(NUM_BOXES)]
    options = ("to the left", "to the right", "up & <away>")
    interval = [0.5 + 0.1 * number, 2.0 + 0.2 * number]
    targets = {
        Task.TEMPORAL_GROUNDING: {"interval": interval},
        Task.TRACKING: {"boxes": boxes},
        Task.MULTIPLE_CHOICE: {"answer": "ABB"[number % 3]},
        Task.GROUNDED_QA: {"answer": "ABB"[number % 3], "intervals": [interval]},
    }
    return VideoPrompt(
        id=f"{task}-{number}",
        task=task,
        video=str(video),
        question=f"the red square of clip {number}",
        target=targets[task],
        duration=float(SECONDS),
        options=options if "answer" in targets[task] else (),
        box_frames=tuple(range(0, 3 * NUM_BOXES, 3)) if task is Task.TRACKING else (),
    )


def answer(prompt: VideoPrompt, error: float) -> str:
    """A well-formed response, its times and boxes off by `error` seconds or widths."""
    moved = [[start + error, end + error] for start, end in _intervals(prompt)]
    letter = prompt.target.get("answer", "A") if error < 0.5 else "C"
    if prompt.task is Task.TEMPORAL_GROUNDING:
        body = f"<answer>{moved[0][0]:.2f} to {moved[0][1]:.2f}</answer>"
    elif prompt.task is Task.TRACKING:
        boxes = [[x0 + 0.1 * error, y0, x1 + 0.1 * error, y1] for x0, y0, x1, y1 in prompt.target["boxes"]]
        body = f"<answer>{[[round(v, 3) for v in box] for box in boxes]}</answer>"
    else:
        body = f"<answer>{letter}</answer>"
        body += f"<glue>{[tuple(pair) for pair in moved]}</glue>" if moved else ""
    return f"<think>{prompt.id}: off by {error}</think>{body}"


def _intervals(prompt: VideoPrompt) -> list[list[float]]:
    single = prompt.target.get("interval")
    return [single] if single else prompt.target.get("intervals", [])


def evaluated(prompt: VideoPrompt, response: str) -> EvalSample:
    """The response with its score."""
    score = score_response(prompt.task, response, prompt.target, duration=prompt.duration)
    return EvalSample(prompt, response, score, tokens=len(response))


def make_prompts(folder: Path) -> list[VideoPrompt]:
    """`CLIPS_PER_TASK` prompts of each task, all about one video file."""
    video = write_video(folder / "clip.mp4")
    return [make_prompt(task, number, video) for number in range(CLIPS_PER_TASK) for task in TASKS]


def step_record(step: int) -> StepRecord:
    """A step whose rewards rise with the steps."""
    level = 1 - math.exp(-step / 10)
    tasks = {
        task: TaskRewards(
            reward=1 + level, components={"format": 1.0, "iou": level, "accuracy": level}, responses=8
        )
        for task in TASKS
    }
    seconds = PerStage(decode=0.1, rollout=2.0, reward=0.05, learn=1.5, sync=0.2, total=4.0)
    return StepRecord(
        step=step, tasks=tasks, mismatch=1.00001, entropy=1 - level, grad_norm=0.5, seconds=seconds
    )


def make_run(run_dir: Path) -> Path:
    """A run folder as a finished run leaves it; the last tracking clip could not be decoded."""
    run_dir.mkdir(parents=True)
    prompts = make_prompts(run_dir)
    before = [evaluated(p, answer(p, 0.6)) for p in prompts]
    after = [evaluated(p, answer(p, 0.05 * n)) for n, p in enumerate(prompts)]
    lost = next(n for n, p in enumerate(prompts) if p.id == f"tracking-{CLIPS_PER_TASK - 1}")
    before[lost] = after[lost] = EvalSample(prompts[lost], "", None, problem="cut short after 3 frames")
    write_eval_samples(run_dir, "cold_start", before)
    write_eval_samples(run_dir, "grpo", after)
    write_results(run_dir, compute_results(before, after))
    log = RunLog(run_dir)
    for step in range(1, 31):
        log.step(StepRecord(step=step, stage=Stage.COLD_START, loss=3 / step))
        log.step(step_record(step))
    log.close()
    write_facts(run_dir, facts(run_dir.name))
    return run_dir


def facts(name: str) -> RunFacts:
    """Facts of the made-up run."""
    return RunFacts(
        name=name,
        algorithm="grpo",
        model="tiny",
        seed=7,
        steps=30,
        started="2026-03-02T14:05:11+00:00",
        seconds=1141.0,
        command="python -m cluster.launch --config configs/local.yaml run.seed=7",
        machine="2 cores, 8 GiB",
        versions={"vllm": "0.32.0"},
        warnings=["clip <b>x</b> was quarantined"],
    )
