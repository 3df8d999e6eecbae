"""GOT-10k's own measures of tracking (arXiv 1810.11981; its toolkit's `rect_iou` and `report`).

Frames after the first in which the object shows (cover above 0, and not absent) count, pooled over all sequences; a
success rate is the share of them with an IoU strictly above the threshold. Boxes are bounded to the image as the
toolkit does it: a box is a corner with a width, the corner is moved into the image, and the width, kept as it was, cut
where the image ends. The server's class-balanced figure is the mean over classes of the mean over a class's sequences
of their own average.

The toolkit pools every frame after the first. A sequence has the 8 boxes of its prompt here, so that 7 are pooled: the
definition is the same, the figures are not. An annotation without cover counts every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewards.boxes import Box, box_iou
from rewards.measures import Fraction, Metric, Scored
from rewards.targets import counted_boxes

THRESHOLDS = (0.5, 0.75)


def bounded(box: Sequence[float]) -> Box:
    """A normalised box bounded to the image as the toolkit does."""
    x0, y0, x1, y1 = box
    left, top = min(max(x0, 0.0), 1.0), min(max(y0, 0.0), 1.0)
    width, height = min(max(x1 - x0, 0.0), 1.0 - left), min(max(y1 - y0, 0.0), 1.0 - top)
    return left, top, left + width, top + height


def visible_ious(sample: Scored) -> list[float]:
    """IoU of every box after the first where the object shows; 0 each where no boxes could be read."""
    annotated = sample.target["boxes"]
    predicted: Sequence[Any] = sample.predicted("boxes") or ()
    if len(predicted) != len(annotated):
        predicted = [(0.0, 0.0, 0.0, 0.0)] * len(annotated)
    cover = sample.target.get("cover") or [1.0] * len(annotated)
    frames = zip(predicted, annotated, cover, counted_boxes(sample.target), strict=True)
    return [box_iou(bounded(p), bounded(a)) for p, a, shown, counts in frames if counts and shown > 0]


def _pooled(sample: Scored) -> Fraction:
    ious = visible_ious(sample)
    return sum(ious), float(len(ious))


def _above(threshold: float) -> Callable[[Scored], Fraction]:
    def count(sample: Scored) -> Fraction:
        ious = visible_ious(sample)
        return float(sum(iou > threshold for iou in ious)), float(len(ious))

    return count


def _each(value: Callable[[Scored], Fraction]) -> Callable[[Scored], Fraction]:
    """The same as a mean of the sequence: every sequence with a visible frame weighs 1."""

    def mean(sample: Scored) -> Fraction:
        numerator, weight = value(sample)
        return (numerator / weight, 1.0) if weight else (0.0, 0.0)

    return mean


def _class(sample: Scored) -> str:
    return str(sample.target.get("class", ""))


def _metrics(name: str, value: Callable[[Scored], Fraction], meaning: str) -> tuple[Metric, Metric]:
    return (
        Metric(name, value, f"{meaning} (GOT-10k's definition)"),
        Metric(f"m{name}", _each(value), f"{meaning}, class-balanced (GOT-10k's definition)", group=_class),
    )


METRICS = (
    *_metrics(
        "AO official", _pooled, "mean IoU of the 7 sampled frames after the first, visible ones pooled"
    ),
    *(m for t in THRESHOLDS for m in _metrics(f"SR@{t}", _above(t), f"share of those frames with IoU > {t}")),
)
