"""The configurations of published rows: complete, named after their files, as long as their epochs, and documented."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from cluster.config import RunConfig
from cluster.config.loading import load_config
from data.readers import DatasetSpec, read

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted({*ROOT.glob("configs/videochat_r1_7b*.yaml"), *ROOT.glob("configs/ablations/*.yaml")})
PAGE = (ROOT / "docs" / "recipes.md").read_text()
SHARED = ROOT.parent / "shared" / "data"
# Usable prompts by annotations. FIBER-1k's number is its name's; GoT-10k's is that of its training sequences.
USABLE = {
    "${CHARADES}/charades_sta_train.txt": 12_404,
    "${GOT10K}/train": 9_335,
    "${NEXTGQA}/val.csv": 3_358,
    "${FIBER}/fiber_1k.jsonl": 1_000,
    "${VIDTAB}/quality_100shot.json": 200,
}
EPOCHS = {"charades_thinking_3_epochs": 3, "charades_sft_3_epochs": 3}

each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


@pytest.fixture
def config(recipe: Path) -> RunConfig:
    return load_config(recipe)


@each_recipe
def test_a_recipe_lasts_its_epochs(recipe: Path, config: RunConfig) -> None:
    prompts = sum(USABLE[entry.annotations] for entry in config.data.datasets)
    steps, size = config.grpo.steps, config.grpo.prompts_per_step
    if config.run.algorithm == "sft":
        steps, size = config.cold_start.max_steps, config.cold_start.batch_size
    assert steps == math.ceil(EPOCHS.get(recipe.stem, 1) * prompts / size)


@each_recipe
def test_a_recipe_is_named_after_its_file_and_template(recipe: Path, config: RunConfig) -> None:
    assert config.run.name == recipe.stem
    if "direct" in recipe.stem or "thinking" in recipe.stem:
        assert (config.data.template == "thinking") == ("thinking" in recipe.stem)


@each_recipe
def test_a_recipe_says_what_it_reproduces(recipe: Path) -> None:
    head = recipe.read_text().split("\nextends:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "Published: " in head
    assert "Differs from the paper" in head


@each_recipe
def test_a_recipe_is_the_papers_but_for_its_row(config: RunConfig) -> None:
    """What the ablations may not change, as the released scripts have it."""
    assert (config.rollout.group_size, config.grpo.prompts_per_step, config.rollout.temperature) == (
        8,
        8,
        1.0,
    )
    assert (config.learner.learning_rate, config.learner.learning_rate_schedule) == (1e-6, "linear")
    assert (config.grpo.kl_coef, config.rollout.max_response_tokens) == (0.04, 1024)
    assert (config.video.fps, config.video.total_pixels) == (2.0, 3584 * 28 * 28)


SUPERVISED = [recipe for recipe in RECIPES if "_sft" in recipe.stem]


@pytest.mark.parametrize("recipe", SUPERVISED, ids=lambda path: path.stem)
def test_a_supervised_row_is_trained_as_the_released_scripts_do(config: RunConfig) -> None:
    section = config.cold_start
    assert (config.run.algorithm, config.data.template) == ("sft", "direct")
    assert (section.batch_size, section.learning_rate, section.parse_target) == (8, 2e-5, None)
    assert section.check_every == section.max_steps


def test_every_supervised_row_of_the_paper_is_there() -> None:
    rows = {"charades", "charades_3_epochs", "got10k", "nextgqa", "nextgqa_answers", "captioning", "quality"}
    assert {recipe.stem.replace("_sft", "") for recipe in SUPERVISED} == rows


def test_clue_perception_looks_twice_and_its_row_beside_once() -> None:
    config = load_config(ROOT / "configs" / "ablations" / "clue_perception.yaml")
    assert config.evaluation.perception_rounds == 2
    assert [entry.format for entry in config.data.eval_datasets] == ["video_mme"]
    assert load_config(ROOT / "configs" / "videochat_r1_benchmarks.yaml").evaluation.perception_rounds == 1


def test_the_page_has_every_recipe_and_no_other() -> None:
    named = re.findall(r"^\| `(configs/[\w/]+\.yaml)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(named) == [str(recipe.relative_to(ROOT)) for recipe in RECIPES]


@pytest.mark.parametrize(
    ("name", "format_", "file"),
    [
        ("${CHARADES}/charades_sta_train.txt", "activitynet_captions", "charades_sta/train.json"),
        ("${NEXTGQA}/val.csv", "nextgqa", "nextgqa/val.csv"),
        ("${VIDTAB}/quality_100shot.json", "quality", "quality/quality_100shot.json"),
    ],
)
def test_the_numbers_of_prompts_are_those_of_the_public_files(name: str, format_: str, file: str) -> None:
    if not SHARED.is_dir():
        pytest.skip("the public annotation files are not here")
    assert len(read(DatasetSpec("public", format_, SHARED / file)).prompts) == USABLE[name]
