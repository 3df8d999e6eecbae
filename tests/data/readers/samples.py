"""Small datasets in the form of each public format, written by hand after its documentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from data.readers import DatasetSpec

FRAMES = 16
SEQUENCE = "GOT-10k_Train_000001"


def _json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def jsonl(folder: Path) -> DatasetSpec:
    line = {
        "id": "own",
        "task": "temporal_grounding",
        "video": "a.mp4",
        "question": "a door opens",
        "duration": 8,
        "target": {"interval": [1, 2.5]},
    }
    clip = line | {"id": "part", "span": [10, 14], "target": {"interval": [0, 4]}}
    (folder / "own.jsonl").write_text(f"{json.dumps(line)}\n\n{json.dumps(clip)}\n")
    return DatasetSpec("own", "jsonl", folder / "own.jsonl")


def charades_sta(folder: Path) -> DatasetSpec:
    (folder / "charades_sta_test.txt").write_text(
        "3MSZA 24.3 30.4##person turn a light on.\n3MSZA 0.0 5.1##a person sits.\nAMT7R 10.0 2.0##laughing.\n"
    )
    (folder / "Charades_v1_test.csv").write_text(
        'id,subject,script,actions,length\n3MSZA,HJZL,"a light, turned on","c1 0.00 5.1;c2 1 2",30.96\nAMT7R,X,,,30\n'
    )
    return DatasetSpec("charades", "charades_sta", folder / "charades_sta_test.txt")


def activitynet_captions(folder: Path) -> DatasetSpec:
    about = {
        "duration": 55.15,
        "timestamps": [[0, 4.14], [4.14, 60]],
        "sentences": ["Two men talk.", " One sits. "],
    }
    path = _json(folder / "val_2.json", {"v_uqiMw7tQ1Cc": about})
    return DatasetSpec("captions", "activitynet_captions", path)


def got10k(folder: Path) -> DatasetSpec:
    """One sequence of 16 frames of 40 x 20 pixels, its box moving right by one pixel a frame."""
    sequence = folder / "val" / SEQUENCE
    sequence.mkdir(parents=True)
    for number in range(1, FRAMES + 1):
        pixels = np.full((20, 40, 3), 10 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(sequence / f"{number:08d}.jpg")
    (sequence / "groundtruth.txt").write_text("".join(f"{n}.0000,5.0,10.0,10.0\n" for n in range(FRAMES)))
    (sequence / "cover.label").write_text("8\n" * 8 + "4\n" * 8)
    (sequence / "absence.label").write_text("0\n" * 15 + "1\n")
    (sequence / "meta_info.ini").write_text(
        "[METAINFO]\nurl: https://youtu.be/x\nanno_fps: 10Hz\nobject_class: bear\nresolution: (40, 20)\n"
    )
    (folder / "val" / "list.txt").write_text(f"{SEQUENCE}\n")
    return DatasetSpec("got", "got10k", folder / "val")


def got10k_json(folder: Path) -> DatasetSpec:
    boxes = [[0.1, 0.1, 0.5, 0.5]] * 8
    item = {"path": "/data/GOT-10k/val/GOT-10k_Val_000010", "object": "sloth", "gt": boxes}
    return DatasetSpec("got", "got10k_json", _json(folder / "got_val.json", [item]))


def nextgqa(folder: Path) -> DatasetSpec:
    (folder / "val.csv").write_text(
        "video_id,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
        '10001787725,900,640,480,"why, then",red,3,CW,blue,red,green,"a, b",white\n'
    )
    about = {"duration": 34, "location": {"3": [[1.2, 5.8], [12, 17.1]]}, "fps": 29.97}
    _json(folder / "gsub_val.json", {"10001787725": about})
    _json(folder / "map_vid_vidorID.json", {"10001787725": "1101/10001787725"})
    return DatasetSpec("gqa", "nextgqa", folder / "val.csv")


def nextgqa_json(folder: Path) -> DatasetSpec:
    item = {
        "id": "10001787725_3",
        "video": "1101/10001787725.mp4",
        "question": "why, then",
        "options": ["(A) blue", "(B) red", "(C) green", "(D) a, b", "(E) white"],
        "duration": 34,
        "glue": [[1.2, 5.8], [12, 17.1]],
        "type": "CW",
        "answer": "(B)",
    }
    return DatasetSpec("gqa", "nextgqa_json", _json(folder / "nextgqa_val.json", [item]))


def video_mme(folder: Path) -> DatasetSpec:
    row = {
        "video_id": "001",
        "duration": "short",
        "domain": "Knowledge",
        "sub_category": "Humanity & History",
        "url": "https://www.youtube.com/watch?v=fFjv93ACGo8",
        "videoID": "fFjv93ACGo8",
        "question_id": "001-1",
        "task_type": "Counting Problem",
        "question": "How many?",
        "options": ["A. Apples.", "B. Candles.", "C. Berries.", "D. The same number."],
        "answer": "C",
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), folder / "test-00000-of-00001.parquet")
    return DatasetSpec("mme", "video_mme", folder / "test-00000-of-00001.parquet")


def longvideobench(folder: Path) -> DatasetSpec:
    item = {
        "video_id": "86CxyhFV9MI",
        "question": "What does the man on the stage wear?",
        "question_wo_referring_query": "What does the man wear?",
        "candidates": ["a hat", "a coat", "a mask", "an apron"],
        "correct_choice": 1,
        "position": [854, 1103],
        "topic_category": "NP-News-Programs",
        "question_category": "S2E",
        "level": "L1-Perception",
        "id": "86CxyhFV9MI_0",
        "video_path": "86CxyhFV9MI.mp4",
        "subtitle_path": "86CxyhFV9MI_en.json",
        "duration_group": 600,
        "starting_timestamp_for_subtitles": 0,
        "duration": 190.16,
        "view_count": 259852,
    }
    last = item | {"id": "86CxyhFV9MI_1", "correct_choice": 3}
    return DatasetSpec(
        "lvb", "longvideobench", _json(folder / "lvb_val.json", [item, last]), folder / "videos"
    )


def mvbench(folder: Path) -> DatasetSpec:
    question = {"question": "What happened?", "candidates": ["Sat.", "Ran.", "Ate."], "answer": "Ran."}
    bounded = {"video": "ZS9XR.mp4", "start": 11.1, "end": 17.2}
    frames = {"video": "castle_s01e06_seg02_clip_05", "start": 0, "end": 20.4, "fps": 3}
    _json(folder / "json" / "action_sequence.json", [question | bounded])
    _json(folder / "json" / "episodic_reasoning.json", [question | frames])
    _json(
        folder / "json" / "moving_count.json", [question | {"video": "video_10009.mp4", "start": 1, "end": 2}]
    )
    return DatasetSpec("mvbench", "mvbench", folder / "json", folder / "video")


def perception_test(folder: Path) -> DatasetSpec:
    boxes = [[0.01 * n, 0.1, 0.5, 0.5] for n in range(20)]
    track = {
        "id": 4,
        "label": "red box",
        "bounding_boxes": boxes,
        "frame_ids": [30 * n for n in range(20)],
        "initial_tracking_box": [0, 0, 1] + [0] * 17,
        "is_masked": [0] * 19 + [1],
    }
    actions = [
        {"id": 0, "label": "Putting something into something", "timestamps": [1500, 4000]},
        {"id": 1, "label": "Moving something", "timestamps": [5000, 6000]},
        {"id": 2, "label": "Moving something", "timestamps": [8000, 9000]},
    ]
    question = {"id": 7, "question": "What is in it?", "options": ["tea", "ink", "milk"], "answer_id": 1}
    question["area"] = "semantics"
    short = track | {"id": 5, "bounding_boxes": boxes[:5], "frame_ids": [0, 30, 60, 90, 120]}
    about = {
        "metadata": {"split": "valid", "frame_rate": 30.0, "num_frames": 600, "resolution": [1080, 1920]},
        "mc_question": [question],
        "object_tracking": [track, short],
        "action_localisation": actions,
        "sound_localisation": [],
    }
    return DatasetSpec("perception", "perception_test", _json(folder / "valid.json", {"video_1": about}))


def quality(folder: Path) -> DatasetSpec:
    item = {
        "video": "1378.mp4",
        "instruction": "How good is it? Choice one answer from ['low quality', 'high quality'].",
        "answer": "low quality",
    }
    return DatasetSpec("vidtab", "quality", _json(folder / "quality.json", [item]))


def video_r1(folder: Path) -> DatasetSpec:
    kinds = {
        "multiple choice": ("<answer>B</answer>", ["A. red", "B. blue"], "./CLEVRER/v.mp4"),
        "numerical": ("<answer>1,234.5</answer>", [], "./Math/i.png"),
        "OCR": ("<answer>STOP here</answer>", [], "./OCR/i.jpg"),
        "free-form": ("<answer>a man\ncooks</answer>", [], "./STAR/v.mp4"),
        "regression": ("<answer>2.5</answer>", [], "./Spatial/v.mp4"),
    }
    items = [
        {
            "problem_id": number,
            "problem": "What?",
            "data_type": "image" if path.endswith("g") else "video",
            "problem_type": kind,
            "options": options,
            "process": "",
            "solution": solution,
            "path": path,
            "data_source": path.split("/")[1],
        }
        for number, (kind, (solution, options, path)) in enumerate(kinds.items())
    ]
    return DatasetSpec("video_r1", "video_r1", _json(folder / "Video-R1-260k.json", items))


def time_r1(folder: Path) -> DatasetSpec:
    item = {
        "video": "./dataset/x/a.mp4",
        "sentence": "A dog runs.",
        "timestamp": [2, 5.5],
        "duration": 60.0,
        "qid": "q",
    }
    clip = item | {"video_start": 100.0, "video_end": 130.0}
    return DatasetSpec("timerft", "time_r1", _json(folder / "train_2k5.json", [item, clip]))


SAMPLES: Mapping[str, Callable[[Path], DatasetSpec]] = {
    maker.__name__: maker
    for maker in (
        jsonl,
        charades_sta,
        activitynet_captions,
        got10k,
        got10k_json,
        nextgqa,
        nextgqa_json,
        video_mme,
        longvideobench,
        mvbench,
        perception_test,
        quality,
        video_r1,
        time_r1,
    )
}
