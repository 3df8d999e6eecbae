"""GoT-10k as published: a folder per sequence with its frames, its boxes and what is known of them.

A sequence holds `00000001.jpg`, ..., `groundtruth.txt` (a line `x,y,width,height` per frame, in pixels), `cover.label`
(visibility of the object, 0 to 8), `absence.label` (1 where it is not in the frame) and `meta_info.ini`. `list.txt`
beside the sequences names them. Source: github.com/got-10k/toolkit (`got10k/datasets/got10k.py`).
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from data.frame_sources import list_images
from data.readers.entries import Entry, Fields, broken, read_number
from data.readers.files import read_lines
from data.readers.spec import DatasetSpec
from data.schema import NUM_BOXES, AnnotationError, decode_text

# Frames per second of every sequence, as its meta_info.ini says (`anno_fps: 10Hz`).
FRAME_RATE = 10.0
FULL_COVER = 8.0


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per sequence of a split's folder. Raises `OSError` if that cannot be read.

    The 8 boxes are those of frames `k * n // 8`, which are among the frames that the sampling contract takes when it
    takes a multiple of 8. Normalised boxes; `cover` is normalised too.
    """
    names = spec.annotations / "list.txt"
    if names.is_file():
        listed = list(read_lines(names))
    else:
        folders = sorted(path for path in spec.annotations.iterdir() if path.is_dir())
        listed = [(str(path), path.name) for path in folders]
    for place, name in listed:
        if name is None or "\0" in name:
            yield broken(place, "not the name of a folder")
        else:
            frames, labels = spec.videos_folder / name, spec.annotations / name
            yield Entry(place, partial(_fields, name, frames, labels))


def _fields(name: str, folder: Path, labels: Path) -> Fields:
    boxes = _rows(labels / "groundtruth.txt")
    images = list_images(folder)
    if len(boxes) != len(images):
        raise AnnotationError(f"{name}: {len(boxes)} boxes for {len(images)} frames")
    if len(images) < NUM_BOXES:
        raise AnnotationError(f"{name}: {len(images)} frames, at least {NUM_BOXES} are needed")
    chosen = [k * len(images) // NUM_BOXES for k in range(NUM_BOXES)]
    meta = _meta(labels / "meta_info.ini")
    width, height = _size(meta.get("resolution", ""), images[0])
    frame_rate = _frame_rate(meta.get("anno_fps", ""))
    target = {
        "boxes": [_normalised(boxes[index], width, height) for index in chosen],
        "size": [width, height],
        **({"class": meta["object_class"]} if "object_class" in meta else {}),
        **_visibility(labels, len(images), chosen),
    }
    return {
        "id": name,
        "task": "tracking",
        "video": str(folder),
        "question": f"the {meta['object_class']}" if "object_class" in meta else "the object",
        "duration": len(images) / frame_rate,
        "target": target,
        "box_frames": chosen,
        "frame_rate": frame_rate,
    }


def _visibility(labels: Path, count: int, chosen: Sequence[int]) -> Fields:
    """`cover` and `absent` of the chosen frames, where the sequence says so."""
    found: Fields = {}
    for key, file in (("cover", labels / "cover.label"), ("absent", labels / "absence.label")):
        if file.is_file():
            values = [row[0] for row in _rows(file)]
            if len(values) != count:
                raise AnnotationError(f"{file.name} has {len(values)} values for {count} frames")
            found[key] = [values[index] for index in chosen]
    return {
        key: [value / FULL_COVER if key == "cover" else value != 0 for value in values]
        for key, values in found.items()
    }


def _rows(path: Path) -> list[list[float]]:
    """The numbers of every line, separated by commas."""
    lines = decode_text(path.read_bytes()).split()
    return [[read_number(cell, path.name) for cell in line.split(",")] for line in lines]


def _normalised(row: Sequence[float], width: float, height: float) -> list[float]:
    if len(row) != 4:
        raise AnnotationError(f"groundtruth.txt must hold x,y,width,height, found {len(row)} numbers")
    x, y, w, h = row
    return [x / width, y / height, (x + w) / width, (y + h) / height]


def _meta(path: Path) -> dict[str, str]:
    """What meta_info.ini says; a sequence may lack it."""
    if not path.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(decode_text(path.read_bytes()))
    except configparser.Error as error:
        raise AnnotationError(f"{path.name}: {str(error).splitlines()[0]}") from error
    return {key: value for section in parser.sections() for key, value in parser[section].items()}


def _size(resolution: str, image: Path) -> tuple[float, float]:
    """Width and height in pixels: as the sequence says, `(1920, 1080)`, or of its first frame."""
    numbers = [int(number) for number in re.findall(r"\d+", resolution)]
    if len(numbers) == 2 and all(numbers):
        return numbers[0], numbers[1]
    with Image.open(image) as opened:
        return opened.size


def _frame_rate(text: str) -> float:
    number = re.match(r"\s*(\d+(?:\.\d+)?)", text)
    return float(number[1]) if number and float(number[1]) > 0 else FRAME_RATE
