"""Mistakes between the fields that say how responses are rewarded."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.judge_key import address_problem
from cluster.config import RunConfig
from cluster.config.problems import Problem

# That of a key may hold small letters: such a name is taken to be one.
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def reward_contradictions(config: RunConfig) -> Iterator[Problem]:
    """Every mistake in the sections `reward` and `judge`; nothing outside them is looked at."""
    yield from _shuffle_bonus(config)
    yield from _key_variable(config)
    if config.judge.base_url or config.judge.model:
        yield from _endpoint(config)
        yield from _judging_time(config)


def _shuffle_bonus(config: RunConfig) -> Iterator[Problem]:
    bonus = config.reward.shuffle_bonus
    if any(size <= 0 for size in bonus.values()):
        yield Problem(("reward.shuffle_bonus",), "each bonus must be above 0; leave out a task without one")
    both = sorted(bonus.keys() & config.reward.custom.keys())
    if both:
        yield Problem(
            ("reward.shuffle_bonus", "reward.custom"),
            f"the bonus is for right responses, and a reward of your own does not say which of {', '.join(both)} are",
        )


def _key_variable(config: RunConfig) -> Iterator[Problem]:
    # Whoever gives the key itself must not find it in the plan, in config.yaml or in a log.
    variable = config.judge.api_key_variable
    if variable is not None and not VARIABLE.fullmatch(variable):
        problem = "must be the name of an environment variable in capitals, which holds the key"
        yield Problem(("judge.api_key_variable",), problem, is_secret=True)


def _endpoint(config: RunConfig) -> Iterator[Problem]:
    judge = config.judge
    if judge.base_url is None:
        yield Problem(("judge.base_url",), "a model that judges needs a server; give the address of its API")
    elif problem := address_problem(judge.base_url):
        yield Problem(("judge.base_url",), problem, is_secret=not {*"@?#"}.isdisjoint(judge.base_url))
    if not judge.model:
        yield Problem(("judge.model",), "the judge needs the name of a model on its server")
    if judge.concurrency < config.reward.num_workers:
        yield Problem(
            ("judge.concurrency", "reward.num_workers"),
            "reward workers share the requests at a time; allow at least one for each",
        )


def _judging_time(config: RunConfig) -> Iterator[Problem]:
    # Here, because reading a configuration should not load an HTTP client.
    from actors.judge_endpoint import longest_question_s

    longest = longest_question_s(config.judge.timeout_s)
    if config.reward.timeout_s <= longest:
        yield Problem(
            ("reward.timeout_s", "judge.timeout_s"),
            f"one question may take the judge {longest:g} s with its retries; scoring a step must be allowed more",
        )
