"""The judge's key is in no file, line or message of an evaluation, whatever the server does with it."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.config.loading import load_config
from cluster.errors import ConfigError
from cluster.launch import app
from cluster.runtime.judge_access import judge_settings
from tests.actors.judge_server import echoes, serving
from tests.cluster.fakes import make_config
from tests.cluster.test_evaluate_predictions import asking, described, evaluate, write_lines

KEY = "sk-s3cret/0"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_lines(tmp_path / "mine.jsonl", [described("a", "a cat jumps")])
    path = tmp_path / "x.yaml"
    path.write_text(
        f"run: {{name: x, output_dir: {tmp_path}/runs}}\n"
        f"data: {{eval_datasets: [{{name: mine, format: jsonl, annotations: {tmp_path}/mine.jsonl}}]}}\n"
    )
    return path


@pytest.mark.parametrize("code", [200, 401, 500])
@pytest.mark.parametrize("fallback", ["stop", "lexical"])
def test_a_key_that_the_server_echoes_is_nowhere(
    recipe: Path, code: int, fallback: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("actors.judge_endpoint.BACK_OFF", lambda state: 0.0)
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\n")
    with serving() as server:
        server.always = echoes(code)
        asked = asking(server, fallback=fallback, api_key_variable="JUDGE_KEY")
        done = evaluate(recipe, [{"id": "a", "answer": "a dog barks"}], *asked)
        assert server.requests[0]["key"] == f"Bearer {KEY}", "sent without the newline"
    assert (done.exit_code == 0) == (code == 200 or fallback == "lexical"), done.output
    shown = [done.output, caplog.text, "".join(traceback.format_exception(done.exception))]
    shown += [path.read_bytes().decode("latin-1") for path in recipe.parent.rglob("*") if path.is_file()]
    assert len(shown) > 5
    for text in shown:
        assert "s3cret" not in text
    if done.exit_code:
        assert "[the judge's key]" in done.output


@pytest.mark.parametrize(
    "address", ["http://me:s3cret@host/v1", "http://host/v1?key=s3cret", "http://s3cret@host/v1"]
)
def test_a_secret_in_the_address_is_refused_and_not_shown(recipe: Path, address: str) -> None:
    overrides = [f"judge.base_url={address}", "judge.model=m", "reward.timeout_s=600"]
    with pytest.raises(ConfigError) as caught:
        load_config(recipe, overrides)
    assert "judge.base_url (command line): " in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("more", [[], ["judge.base_url=http://host/v1", "judge.model=m"]])
@pytest.mark.parametrize("key", [KEY, "gsk_s3cret0", "a b"])
def test_a_key_in_place_of_its_variable_is_neither_shown_nor_kept(
    recipe: Path, more: list[str], key: str
) -> None:
    shown = CliRunner().invoke(
        app, ["--config", str(recipe), "--dry-run", f"judge.api_key_variable={key}", *more]
    )
    assert shown.exit_code == 2 and "s3cret" not in shown.output
    expected = (
        "judge.api_key_variable (command line): must be the name of an environment variable in capitals"
    )
    assert expected in " ".join(shown.output.split())


def test_a_key_that_cannot_be_sent_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3\tcret")
    judge = {"base_url": "http://host/v1", "model": "m", "api_key_variable": "JUDGE_KEY"}
    with pytest.raises(ConfigError, match=r"JUDGE_KEY \(environment\) holds white space") as caught:
        judge_settings(make_config(judge=judge))
    assert "cret" not in str(caught.value)
