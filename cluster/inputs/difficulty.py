"""How hard a prompt is for a policy: 1 minus the mean of the main reward component over its responses.

0 is solved by every response, 1 by none. For a question that is the share of wrong answers, for an interval or a track
1 minus the mean IoU: the measure that Time-R1 (arXiv 2503.13377) and TimeLens (arXiv 2512.14698) choose data by.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rewards import MAIN_COMPONENT, Score


def difficulty(task: str, scores: Sequence[Score]) -> float:
    """The difficulty of a prompt, from the scores of its responses."""
    return 1 - fmean(_success(task, score) for score in scores)


def _success(task: str, score: Score) -> float:
    """The main component; of a reward function that has none, the mean of what it gives, held to 0-1."""
    main = score.rewards.get(MAIN_COMPONENT[task])
    value = fmean(score.rewards.values()) if main is None else main
    return min(max(value, 0.0), 1.0)
