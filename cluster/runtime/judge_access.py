"""How the judge of captions is reached."""

from __future__ import annotations

import os

from actors.judge_endpoint import JudgeSettings
from cluster.config import RunConfig


def judge_settings(config: RunConfig) -> JudgeSettings | None:
    """How each reward worker reaches the judge of captions, with its share of the bounds; None for the lexical one."""
    judge, workers = config.judge, config.reward.num_workers
    if judge.base_url is None:
        return None
    return JudgeSettings(
        base_url=judge.base_url,
        model=judge.model or "",
        cache=str(config.judge_cache),
        api_key=os.environ.get(judge.api_key_variable or "", ""),
        concurrency=judge.concurrency // workers,
        requests_per_minute=judge.requests_per_minute / workers,
        max_requests=judge.max_requests,
        timeout_s=judge.timeout_s,
        fallback=judge.fallback,
    )
