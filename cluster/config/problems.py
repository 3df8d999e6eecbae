"""Mistakes in a configuration, and the one message that tells them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.config.fields import shown
from cluster.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        keys: Dotted paths of the values it lies in; empty when it lies in none.
        message: What is wrong and what is allowed.
        is_secret: Whether the values may hold a password or a key, which no message shows.
    """

    keys: tuple[str, ...]
    message: str
    is_secret: bool = False


@dataclass
class Origins:
    """Where the values of a configuration were given, `file:line` or `command line`, and what stands."""

    places: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def note(self, key: str, place: str, value: Any) -> None:
        """Remember the latest place of a key."""
        self.places[key] = place
        self.values[key] = value

    def describe(self, key: str, defaults: Mapping[str, Any], is_secret: bool = False) -> str:
        """`rollout.group_size = 1 (configs/x.yaml:14)`, of a secret without its value."""
        value = "" if is_secret else f" = {shown(self.values.get(key, defaults.get(key)))}"
        return f"{key}{value} ({self.places.get(key, 'the default')})"


def config_error(
    source: str, problems: Sequence[Problem], origins: Origins, defaults: Mapping[str, Any]
) -> ConfigError:
    """One error for all mistakes of the configuration read from `source`."""
    count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    return ConfigError(
        "\n".join([f"{count} in the configuration {source}:", *problem_lines(problems, origins, defaults)])
    )


def problem_lines(problems: Sequence[Problem], origins: Origins, defaults: Mapping[str, Any]) -> list[str]:
    """Each mistake on a line of its own: behind its value, or above its values where there are several."""
    lines: list[str] = []
    for problem in problems:
        places = [origins.describe(key, defaults, problem.is_secret) for key in problem.keys]
        if len(places) == 1:
            lines.append(f"  - {places[0]}: {problem.message}")
        else:
            lines += [f"  - {problem.message}", *(f"      {place}" for place in places)]
    return lines
