"""GoT-10k as published: a folder per sequence with its frames, its boxes and what is known of them.

A sequence holds `00000001.jpg`, ..., `groundtruth.txt` (a line `x,y,width,height` per frame, in pixels), `cover.label`
(visibility of the object, 0 to 8), `absence.label` (1 where it is not in the frame) and `meta_info.ini`. `list.txt`
beside the sequences names them. Source: github.com/got-10k/toolkit (`got10k/datasets/got10k.py`).

Where the object is absent, its box has no area (issue 10 there). `cover.label` does not tell: it is 0 throughout some
sequences. A few sequences change the size of their frames midway (issue 25 there).
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from data.annotation_lines import decode_text
from data.image_frames import image_size, list_images
from data.readers.entries import Entry, Fields, broken, read_number
from data.readers.files import read_lines
from data.readers.spec import DatasetSpec
from data.schema import NUM_BOXES, AnnotationError
from rewards.files import MAX_LINE_BYTES, read_file

# Frames per second of every sequence, as its meta_info.ini says (`anno_fps: 10Hz`).
FRAME_RATE = 10.0
FULL_COVER = 8.0


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per sequence of a split's folder. Raises `OSError` if that cannot be read.

    The 8 boxes are those of frames `k * n // 8`, which are among the frames that the sampling contract takes when it
    takes a multiple of 8. Each box is normalised by the size of its own frame; `cover` is normalised too. A sequence
    whose frames are not there is read by its labels alone, for answers that are scored without videos.
    """
    names = spec.annotations / "list.txt"
    if names.is_file():
        listed = list(read_lines(names))
    else:
        folders = sorted(path for path in spec.annotations.iterdir() if path.is_dir())
        listed = [(str(path), path.name) for path in folders]
    for place, name in listed:
        if isinstance(name, AnnotationError) or "\0" in name:
            yield broken(place, f"not the name of a folder: {name}")
        else:
            frames, labels = spec.videos_folder / name, spec.annotations / name
            yield Entry(place, partial(_fields, name, frames, labels))


def _fields(name: str, folder: Path, labels: Path) -> Fields:
    rows = _rows(labels / "groundtruth.txt")
    images = list_images(folder) if folder.is_dir() else []
    if images and len(rows) != len(images):
        raise AnnotationError(f"{name}: {len(rows)} boxes for {len(images)} frames")
    if len(rows) < NUM_BOXES:
        raise AnnotationError(f"{name}: {len(rows)} frames, at least {NUM_BOXES} are needed")
    chosen = [k * len(rows) // NUM_BOXES for k in range(NUM_BOXES)]
    meta = _meta(labels / "meta_info.ini")
    sizes = _sizes([images[index] for index in chosen] if images else [], meta.get("resolution", ""))
    boxes = [_box(rows[index], *size) for index, size in zip(chosen, sizes, strict=True)]
    frame_rate, kind = _frame_rate(meta.get("anno_fps", "")), meta.get("object_class", "")
    target = {
        "boxes": [box or [0.0] * 4 for box in boxes],
        **({"class": kind} if kind else {}),
        **_visibility(labels, len(rows), chosen, boxes),
    }
    return {
        "id": name,
        "task": "tracking",
        "video": str(folder),
        "question": f"the {kind or 'object'}",
        "duration": len(rows) / frame_rate,
        "target": target,
        "box_frames": chosen,
        "frame_rate": frame_rate,
    }


def _visibility(labels: Path, count: int, chosen: Sequence[int], boxes: Sequence[object]) -> Fields:
    """`cover` of the chosen frames where the sequence says so, and `absent` where it is true of one of them."""
    cover = _labels(labels / "cover.label", count)
    absence = _labels(labels / "absence.label", count) or [0.0] * count
    absent = [box is None or absence[index] != 0 for index, box in zip(chosen, boxes, strict=True)]
    return {
        **({"cover": [cover[index] / FULL_COVER for index in chosen]} if cover else {}),
        **({"absent": absent} if any(absent) else {}),
    }


def _labels(path: Path, count: int) -> list[float]:
    """One number per frame; empty where the sequence lacks the file."""
    if not path.exists():
        return []
    values = [read_number(cells[0], path.name) for cells in _rows(path)]
    if len(values) != count:
        raise AnnotationError(f"{path.name} has {len(values)} values for {count} frames")
    return values


def _rows(path: Path) -> list[list[str]]:
    """The cells of every line, separated by commas."""
    return [line.split(",") for line in decode_text(read_file(path, MAX_LINE_BYTES)).split()]


def _box(cells: Sequence[str], width: float, height: float) -> list[float] | None:
    """A box, normalised; None where the object is absent: one without area, or not a number."""
    if len(cells) != 4:
        raise AnnotationError(f"groundtruth.txt must hold x,y,width,height, found {len(cells)} numbers")
    if any(cell.lower() == "nan" for cell in cells):
        return None
    x, y, w, h = (read_number(cell, "groundtruth.txt") for cell in cells)
    return [x / width, y / height, (x + w) / width, (y + h) / height] if w > 0 and h > 0 else None


def _meta(path: Path) -> dict[str, str]:
    """What meta_info.ini says; a sequence may lack it."""
    if not path.exists():
        return {}
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(decode_text(read_file(path, MAX_LINE_BYTES)))
    except configparser.Error as error:
        raise AnnotationError(f"{path.name}: {str(error).splitlines()[0]}") from error
    return {key: value for section in parser.sections() for key, value in parser[section].items()}


def _sizes(images: Sequence[Path], resolution: str) -> list[tuple[int, int]]:
    """Width and height in pixels of each chosen frame; without frames as the sequence says, `(1920, 1080)`.

    Where the first and the last agree, those between are not opened: there are some 75,000 in the training split.
    """
    if images:
        first, last = image_size(images[0]), image_size(images[-1])
        return [first] * NUM_BOXES if first == last else [image_size(image) for image in images]
    numbers = [int(number) for number in re.findall(r"\d+", resolution)]
    if len(numbers) != 2 or not all(numbers):
        raise AnnotationError("no frames, and no resolution in meta_info.ini")
    return [(numbers[0], numbers[1])] * NUM_BOXES


def _frame_rate(text: str) -> float:
    """Of `10Hz`; what is published for every sequence where a sequence does not say."""
    if not text.strip():
        return FRAME_RATE
    rate = read_number(text.strip().removesuffix("Hz"), "anno_fps")
    if not rate > 0:
        raise AnnotationError(f"anno_fps must be positive, found {text!r:.60}")
    return rate
