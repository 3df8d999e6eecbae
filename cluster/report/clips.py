"""The held-out clips of the report: three per task by a fixed rule, with both answers and scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from cluster.records.eval_records import EvalSample
from cluster.records.failures import why_zero
from cluster.records.result_records import METRICS
from cluster.report.frames import VIEW, BoxTrack, Spans, frame_strip, missing_strip, timeline
from data.decoder import IsolatedDecoder
from data.prompts import PromptStyle, render_prompt
from data.schema import LETTERS, VideoPrompt
from data.video import Clip, ClipError
from rewards import SPECS

RULE = "The best, the median and the worst clip of each task after GRPO, by total reward, then by prompt id."
PLACES = ("best", "median", "worst")
TAG = re.compile(r"&lt;(think|answer|glue)&gt;(.*?)&lt;/\1&gt;", re.DOTALL)


@dataclass(frozen=True)
class ShownClip:
    """A held-out clip with the answers before and after GRPO, or with one alone.

    Attributes:
        before_name: What the answer before is called; None where there is no such answer to be had.
        asked: The text it was asked by; None where that is not known.
    """

    place: str
    before: EvalSample | None
    after: EvalSample
    before_name: str | None = "cold start"
    after_name: str = "after GRPO"
    asked: str | None = None

    @property
    def prompt(self) -> VideoPrompt:
        """The prompt both answered."""
        return self.after.prompt


def choose_clips(
    cold_start: Sequence[EvalSample], grpo: Sequence[EvalSample], style: PromptStyle | None
) -> list[ShownClip]:
    """The best, median and worst clip of each task among those that could be evaluated.

    Args:
        style: How they were asked; None where that is not known.
    """
    before = {sample.prompt.id: sample for sample in cold_start}
    shown = []
    for task in METRICS:
        ranked = sorted(
            (s for s in grpo if s.prompt.task == task and s.score), key=lambda s: (-_total(s), s.prompt.id)
        )
        middles = dict.fromkeys((0, len(ranked) // 2, len(ranked) - 1)) if ranked else {}
        shown += [
            ShownClip(
                place, before.get(s.prompt.id), s, asked=render_prompt(s.prompt, style) if style else None
            )
            for place, s in zip(PLACES, (ranked[n] for n in middles), strict=False)
        ]
    return shown


def clip_cards(clips: Sequence[ShownClip]) -> str:
    """All cards, under a heading per task. Clips are decoded here, in a process of their own."""
    decoder = IsolatedDecoder(VIEW)
    try:
        return "".join(_task_section(task, clips, decoder) for task in METRICS)
    finally:
        decoder.close()


def _task_section(task: str, clips: Sequence[ShownClip], decoder: IsolatedDecoder) -> str:
    cards = "".join(clip_card(clip, decoder) for clip in clips if clip.prompt.task == task)
    return f"<h3>{SPECS[task].title}</h3>{cards}" if cards else ""


def clip_card(clip: ShownClip, decoder: IsolatedDecoder) -> str:
    """One clip: question, frames with boxes or times, both responses."""
    prompt = clip.prompt
    view = _view(clip, decoder)
    times = _times(clip, view)
    answers = [_answer(clip.before_name, "cold", clip.before)] if clip.before_name else []
    answers.append(_answer(clip.after_name, "policy", clip.after))
    return (
        f'<article class="clip" id="clip-{escape(prompt.id)}"><header>'
        f'<span class="place">{clip.place}</span><b>{escape(prompt.question)}</b>'
        f"<code>{escape(prompt.id)}</code></header>"
        f'<div class="{"timed" if times else ""}">{_frames(clip, view)}{times}</div>{_options(clip)}'
        f'<div class="answers">{"".join(answers)}</div>'
        f"{_prompt(clip.asked)}</article>"
    )


def response_html(text: str) -> str:
    """A response with its think, answer and glue blocks set apart, everything escaped."""
    return TAG.sub(
        lambda m: f'<span class="{m[1]}"><u>&lt;{m[1]}&gt;</u>{m[2]}<u>&lt;/{m[1]}&gt;</u></span>',
        escape(text),
    )


def _prompt(asked: str | None) -> str:
    return f"<details><summary>prompt</summary><pre>{escape(asked)}</pre></details>" if asked else ""


def _total(sample: EvalSample) -> float:
    return sum(sample.value(name) for name in sample.score.rewards) if sample.score else 0.0


def _read(sample: EvalSample | None, key: str) -> Any:
    """A part of the answer as the rewards read it, or None."""
    return sample.score.prediction.get(key) if sample and sample.score and sample.score.prediction else None


def _each(clip: ShownClip, key: str) -> list[tuple[str, str, Any]]:
    """Name, colour and content of the true answer and of both predictions."""
    shown = [
        ("true", "truth", clip.prompt.target.get(key)),
        (clip.after_name, "policy", _read(clip.after, key)),
    ]
    return [*shown, (clip.before_name, "cold", _read(clip.before, key))] if clip.before_name else shown


def _view(clip: ShownClip, decoder: IsolatedDecoder) -> Clip | str:
    """The frames of the strip, or why there are none."""
    if not Path(clip.prompt.video).exists():
        return f"{clip.prompt.video} has gone"
    try:
        # Evenly spaced, whatever part an evaluation looked at closer: times are drawn on the same scale.
        return decoder.decode(*replace(clip.prompt, windows=()).clip_key)
    except ClipError as error:
        return error.reason


def _frames(clip: ShownClip, view: Clip | str) -> str:
    if isinstance(view, str):
        return missing_strip(f"no frames: {view}")
    tracks = [BoxTrack(name, colour, boxes or ()) for name, colour, boxes in _each(clip, "boxes")]
    drawn = [track for track in tracks if track.boxes]
    # Drawn last lies on top: the prediction after GRPO over the truth over the cold start's.
    order = {"cold": 0, "truth": 1, "policy": 2}
    return frame_strip(view.frames, sorted(drawn, key=lambda track: order[track.colour])) + _box_key(drawn)


def _box_key(tracks: Sequence[BoxTrack]) -> str:
    names = "".join(f'<span class="boxkey c-{track.colour}">{track.name}</span>' for track in tracks)
    return f'<p class="keys">{names}</p>' if names else ""


def _times(clip: ShownClip, view: Clip | str) -> str:
    single = "interval" in clip.prompt.target
    if clip.prompt.duration is None or (not single and "intervals" not in clip.prompt.target):
        return ""
    found = _each(clip, "interval" if single else "intervals")
    rows = [
        Spans(name, colour, ([value] if single else value) if value else []) for name, colour, value in found
    ]
    if isinstance(view, str):
        return timeline(0.0, clip.prompt.duration, rows)
    return timeline(view.starts_at, view.duration, rows)


def _options(clip: ShownClip) -> str:
    if not clip.prompt.options:
        return ""
    given = _each(clip, "answer")
    items = []
    for letter, text in zip(LETTERS, clip.prompt.options, strict=False):
        marks = "".join(
            f'<span class="mark c-{colour}">{name}</span>' for name, colour, a in given if a == letter
        )
        items.append(f"<li><b>{letter}</b> {escape(text)}{marks}</li>")
    return f'<ul class="options">{"".join(items)}</ul>'


def _answer(name: str, colour: str, sample: EvalSample | None) -> str:
    if sample is None:
        return f'<section><h4 class="c-{colour}">{name}</h4><p class="quiet">not evaluated</p></section>'
    scores = {} if sample.score is None else {key: sample.value(key) for key in sample.score.rewards}
    chips = "".join(f"<span>{escape(key)} <b>{value:.2f}</b></span>" for key, value in scores.items())
    why = why_zero(sample) or (None if _total(sample) else "no reason was recorded")
    reason = f'<p class="reason">{escape(why)}</p>' if why else ""
    return (
        f'<section><h4 class="c-{colour}">{name}<span class="chips">{chips}</span></h4>'
        f"<pre>{response_html(sample.response) or '(empty)'}</pre>{reason}</section>"
    )
