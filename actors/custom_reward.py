"""Reward functions of the user's own, named by a dotted path in the configuration."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

CustomReward = Callable[[str, str, Mapping[str, Any], float | None], float | Mapping[str, float]]
COMPONENT = "custom"


class CustomRewardError(ValueError):
    """A dotted path that does not lead to a function."""


def load_custom_reward(task: str, path: str) -> CustomReward:
    """Import the function at `package.module.function`.

    It is called as `function(task, response, target, duration)`, duration in seconds or None where the
    annotation has none, and returns a number or numbers by component.

    Raises:
        CustomRewardError: names the task and the path, and says what is wrong with it.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise CustomRewardError(f"reward.custom.{task}: {path!r} is not of the form package.module.function")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except Exception as error:
        raise CustomRewardError(f"reward.custom.{task}: cannot import {path!r}: {error!r}") from error
    if not callable(function):
        raise CustomRewardError(
            f"reward.custom.{task}: {path!r} is a {type(function).__name__}, not a function"
        )
    return function  # type: ignore[no-any-return]


def apply_custom_reward(
    function: CustomReward, task: str, response: str, target: Mapping[str, Any], duration: float | None
) -> tuple[dict[str, float], str | None]:
    """Components of one response, and why they are 0 if the function failed.

    The user's function may do anything; one response that it cannot score must not end the run.
    """
    try:
        value = function(task, response, target, duration)
        components = (
            {str(key): float(part) for key, part in value.items()} if isinstance(value, Mapping) else None
        )
        rewards = components if components is not None else {COMPONENT: float(value)}  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001
        return {COMPONENT: 0.0}, f"custom reward raised {error!r}"
    bad = {key: part for key, part in rewards.items() if not math.isfinite(part)}
    total = sum(rewards.values())
    if not math.isfinite(total) or not rewards:
        more = "" if bad or not rewards else f", whose sum is {total}"
        return dict.fromkeys(rewards or (COMPONENT,), 0.0), f"custom reward returned {bad or rewards}{more}"
    return rewards, None
