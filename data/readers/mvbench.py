"""MVBench: 20 JSON files, each a list of `{video, question, candidates, answer}`; the answer is one of the candidates.

Five of the tasks are about a part of their video, from `start` to `end` in seconds, and the videos of one are folders
of frames, three a second. Source: huggingface.co/datasets/OpenGVLab/MVBench; its folders are listed in the reader of
github.com/open-compass/VLMEvalKit (`vlmeval/dataset/mvbench.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data.readers.entries import Entry, Fields, broken, take, take_number
from data.readers.files import list_entries
from data.readers.options import letter_of
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos

# Below the folder of the videos, where those of each task lie. Two archives unpack below a folder of their own.
FOLDERS = {
    "action_antonym": "ssv2_video",
    "action_count": "perception/videos",
    "action_localization": "sta/sta_video",
    "action_prediction": "star/Charades_v1_480",
    "action_sequence": "star/Charades_v1_480",
    "character_order": "perception/videos",
    "counterfactual_inference": "clevrer/video_validation",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "fine_grained_pose": "nturgbd",
    "moving_attribute": "clevrer/video_validation",
    "moving_count": "clevrer/video_validation",
    "moving_direction": "clevrer/video_validation",
    "object_existence": "clevrer/video_validation",
    "object_interaction": "star/Charades_v1_480",
    "object_shuffle": "perception/videos",
    "scene_transition": "scene_qa/video",
    "state_change": "perception/videos",
    "unexpected_action": "FunQA_test/test",
}
OWN_FOLDER = "data0613"
BOUNDED = frozenset(
    {
        "action_localization",
        "action_prediction",
        "action_sequence",
        "episodic_reasoning",
        "object_interaction",
    }
)
FRAME_FOLDERS = frozenset({"episodic_reasoning"})
FRAME_RATE = 3.0


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per question; ids are `task/n`. Raises `OSError` if a file cannot be read.

    `annotations` is the folder of the JSON files, or one of them.
    """
    found = spec.annotations.glob("[!.]*.json") if spec.annotations.is_dir() else [spec.annotations]
    files = sorted(found)
    if not files:
        yield broken(str(spec.annotations), "the folder holds no JSON files")
    videos = Videos(spec.videos_folder)
    for file in files:
        yield from _entries_of(file, videos)


def _entries_of(file: Path, videos: Videos) -> Iterator[Entry]:
    if file.stem in FOLDERS:
        return list_entries(file, partial(_fields, file.stem, videos))
    return iter([broken(str(file), f"{file.stem} is not a task of MVBench")])


def _fields(task: str, videos: Videos, item: Any, number: int) -> Fields:
    name, candidates = take(item, "video", str), take(item, "candidates", list)
    path = f"{FOLDERS[task]}/{name}"
    span = [take_number(item, "start"), take_number(item, "end")] if task in BOUNDED else []
    return {
        "id": f"{task}/{number}",
        "task": "multiple_choice",
        "video": videos.find(path, f"{OWN_FOLDER}/{path}"),
        "question": take(item, "question", str),
        "options": candidates,
        "target": {"answer": letter_of(take(item, "answer", str), candidates)},
        "part": task,
        **({"span": span} if span else {}),
        **({"frame_rate": item.get("fps", FRAME_RATE)} if task in FRAME_FOLDERS else {}),
    }
