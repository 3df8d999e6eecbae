"""Iterative perception: look again, and closer, at the parts of a clip that an answer named.

VideoChat-R1.5 (arXiv 2509.21100) and the clue perception of VideoChat-R1 (arXiv 2504.06958, version 5): answer, sample
the named windows denser within the same number of frames, answer again. For evaluation only; training never sees such
a clip.

What the engine is told about time. M-RoPE of Qwen2.5-VL has one spacing for a whole video, so frames that are unevenly
spaced cannot be told as what they are. The engine is told their mean spacing: the clip keeps its length, and frame k of
n is shown at `k / n` of it, though it may come from elsewhere. A time in the answer is read off that clock, and is
brought to the video's own before it is scored or looked at again (the released code takes it as it stands, which puts
the ends of a window seconds off). The limits: between frames time is taken to pass evenly, motion inside a window seems
slower than it is by the density, and a policy that does not read times off M-RoPE is moved for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from data.sampling import Windows
from data.schema import Task, VideoPrompt
from rewards.intervals import find_intervals
from rewards.words import TIME_UNITS

# VideoChat-R1.5 takes more intervals than this for spraying.
MAX_WINDOWS = 3
# A response has one block; of more than these none is read, and only time is lost.
MAX_BLOCKS = 100
# Where a task's answer names times.
TIME_BLOCKS = {Task.TEMPORAL_GROUNDING: "answer", Task.GROUNDED_QA: "glue"}


def named_windows(prediction: Mapping[str, Any] | None, duration: float | None) -> Windows:
    """The parts of a clip that an answer names: cut to it, merged, in order, in seconds.

    Args:
        prediction: `Score.prediction`.
        duration: Length of the clip, seconds, where it is known.

    Returns:
        Empty for an answer that names no time, more than three parts, or the whole clip, or a clip of unknown length.
    """
    if duration is None:
        return ()
    found = prediction or {}
    intervals = found.get("intervals") or ([found["interval"]] if "interval" in found else [])
    cut = sorted((max(0.0, start), min(duration, end)) for start, end in intervals)
    merged: list[tuple[float, float]] = []
    for start, end in cut:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    is_whole = merged == [(0.0, duration)]
    return () if is_whole or len(merged) > MAX_WINDOWS else tuple(merged)


def look_at(prompt: VideoPrompt, windows: Windows, last: bool) -> VideoPrompt:
    """The question of one round.

    Before the last round a multiple-choice question is asked together with its evidence, which is where to look next;
    not about a clip of unknown length, in which no part can be told from the whole.
    """
    prompt = replace(prompt, windows=windows)
    if last or prompt.task is not Task.MULTIPLE_CHOICE or prompt.duration is None:
        return prompt
    # Its evidence is not known and not scored: only what the answer names is read.
    target = {**prompt.target, "intervals": [[0.0, prompt.duration]]}
    return replace(prompt, task=Task.GROUNDED_QA, target=target)


def retime(text: str, task: Task, moments: Sequence[float], duration: float) -> str:
    """An answer's times on the clip's clock instead of the policy's.

    Args:
        moments: The second that each frame was taken for, seconds from the start of the clip.
        duration: Length of the clip, seconds.

    Returns:
        The response with the times of the interval, or of the list, replaced in the block that answers with times;
        those outside the clip stay, and so do those of blocks after the hundredth.
    """
    tag = TIME_BLOCKS.get(task)
    if tag is None:
        return text
    # A block ends before the next tag of its kind, so that no text is scanned twice.
    block = re.compile(rf"<{tag}>((?:(?!</?{tag}>).)*+)</{tag}>", re.DOTALL)
    told = np.linspace(0.0, duration - moments[0], len(moments) + 1)
    true = [*moments, duration]

    def on_clip_clock(found: re.Match[str]) -> str:
        content = found[1]
        # From the last to the first, so that the places of those before stay.
        for figure in sorted((end for pair in find_intervals(content) for end in pair), reverse=True):
            if 0 <= figure.value <= told[-1]:
                is_seconds = TIME_UNITS.get(figure.unit, 1.0) == 1.0
                rest = content[figure.unit_start if is_seconds else figure.end :]
                content = f"{content[: figure.start]}{np.interp(figure.value, told, true):.2f}{rest}"
        return f"<{tag}>{content}</{tag}>"

    return block.sub(on_clip_clock, text, count=MAX_BLOCKS)
