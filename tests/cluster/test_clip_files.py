"""Synthetic clips are rendered in the background, in order, once, and a failure is told to whoever waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.errors import RunFailure
from cluster.inputs.clip_files import CLIPS_PER_CALL, ClipFiles
from data.sampling import SamplingContract
from data.schema import Task
from data.synthetic import Scene, make_scene

SCENES = [
    make_scene(Task.TEMPORAL_GROUNDING, seed, SamplingContract())[0] for seed in range(3 * CLIPS_PER_CALL)
]


def work(folder: Path) -> list[tuple[Scene, Path]]:
    return [(scene, folder / f"{number}.mp4") for number, scene in enumerate(SCENES)]


class Waits:
    """What was waited for."""

    def __init__(self) -> None:
        self.spoken: list[str] = []

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        self.spoken.append(what)
        yield


def test_a_required_clip_is_there_and_the_others_follow(tmp_path: Path) -> None:
    paths = [str(path) for _, path in work(tmp_path)]
    with ClipFiles(Waits()) as files:
        assert files.render(work(tmp_path)) == len(paths)
        assert not files.is_there(paths[-1])
        files.require(paths[:1])
        assert Path(paths[0]).stat().st_size
        assert files.is_there(paths[0])
        files.require(paths)
        assert all(Path(path).stat().st_size for path in paths)
        assert files.render(work(tmp_path)) == 0


def test_files_that_nobody_renders_are_not_waited_for(tmp_path: Path) -> None:
    waits = Waits()
    with ClipFiles(waits) as files:
        files.require([str(tmp_path / "real.mp4")])
        assert files.is_there(str(tmp_path / "real.mp4"))
    assert waits.spoken == []


def test_a_clip_that_cannot_be_rendered_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with ClipFiles(Waits()) as files:
        files.render([(SCENES[0], tmp_path / "file" / "0.mp4")])
        with pytest.raises(RunFailure, match=r"could not be rendered.*file"):
            files.require([str(tmp_path / "file" / "0.mp4")])


def test_a_renderer_that_never_answers_is_given_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.inputs.clip_files.RENDER_TIMEOUT_S", 0.0)
    waits = Waits()
    with ClipFiles(waits) as files:
        files.render(work(tmp_path))
        with pytest.raises(RunFailure, match="not rendered within 0 s"):
            files.require([str(work(tmp_path)[-1][1])])
    assert waits.spoken == [f"rendering {CLIPS_PER_CALL} clips"]


def test_closing_gives_up_what_is_not_rendered_yet(tmp_path: Path) -> None:
    more = [(scene, tmp_path / str(copy) / path.name) for copy in range(5) for scene, path in work(tmp_path)]
    with ClipFiles(Waits()) as files:
        files.render(more)
    # Those that a renderer has in hand, or next in hand, are still written, and whole.
    assert len(list(tmp_path.glob("*/[0-9]*.mp4"))) < len(more)
    assert not list(tmp_path.glob("*/.*"))
