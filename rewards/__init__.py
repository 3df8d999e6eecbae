"""Answer parsing and rule-based rewards: pure Python that imports nothing of the project.

    score_response(task, response, target, *,
                   duration=None, mode="strict", thinking=True, num_options=None) -> Score
    Score(rewards, total, parsed, prediction, reason)
    constant_baseline(task, items: Sequence[tuple[target, duration]], mode="strict") -> Baseline
    Baseline(task, description, components) with .per_item and .mean of the main component

`COMPONENTS` names the reward components of each task and `MAIN_COMPONENT` the one its results are quoted in.
The total is the plain sum of the components (VideoChat-R1, arXiv 2504.06958).
"""

from rewards.baselines import Baseline, constant_baseline
from rewards.scoring import score_response
from rewards.targets import BadTarget
from rewards.tasks import COMPONENTS, MAIN_COMPONENT, TASKS, Mode, Score

__all__ = [
    "COMPONENTS",
    "MAIN_COMPONENT",
    "TASKS",
    "BadTarget",
    "Baseline",
    "Mode",
    "Score",
    "constant_baseline",
    "score_response",
]
