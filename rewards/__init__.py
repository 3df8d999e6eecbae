"""Tasks, answer parsing and rule-based rewards: pure Python that imports nothing of the project.

    score_response(task, response, target, *, duration=None, mode="strict", template="thinking",
                   options=(), num_options=None, tokens=None) -> Score
    Scorer(task, mode, template, options, weights, judge).score(response, target, ...) -> Score
    Score(rewards, total, parsed, prediction, reason)
    constant_baseline(task, items: Sequence[tuple[target, duration]], mode="strict") -> Baseline
    Baseline(task, description, scores) with .components, and .per_item and .mean of the main component
    trivial_baselines(task, samples: Sequence[Scored], mode="strict") -> {answer: {metric: value}}

A task is one file in `rewards/tasks/`. `COMPONENTS` names the reward components of each and `MAIN_COMPONENT` the one
its results are quoted in. The total is the sum of the components, unweighted unless weights are given (VideoChat-R1,
arXiv 2504.06958).
"""

from rewards.baselines import Baseline, constant_baseline, trivial_baselines
from rewards.result import Mode, Score
from rewards.scoring import Scorer, score_response
from rewards.targets import BadTarget
from rewards.tasks import COMPONENTS, MAIN_COMPONENT, SPECS, TASKS
from rewards.templates import Template

__all__ = [
    "COMPONENTS",
    "MAIN_COMPONENT",
    "SPECS",
    "TASKS",
    "BadTarget",
    "Baseline",
    "Mode",
    "Score",
    "Scorer",
    "Template",
    "constant_baseline",
    "score_response",
    "trivial_baselines",
]
