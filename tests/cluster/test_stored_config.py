"""The configuration that a run's folder keeps may come from anywhere: it is read within limits or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.config import RunConfig
from cluster.config.stored import CONFIG_FILE, read_stored
from cluster.errors import ConfigError
from cluster.report.run_page import report_html

VAST = "# \n" * 2**19


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text("grpo: {steps: 7, no_more: 1}\ngone: {a: 1}\n")
    assert read_stored(tmp_path / CONFIG_FILE) == RunConfig.model_validate({"grpo": {"steps": 7}})


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["[" * 1000, "a: &a [*a]", VAST, "run: 5", "\xff", "run: {seed: x}", None])
def test_a_damaged_one_is_refused_in_one_message(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / CONFIG_FILE
    if text is None:
        os.mkfifo(path)
    else:
        path.write_text(text, encoding="latin-1")
    with pytest.raises((ConfigError, OSError), match=CONFIG_FILE) as refused:
        read_stored(path)
    assert len(str(refused.value)) < 2000


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", [VAST, None])
def test_a_report_does_not_read_more_of_it_either(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / CONFIG_FILE
    if text is None:
        os.mkfifo(path)
    else:
        path.write_text(text)
    with pytest.raises((ConfigError, OSError), match=CONFIG_FILE):
        report_html(tmp_path)
