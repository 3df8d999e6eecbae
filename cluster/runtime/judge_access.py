"""How the judge of captions is reached."""

from __future__ import annotations

import os

from actors.judge_endpoint import JudgeSettings
from actors.judge_key import clean_key
from cluster.config import RunConfig
from cluster.errors import ConfigError


def judge_settings(config: RunConfig) -> JudgeSettings | None:
    """How each reward worker reaches the judge of captions, with its share of the bounds; None for the lexical one.

    Raises:
        ConfigError: the environment holds no key that can be sent.
    """
    judge, workers = config.judge, config.reward.num_workers
    if judge.base_url is None:
        return None
    return JudgeSettings(
        base_url=judge.base_url,
        model=judge.model or "",
        cache=str(config.judge_cache),
        api_key=_key(judge.api_key_variable),
        concurrency=judge.concurrency // workers,
        requests_per_minute=judge.requests_per_minute / workers,
        max_requests=judge.max_requests,
        timeout_s=judge.timeout_s,
        fallback=judge.fallback,
    )


def _key(variable: str | None) -> str:
    try:
        return clean_key(os.environ.get(variable or "", ""))
    except ValueError as error:
        raise ConfigError(f"{variable} (environment) {error}") from None
