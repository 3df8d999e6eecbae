"""The launch command: what it says, and how it exits."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner, Result

from cluster.config import RunConfig
from cluster.config.fields import all_fields, sections
from cluster.config.loading import load_config, to_yaml
from cluster.config.problems import Problem
from cluster.errors import RunFailure, RunFolderGone
from cluster.launch import app, resume_command
from cluster.planning.unused import unused
from cluster.records.interpreter import interpreter
from cluster.runtime.ray_session import ClusterTooSmall
from data.failures import ActorFailure

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(ROOT.glob("configs/**/*.yaml"))
LOCAL = ROOT / "configs" / "local.yaml"
# A dry run may not need any of these; None in sys.modules makes their import fail.
HEAVY = ("ray", "torch", "vllm", "deepspeed", "transformers", "av")

Launch = Callable[..., Result]


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunConfig, bool]]:
    """Stands in for the run itself; collects what it is started with."""
    calls: list[tuple[RunConfig, bool]] = []
    stand_in(monkeypatch, lambda config, resume: calls.append((config, resume)))
    return calls


def stand_in(monkeypatch: pytest.MonkeyPatch, run: Callable[[RunConfig, bool], None]) -> None:
    module = ModuleType("cluster.training.run")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cluster.training.run", module)


def failing(error: BaseException) -> Callable[[RunConfig, bool], None]:
    def run(config: RunConfig, resume: bool) -> None:
        raise error

    return run


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Launch:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("cluster.launch.os.cpu_count", lambda: 2)
    monkeypatch.setattr("cluster.launch._gpus_here", lambda: 0)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_passes_a_dry_run_without_ray_gpu_or_model(recipe: Path, tmp_path: Path) -> None:
    text = "".join(path.read_text() for path in RECIPES)
    folders = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), str(tmp_path))
    hidden = "".join(f"sys.modules[{name!r}] = None; " for name in HEAVY)
    done = python(
        f"import sys; {hidden}from cluster.launch import app; app(['--config', {str(recipe)!r}, '--dry-run'])",
        **folders,
    )
    assert done.returncode == 0, done.stderr
    for part in (
        "rollout.num_workers",
        "Placement",
        "the cluster must have",
        "Memory plan (estimate)",
        "optimizer",
    ):
        assert part in done.stdout
    assert "nothing was started" in done.stdout
    assert "not set in the environment" not in done.stdout


def test_there_are_recipes() -> None:
    named = {"local", "qwen2_5_vl_7b", "qwen2_5_vl_3b_1gpu", "videochat_r1_7b", "charades_direct"}
    assert named <= {recipe.stem for recipe in RECIPES}


def test_help_imports_nothing_heavy() -> None:
    done = python(
        "import sys; from cluster.launch import app; app(['--help'], standalone_mode=False); "
        f"print([name for name in {(*HEAVY, 'pydantic')} if name in sys.modules])"
    )
    assert done.stdout.rstrip().endswith("[]"), done.stdout
    assert "--dry-run" in done.stdout


def test_a_dry_run_shows_overrides_and_their_place(launch: Launch) -> None:
    done = launch("--config", LOCAL, "--dry-run", "rollout.num_workers=2", "grpo.kl_coef=0.1")
    assert done.exit_code == 0
    line = next(line for line in done.stdout.splitlines() if "rollout.num_workers" in line)
    assert "│ 2 " in line
    assert "command line" in line
    assert "reference policy" in done.stdout
    assert "not loaded" not in done.stdout


def test_a_dry_run_shows_only_what_a_supervised_run_does(launch: Launch) -> None:
    done = launch("--config", ROOT / "configs" / "ablations" / "charades_sft.yaml", "--dry-run")
    assert "│ cold_start.batch_size" in done.stdout
    assert re.search(r"stages +│ supervised, at most 1551 steps +│", done.stdout)
    assert re.search(r"demonstrations per supervised step +│ 8 ", done.stdout)
    for part in (
        "│ grpo.",
        "│ curriculum.",
        "│ rollout.group_size",
        "responses per step",
        "reference policy",
    ):
        assert part not in done.stdout
    assert "it has no use for them: grpo, curriculum, " in done.stdout
    whole = launch("--config", LOCAL, "--dry-run").stdout
    assert "│ grpo.steps" in whole
    assert "responses per step" in whole
    assert "no use for them" not in whole


def test_a_dry_run_says_whether_the_plan_fits_the_gpus_that_are_stated(launch: Launch) -> None:
    recipe = ROOT / "configs" / "qwen2_5_vl_7b.yaml"
    small = launch("--config", recipe, "--dry-run", "--gpu-gib", "24")
    assert small.exit_code == 0
    assert "This plan does NOT fit" in small.stdout
    assert "learner.offload_optimizer: true -> " in small.stdout
    large = launch("--config", recipe, "--dry-run", "--gpu-gib", "141")
    assert "Does it fit a GPU?" in large.stdout
    assert "NOT fit" not in large.stdout
    assert "Does it fit" not in launch("--config", LOCAL, "--dry-run").stdout


def test_a_dry_run_warns_of_what_is_not_there(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARADES", raising=False)
    done = launch("--config", ROOT / "configs" / "qwen2_5_vl_7b.yaml", "--dry-run")
    assert done.exit_code == 0
    assert "Not there yet" in done.stdout
    assert "data.datasets[0]" in done.stdout
    assert "not set in the environment: CHARADES" in done.stdout


def test_a_dry_run_says_which_share_of_the_data_is_used(launch: Launch, tmp_path: Path) -> None:
    fields = {"video": "a.mp4", "question": "?", "duration": 8}
    lines = [
        *[fields | {"id": n, "task": "temporal_grounding", "target": {"interval": [1, 2]}} for n in range(3)],
        *[fields | {"id": n, "task": "numerical", "target": {"number": n}} for n in (3, 4)],
        fields | {"id": 5, "task": "ocr", "target": {"text": "x"}},
        {"id": 6},
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    recipe = tmp_path / "mine.yaml"
    entry = f"{{name: mine, format: jsonl, annotations: {path}, duration: [0, 9]}}"
    recipe.write_text(f"extends: {LOCAL}\nmodel: {{path: owner/name}}\ndata: {{datasets: [{entry}]}}\n")
    done = launch("--config", recipe, "--dry-run")
    assert done.exit_code == 0, done.stderr
    used = "mine: 3 of 6 usable entries are left to train on; data.tasks leaves out numerical (2), ocr (1)"
    assert used in done.stdout and "no clip was decoded" in done.stdout
    assert "evaluated on synthetic clips, not on data of yours: data.eval_datasets" in done.stdout
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_bytes(path.read_bytes())
    assert "entries are" not in launch("--config", LOCAL, "--dry-run").stdout
    short = launch(
        "--config", recipe, "--dry-run", "data.datasets[0].duration=[0, 5]", f"data.eval_source={held_out}"
    )
    assert "mine: 0 of 6 usable entries are left to train on" in short.stdout
    assert "3 by their length" in short.stdout and "not on data of yours" not in short.stdout
    assert f"{held_out}: 3 of 6 usable entries are left to evaluate on" in short.stdout


def test_a_dry_run_of_an_annotation_file_that_breaks_a_reader(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("[" * 100_000)
    done = launch("--config", LOCAL, "--dry-run", "model.path=owner/name", f"data.source={path}")
    assert done.exit_code == 0, done.exception
    assert "all 1 entries were skipped" in done.stdout


def test_a_dry_run_of_a_wrong_config(launch: Launch) -> None:
    done = launch("--config", LOCAL, "--dry-run", "rollout.group_szie=4")
    assert done.exit_code == 2
    assert "did you mean rollout.group_size?" in done.stderr


def test_the_run_is_started_with_the_config(launch: Launch, started: list[tuple[RunConfig, bool]]) -> None:
    done = launch("--config", LOCAL, "grpo.steps=3", "--resume")
    assert done.exit_code == 0, done.stderr
    ((config, resume),) = started
    assert config.grpo.steps == 3
    assert resume
    assert str(config.run_dir.absolute()) in done.stdout


@pytest.mark.parametrize("folder", ["runs", "/kept"])
def test_a_submitted_job_is_told_when_its_run_folder_will_not_outlive_it(
    launch: Launch, started: list[tuple[RunConfig, bool]], monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    done = launch("--config", LOCAL, f"run.output_dir={folder}")
    assert ("outlives the job" in done.stdout) == (folder == "runs")


def test_every_mistake_in_one_message_before_anything_starts(
    launch: Launch, started: list[tuple[RunConfig, bool]], tmp_path: Path
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    done = launch(
        "--config",
        LOCAL,
        "rollout.nun_workers=2",
        "grpo.steps=many",
        "rollout.group_size=1",
        "learner.gpus_per_worker=1",
        "learner.num_workers=3",
        "model.path=/no/such/policy",
        f"data.source={tmp_path / 'empty.jsonl'}",
        "data.eval_source=nowhere.jsonl",
        "reward.custom.tracking=no.such.reward",
    )
    assert done.exit_code == 2
    assert started == []
    for part in (
        "mistakes in the configuration",
        "rollout.nun_workers = 2 (command line): there is no such key; did you mean rollout.num_workers?",
        'grpo.steps = "many" (command line): expected a whole number at least 1',
        "rollout.group_size = 1 (command line)",
        "the run asks for 3 GPUs (learner ranks 3 x 1); this machine has 0",
        'model.path = "/no/such/policy" (command line): there is no such folder',
        "the dataset is empty",
        'data.eval_source = "nowhere.jsonl" (command line): cannot be read: nowhere.jsonl: No such file',
        "cannot import 'no.such.reward'",
    ):
        assert part in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_more_cpus_than_here(launch: Launch, started: list[tuple[RunConfig, bool]]) -> None:
    done = launch("--config", LOCAL, "rollout.cpus_per_worker=4")
    assert done.exit_code == 2
    assert "the run asks for 4.6 CPUs" in done.stderr
    assert launch("--config", LOCAL, "rollout.cpus_per_worker=4", "ray.num_cpus=8").exit_code == 0


def test_a_joined_cluster_is_not_judged_by_this_machine(
    launch: Launch, started: list[tuple[RunConfig, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.runtime.environment.knock", lambda address: None)
    assert launch("--config", LOCAL, "rollout.cpus_per_worker=4", "ray.address=auto").exit_code == 0
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert launch("--config", LOCAL, "rollout.cpus_per_worker=4").exit_code == 0


def test_a_cluster_found_too_small_is_told_with_the_line_that_asked(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, failing(ClusterTooSmall([Problem(("rollout.num_workers",), "too many")])))
    done = launch("--config", LOCAL)
    assert done.exit_code == 2
    assert f"rollout.num_workers = 1 ({LOCAL}:" in done.stderr
    assert "Resume" not in done.stderr


@pytest.mark.parametrize(
    "error", [RunFailure("no weights came"), ActorFailure("rollout-1", "sampling", "killed")]
)
def test_a_failed_run_says_why_and_how_to_resume(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stand_in(monkeypatch, failing(error))
    done = launch("--config", LOCAL, "run.name=a")
    assert done.exit_code == 1
    assert str(error) in done.stderr
    assert (
        f"Resume with: {interpreter()} -m cluster.launch --config {LOCAL} run.name=a --resume" in done.stderr
    )


def test_an_interrupt_says_how_to_resume(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, failing(KeyboardInterrupt()))
    done = launch("--config", LOCAL)
    assert done.exit_code == 130
    assert f"Resume with: {interpreter()} -m cluster.launch" in done.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signals_end_the_process_with_130(name: str) -> None:
    done = python(
        "import os, signal, sys, types\n"
        # Where the tests run as a job in the background, the shell has it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "module = types.ModuleType('cluster.training.run')\n"
        f"module.run = lambda config, resume: os.kill(os.getpid(), signal.{name}) or signal.pause()\n"
        "sys.modules['cluster.training.run'] = module\n"
        "from cluster.launch import app\n"
        f"app(['--config', {str(LOCAL)!r}])"
    )
    assert done.returncode == 130, done.stderr
    assert "Resume with" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_defect_of_ours_keeps_its_traceback(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, failing(AssertionError("defect")))
    done = launch("--config", LOCAL)
    assert isinstance(done.exception, AssertionError)
    assert "Resume with" in done.stderr, "the run may have come far"


def test_a_full_disk_is_one_message(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, failing(OSError(errno.ENOSPC, "No space left on device", "runs/x/metrics.jsonl")))
    done = launch("--config", LOCAL)
    assert done.exit_code == 1
    message, resume = done.stderr.splitlines()
    assert "No space left on device: 'runs/x/metrics.jsonl'. Make room on that disk." in message
    assert resume.startswith("Resume with: ") and resume.endswith(" --resume")


def test_what_cannot_be_resumed_says_no_command(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, failing(RunFolderGone(Path("runs/x"))))
    done = launch("--config", LOCAL)
    assert done.exit_code == 1 and done.stderr.startswith("runs/x is gone")
    assert "Resume with" not in done.stderr


def test_a_missing_file(launch: Launch) -> None:
    done = launch("--config", "configs/nothing.yaml")
    assert done.exit_code == 2
    assert done.stderr == "configs/nothing.yaml: there is no such file\n"


def test_the_resume_command_is_quoted_and_says_resume_once() -> None:
    command = resume_command(Path("a b.yaml"), ["data.tasks={tracking: 1}"])
    end = "-m cluster.launch --config 'a b.yaml' 'data.tasks={tracking: 1}' --resume"
    assert command == f"{interpreter()} {end}"


def test_what_a_run_has_no_use_for_is_named_by_keys_that_there_are() -> None:
    known = {*all_fields(), *sections()}
    supervised = RunConfig.model_validate({"run": {"algorithm": "sft"}})
    for without in (unused(supervised, False), unused(RunConfig(), True)):
        assert set(without) <= known
        assert not [key for key in without if "." in key and key.split(".")[0] in without]
    assert unused(RunConfig(), False) == ()


def test_variables_are_shown_and_kept_by_their_names(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_PLACE", str(tmp_path / "s3cret"))
    (tmp_path / "s3cret").mkdir()
    overrides = ["model.path=owner/name", "data.source=${SECRET_PLACE}/a.jsonl", "grpo.steps=3"]
    overrides.append("data.eval_datasets=[{name: m, format: jsonl, annotations: '${SECRET_PLACE}/b'}]")
    done = launch("--config", LOCAL, "--dry-run", *overrides)
    table = done.stdout.partition("Not there yet")[0]
    assert "${SECRET_PLACE}/a.jsonl" in table and "${SECRET_PLACE}/b" in table and "s3cret" not in table
    text = to_yaml(load_config(LOCAL, overrides))
    assert "${SECRET_PLACE}/a.jsonl" in text and "${SECRET_PLACE}/b" in text and "s3cret" not in text
