"""NExT-GQA's own measures of grounded answers (arXiv 2309.01327; `eval_ground.py` of its repository).

IoU and IoP (the share of the prediction that is annotated) are each the best over the annotated spans, independently.
The benchmark takes one predicted span; of several we take their union, cut at nothing. Its script leaves out questions
without a prediction; here they count 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.intervals import Interval, length_iou, merge, shared_length
from rewards.measures import Fraction, Metric, Scored

RIGHT_IOP = 0.5


def best_iou(predicted: Sequence[Interval], spans: Sequence[Interval]) -> float:
    """Best IoU of the predicted intervals' union with one annotated span."""
    union = merge(predicted)
    return max((length_iou(union, merge([span])) for span in spans), default=0.0)


def best_iop(predicted: Sequence[Interval], spans: Sequence[Interval]) -> float:
    """Best share of the predicted union that one annotated span covers; of an instant, whether a span holds it."""
    union = merge(predicted)
    if not union:
        return float(any(start <= s <= end for s, e in predicted if s == e for start, end in spans))
    length = sum(end - start for start, end in union)
    return min(1.0, max((shared_length(union, [span]) / length for span in spans), default=0.0))


def _grounded(sample: Scored) -> tuple[Sequence[Interval], Sequence[Interval]]:
    """Predicted and annotated intervals; nothing was predicted where nothing could be read."""
    predicted = sample.predicted("intervals") or ()
    return [(start, end) for start, end in predicted], [
        (start, end) for start, end in sample.target["intervals"]
    ]


def iou(sample: Scored) -> float:
    """Best IoU of a sample."""
    return best_iou(*_grounded(sample))


def iop(sample: Scored) -> float:
    """Best IoP of a sample."""
    return best_iop(*_grounded(sample))


def _right_and_grounded(sample: Scored) -> Fraction:
    return float(sample.reward("accuracy") == 1.0 and iop(sample) >= RIGHT_IOP), 1.0


METRICS = (
    Metric("Acc@GQA", _right_and_grounded, "right letter and best IoP >= 0.5 (NExT-GQA)"),
    Metric("mIoP", lambda sample: (iop(sample), 1.0), "mean best IoP (NExT-GQA)"),
    Metric("IoP@0.3", lambda sample: (float(iop(sample) >= 0.3), 1.0), "share of best IoP >= 0.3 (NExT-GQA)"),
    Metric("IoP@0.5", lambda sample: (float(iop(sample) >= 0.5), 1.0), "share of best IoP >= 0.5 (NExT-GQA)"),
    Metric("mIoU of one span", lambda sample: (iou(sample), 1.0), "mean best IoU (NExT-GQA)"),
    Metric("IoU@0.3", lambda sample: (float(iou(sample) >= 0.3), 1.0), "share of best IoU >= 0.3 (NExT-GQA)"),
    Metric("IoU@0.5", lambda sample: (float(iou(sample) >= 0.5), 1.0), "share of best IoU >= 0.5 (NExT-GQA)"),
)
