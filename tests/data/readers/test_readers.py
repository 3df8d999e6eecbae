"""What each reader makes of its format, where it looks for videos, and what it says of unusable entries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data.readers import READERS, DatasetError, DatasetSpec, read, read_dataset
from data.readers.videos import Videos
from data.schema import Task, VideoPrompt, parse_prompt
from tests.data.readers.samples import FRAMES, SAMPLES, SEQUENCE


def fields_of(spec: DatasetSpec) -> dict[str, dict[str, Any]]:
    """What the reader makes of each entry, by id."""
    return {
        fields["id"]: fields for fields in (entry.fields() for entry in READERS[spec.format].entries(spec))
    }


def prompts_of(spec: DatasetSpec) -> dict[str, VideoPrompt]:
    return {prompt.id: prompt for prompt in read_dataset(spec)[0]}


def test_every_format_has_a_sample() -> None:
    assert list(SAMPLES) == list(READERS)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_a_reader_makes_passes_the_schema(tmp_path: Path, name: str) -> None:
    """Two entries of the samples are wrong on purpose; all others of a task that there is must be usable."""
    spec = SAMPLES[name](tmp_path)
    for fields in fields_of(spec).values():
        if fields["task"] in list(Task) and fields["id"] != "AMT7R/0":
            prompt = parse_prompt(fields, Path())
            assert Path(prompt.video).is_absolute()


class Asked(Mapping[str, str]):
    """Options of which none is given; remembers the names that were asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("name", SAMPLES)
def test_a_reader_asks_for_the_options_that_it_is_listed_with(tmp_path: Path, name: str) -> None:
    asked = Asked()
    fields_of(replace(SAMPLES[name](tmp_path), options=asked))
    assert asked.names == set(READERS[name].options)


@pytest.mark.parametrize(
    ("name", "option", "reason"),
    [
        ("video_mme", "lenght", "did you mean length?; valid here: length"),
        ("nextgqa", "tasks", "did you mean task?; valid here: spans, video_map, task"),
        ("nextgqa", "foo", "valid here: spans, video_map, task"),
        ("jsonl", "foo", "it takes none"),
    ],
)
def test_an_option_that_a_format_does_not_know(tmp_path: Path, name: str, option: str, reason: str) -> None:
    spec = replace(SAMPLES[name](tmp_path), options={option: "multiple_choice"})
    with pytest.raises(DatasetError) as caught:
        read(spec)
    assert str(caught.value) == f"{spec.name}: {name} has no option {option!r}; {reason}"


def test_own_lines(tmp_path: Path) -> None:
    own, part = read_dataset(SAMPLES["jsonl"](tmp_path))[0]
    assert (own.video, own.duration, own.span) == (str(tmp_path / "a.mp4"), 8.0, None)
    assert (part.duration, part.span) == (8.0, (10.0, 14.0))


def test_charades_sta_takes_durations_from_the_csv(tmp_path: Path) -> None:
    spec = SAMPLES["charades_sta"](tmp_path)
    prompts, problems = read_dataset(spec)
    assert [(p.id, p.question, p.target["interval"], p.duration) for p in prompts] == [
        ("3MSZA/0", "person turn a light on", [24.3, 30.4], 30.96),
        ("3MSZA/1", "a person sits", [0.0, 5.1], 30.96),
    ]
    assert problems == [f"{spec.annotations}:3: target interval [10.0, 2.0] must satisfy start < end"]


def test_charades_sta_without_durations(tmp_path: Path) -> None:
    spec = SAMPLES["charades_sta"](tmp_path)
    durations = (tmp_path / "Charades_v1_test.csv").rename(tmp_path / "elsewhere.csv")
    with pytest.raises(DatasetError, match=r"give options\.durations"):
        read(spec)
    named = DatasetSpec(spec.name, spec.format, spec.annotations, options={"durations": str(durations)})
    assert len(read(named).prompts) == 2


def test_activitynet_captions(tmp_path: Path) -> None:
    spec = SAMPLES["activitynet_captions"](tmp_path)
    reading = read(spec)
    assert [(p.id, p.question, p.target["interval"]) for p in reading.prompts] == [
        ("v_uqiMw7tQ1Cc/0", "Two men talk", [0, 4.14]),
        ("v_uqiMw7tQ1Cc/1", "One sits", [4.14, 60]),
    ]
    place = f"{spec.annotations}[v_uqiMw7tQ1Cc][1]"
    assert reading.places[1] == place
    assert reading.warnings == [f"{place}: interval [4.14, 60] reaches beyond the listed duration of 55.15 s"]


def test_got10k_boxes_belong_to_known_frames(tmp_path: Path) -> None:
    (prompt,) = read_dataset(SAMPLES["got10k"](tmp_path))[0]
    assert prompt.box_frames == tuple(range(0, FRAMES, 2))
    assert prompt.target["boxes"] == [[n / 40, 0.25, (n + 10) / 40, 0.75] for n in prompt.box_frames]
    assert prompt.target["cover"] == [1.0] * 4 + [0.5] * 4
    assert "absent" not in prompt.target and prompt.target["class"] == "bear"
    assert (prompt.question, prompt.frame_rate, prompt.duration) == ("the bear", 10.0, 1.6)
    assert prompt.video == str(tmp_path / "val" / SEQUENCE)


def test_got10k_without_meta_takes_the_size_of_the_frames(tmp_path: Path) -> None:
    spec = SAMPLES["got10k"](tmp_path)
    for name in ("meta_info.ini", "cover.label", "absence.label"):
        (spec.annotations / SEQUENCE / name).unlink()
    (spec.annotations / "list.txt").unlink()
    (prompt,) = read_dataset(spec)[0]
    assert prompt.target["boxes"][1] == [2 / 40, 0.25, 12 / 40, 0.75] and prompt.question == "the object"
    assert not {"cover", "absent", "class"} & prompt.target.keys()


@pytest.mark.parametrize("row", ["0,0,0,0", "-1,-1,-1,-1", "nan,nan,nan,nan", "5,5,10,0"])
def test_got10k_boxes_of_an_absent_object_are_left_out(tmp_path: Path, row: str) -> None:
    """By the boxes and `absence.label`, never by `cover.label`, which some sequences leave at 0."""
    spec = SAMPLES["got10k"](tmp_path)
    labels = spec.annotations / SEQUENCE
    rows = (labels / "groundtruth.txt").read_text().splitlines()
    (labels / "groundtruth.txt").write_text("\n".join([*rows[:6], row, *rows[7:]]))
    (labels / "absence.label").write_text("0\n" * 10 + "1\n" * 6)
    (labels / "cover.label").write_text("0\n" * 16)
    (prompt,) = read_dataset(spec)[0]
    assert prompt.target["absent"] == [False, False, False, True, False, True, True, True]
    assert prompt.target["boxes"][3] == [0.0] * 4


@pytest.mark.parametrize("hidden", [range(1), range(1, FRAMES)])
def test_got10k_sequences_with_nothing_to_follow_are_refused(tmp_path: Path, hidden: range) -> None:
    spec = SAMPLES["got10k"](tmp_path)
    labels = "".join(f"{int(frame in hidden)}\n" for frame in range(FRAMES))
    (spec.annotations / SEQUENCE / "absence.label").write_text(labels)
    (problem,) = read_dataset(spec)[1]
    assert problem.endswith("target.absent must be false of the first box and of one more")


def test_got10k_frames_that_change_their_size_keep_their_boxes(tmp_path: Path) -> None:
    """Each box is in pixels of its own frame; shown, all frames have one size."""
    spec = SAMPLES["got10k"](tmp_path)
    sequence = spec.annotations / SEQUENCE
    for number in range(9, FRAMES + 1):
        Image.new("RGB", (20, 10)).save(sequence / f"{number:08d}.jpg")
    (sequence / "groundtruth.txt").write_text("10,5,10,10\n" * 8 + "5,2.5,5,5\n" * 8)
    (prompt,) = read_dataset(spec)[0]
    assert prompt.target["boxes"] == [[0.25, 0.25, 0.5, 0.75]] * 8


def test_got10k_labels_are_enough_where_the_frames_are_elsewhere(tmp_path: Path) -> None:
    spec = SAMPLES["got10k"](tmp_path)
    (whole,) = read_dataset(spec)[0]
    for image in (spec.annotations / SEQUENCE).glob("*.jpg"):
        image.unlink()
    assert read_dataset(spec)[0] == [whole]
    (spec.annotations / SEQUENCE / "meta_info.ini").unlink()
    (problem,) = read_dataset(spec)[1]
    assert problem.endswith("no frames, and no resolution in meta_info.ini")


def test_got10k_test_split_has_one_box_a_sequence(tmp_path: Path) -> None:
    spec = SAMPLES["got10k"](tmp_path)
    (spec.annotations / SEQUENCE / "groundtruth.txt").write_text("1,2,3,4\n")
    (problem,) = read_dataset(spec)[1]
    assert problem == f"{spec.annotations / 'list.txt'}:1: {SEQUENCE}: 1 boxes for 16 frames"


def test_got10k_json(tmp_path: Path) -> None:
    (prompt,) = read_dataset(SAMPLES["got10k_json"](tmp_path))[0]
    assert (prompt.id, prompt.question, prompt.frame_rate) == ("GOT-10k_Val_000010", "the sloth", 10.0)
    assert prompt.box_frames == () and prompt.duration is None


def test_both_forms_of_nextgqa_are_the_same_prompts(tmp_path: Path) -> None:
    first, second = (read_dataset(SAMPLES[name](tmp_path))[0] for name in ("nextgqa", "nextgqa_json"))
    assert first == second
    (prompt,) = first
    assert prompt.options == ("blue", "red", "green", "a, b", "white")
    assert prompt.target == {"answer": "B", "intervals": [[1.2, 5.8], [12, 17.1]]}
    assert prompt.video == str(tmp_path / "1101" / "10001787725.mp4")


def test_nextgqa_without_evidence(tmp_path: Path) -> None:
    spec = replace(SAMPLES["nextgqa"](tmp_path), options={"task": "multiple_choice"})
    (prompt,) = read_dataset(spec)[0]
    (grounded,) = read_dataset(SAMPLES["nextgqa"](tmp_path))[0]
    assert prompt == replace(grounded, task=Task.MULTIPLE_CHOICE, target={"answer": "B"})


def test_video_mme_of_one_length(tmp_path: Path) -> None:
    spec = SAMPLES["video_mme"](tmp_path)
    counts = [len(read_dataset(replace(spec, options={"length": part}))[0]) for part in ("short", "long")]
    assert counts == [1, 0]


@pytest.mark.parametrize(
    ("name", "option"), [("nextgqa", "task"), ("perception_test", "task"), ("video_mme", "length")]
)
def test_a_choice_that_a_format_does_not_offer(tmp_path: Path, name: str, option: str) -> None:
    spec = replace(SAMPLES[name](tmp_path), options={option: "captioning"})
    with pytest.raises(DatasetError, match=f"{option} must be one of .*, found 'captioning'"):
        read(spec)


def test_video_mme(tmp_path: Path) -> None:
    (prompt,) = read_dataset(SAMPLES["video_mme"](tmp_path))[0]
    assert prompt.options == ("Apples.", "Candles.", "Berries.", "The same number.")
    assert (prompt.id, prompt.target, prompt.duration) == ("001-1", {"answer": "C"}, None)
    assert prompt.video == str(tmp_path / "fFjv93ACGo8")


def test_longvideobench(tmp_path: Path) -> None:
    spec = SAMPLES["longvideobench"](tmp_path)
    first, last = read_dataset(spec)[0]
    assert (first.id, first.target, last.target) == ("86CxyhFV9MI_0", {"answer": "B"}, {"answer": "D"})
    assert (first.video, first.duration) == (str(tmp_path / "videos" / "86CxyhFV9MI.mp4"), 190.16)
    assert first.options[3] == "an apron"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"correct_choice": 4}, "the answer must be the position of one of 4 options, found 4"),
        ({"correct_choice": -1}, "the answer must be the position of one of 4 options, found -1"),
        ({"correct_choice": "B"}, "correct_choice must be a whole number, found 'B'"),
    ],
)
def test_longvideobench_without_an_answer(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    spec = SAMPLES["longvideobench"](tmp_path)
    item, _ = json.loads(spec.annotations.read_text())
    of_the_test_split = {key: value for key, value in item.items() if key != "correct_choice"}
    spec.annotations.write_text(json.dumps([item | change, of_the_test_split]))
    prompts, problems = read_dataset(spec)
    assert (prompts, problems) == (
        [],
        [f"{spec.annotations}[0]: {reason}", f"{spec.annotations}[1]: missing correct_choice"],
    )


def test_perception_test_with_an_answer_beyond_its_options(tmp_path: Path) -> None:
    spec = SAMPLES["perception_test"](tmp_path)
    content = json.loads(spec.annotations.read_text())
    content["video_1"]["mc_question"][0]["answer_id"] = 3
    spec.annotations.write_text(json.dumps(content))
    (problem,) = read_dataset(spec)[1]
    assert problem.endswith("mc_question[0]: the answer must be the position of one of 3 options, found 3")


def test_mvbench_bounds_clips_and_reads_folders_of_frames(tmp_path: Path) -> None:
    prompts = prompts_of(SAMPLES["mvbench"](tmp_path))
    bounded, frames, whole = (
        prompts[f"{task}/0"] for task in ("action_sequence", "episodic_reasoning", "moving_count")
    )
    assert bounded.video == str(tmp_path / "video/star/Charades_v1_480/ZS9XR.mp4")
    assert bounded.span == (11.1, 17.2) and bounded.duration == pytest.approx(6.1)
    assert (bounded.options, bounded.target) == (("Sat.", "Ran.", "Ate."), {"answer": "B"})
    assert (frames.frame_rate, frames.span) == (3.0, (0.0, 20.4))
    # As in the benchmark's own reader, the times of tasks that are not bounded are not used.
    assert (whole.span, whole.frame_rate) == (None, None)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("mvbench", ["action_sequence", "episodic_reasoning", "moving_count"]),
        ("video_mme", ["short"]),
        ("longvideobench", ["up to 600 s", "up to 600 s"]),
        ("nextgqa", ["CW"]),
        ("nextgqa_json", ["CW"]),
        ("perception_test", ["semantics", "", ""]),
        ("charades_sta", ["", ""]),
    ],
)
def test_a_prompt_names_its_part_of_the_benchmark(tmp_path: Path, name: str, parts: list[str]) -> None:
    prompts = read_dataset(SAMPLES[name](tmp_path))[0]
    assert [prompt.part for prompt in prompts] == parts
    assert [parse_prompt(prompt.to_json(), Path()) for prompt in prompts] == prompts


def test_mvbench_looks_below_the_folder_that_two_archives_unpack_to(tmp_path: Path) -> None:
    spec = SAMPLES["mvbench"](tmp_path)
    there = tmp_path / "video/data0613/clevrer/video_validation/video_10009.mp4"
    there.parent.mkdir(parents=True)
    there.touch()
    assert prompts_of(spec)["moving_count/0"].video == str(there)


def test_mvbench_with_a_file_of_something_else(tmp_path: Path) -> None:
    spec = SAMPLES["mvbench"](tmp_path)
    (spec.annotations / "notes.json").write_text("[]")
    assert read(spec).problems == [f"{spec.annotations / 'notes.json'}: notes is not a task of MVBench"]


def test_perception_test_gives_three_kinds_of_prompts(tmp_path: Path) -> None:
    prompts = prompts_of(SAMPLES["perception_test"](tmp_path))
    question, track, action = (
        prompts[f"video_1/{part}"] for part in ("mc_question/7", "object_tracking/4", "action_localisation/0")
    )
    assert len(prompts) == 3, "a track of 5 boxes and an action that occurs twice make no prompt"
    assert (question.options, question.target) == (("tea", "ink", "milk"), {"answer": "B"})
    assert track.box_frames == tuple(30 * n for n in (2, 4, 6, 8, 11, 13, 15, 17))
    assert track.box_times == (0, 2, 4, 6, 9, 11, 13, 15)
    assert [box[0] for box in track.target["boxes"]] == pytest.approx(
        [0.01 * n / 30 for n in track.box_frames]
    )
    assert action.target == {"interval": [1.5, 4.0]} and action.duration == 20.0


def test_perception_test_of_one_kind(tmp_path: Path) -> None:
    spec = replace(SAMPLES["perception_test"](tmp_path), options={"task": "tracking"})
    assert list(prompts_of(spec)) == ["video_1/object_tracking/4"]


def test_quality(tmp_path: Path) -> None:
    (fields,) = fields_of(SAMPLES["quality"](tmp_path)).values()
    assert fields["question"] == "How good is it?"
    assert (fields["options"], fields["target"]) == (
        ["low quality", "high quality"],
        {"label": "low quality"},
    )


def test_video_r1_has_five_kinds_of_problems(tmp_path: Path) -> None:
    fields = fields_of(SAMPLES["video_r1"](tmp_path))
    assert [(item["task"], item["target"]) for item in fields.values()] == [
        ("multiple_choice", {"answer": "B"}),
        ("numerical", {"number": 1234.5}),
        ("ocr", {"text": "STOP here"}),
        ("free_form", {"text": "a man\ncooks"}),
        ("regression", {"number": 2.5}),
    ]
    assert fields["video_r1/0"]["options"] == ["red", "blue"]
    assert fields["video_r1/1"]["video"] == str(tmp_path / "Math" / "i.png")


def test_time_r1_counts_times_from_the_start_of_the_span(tmp_path: Path) -> None:
    whole, part = read_dataset(SAMPLES["time_r1"](tmp_path))[0]
    assert (whole.question, whole.span, whole.duration) == ("A dog runs", None, 60.0)
    assert (part.span, part.duration, part.target) == ((100.0, 130.0), 30.0, {"interval": [2, 5.5]})


def test_time_r1_looks_for_the_name_alone(tmp_path: Path) -> None:
    spec = SAMPLES["time_r1"](tmp_path)
    (tmp_path / "a.mp4").touch()
    assert read_dataset(spec)[0][0].video == str(tmp_path / "a.mp4")


@pytest.mark.parametrize("there", ["a.mp4", "a.mkv", "a.webm"])
def test_a_video_is_found_whatever_its_container(tmp_path: Path, there: str) -> None:
    (tmp_path / there).touch()
    assert Videos(tmp_path).find("a") == Videos(tmp_path).find("a.mp4") == str(tmp_path / there)


def test_a_video_that_is_not_there_keeps_its_name(tmp_path: Path) -> None:
    assert Videos(tmp_path).find("a") == str(tmp_path / "a")
    assert Videos(tmp_path).find("b.avi", "c.avi") == str(tmp_path / "b.avi")


def test_an_id_that_was_used_before_names_both_places(tmp_path: Path) -> None:
    spec = SAMPLES["jsonl"](tmp_path)
    line = spec.annotations.read_text().splitlines()[0]
    spec.annotations.write_text(f"{line}\n{line}\n")
    (problem,) = read(spec).problems
    assert problem == f"{spec.annotations}:2: the id 'own' was used at {spec.annotations}:1"


def test_a_key_that_is_given_twice_is_named(tmp_path: Path) -> None:
    spec = SAMPLES["activitynet_captions"](tmp_path)
    about = json.dumps(json.loads(spec.annotations.read_text())["v_uqiMw7tQ1Cc"])
    spec.annotations.write_text(f'{{"v_a": {about}, "v_b": {about}, "v_a": {about}}}')
    reading = read(spec)
    assert reading.problems == [f"{spec.annotations}[v_a]: the key is given more than once"]
    assert len(reading.prompts) == 4


def test_lines_in_another_encoding_cost_themselves(tmp_path: Path) -> None:
    spec = SAMPLES["charades_sta"](tmp_path)
    spec.annotations.write_bytes("3MSZA 1 2##a café.\n".encode("latin-1") + b"3MSZA 1 2##a door.\n")
    reading = read(spec)
    assert reading.problems == [
        f"{spec.annotations}:1: not UTF-8 text at byte 16, probably Latin-1; save the file as UTF-8"
    ]
    assert [prompt.question for prompt in reading.prompts] == ["a door"]


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b'[\n{"video": "a"},\n', ":3", "not JSON"),
        (b'[\n{"video": "caf\xe9"}]', ":2", "not UTF-8 text at byte 16"),
        (b'{"a": 1}', "", "expected a list, found dict"),
    ],
)
def test_a_file_of_which_nothing_can_be_used(tmp_path: Path, content: bytes, place: str, reason: str) -> None:
    path = tmp_path / "quality.json"
    path.write_bytes(content)
    (problem,) = read(DatasetSpec("x", "quality", path)).problems
    assert problem.startswith(f"{path}{place}: {reason}")


def test_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"own: format must be one of jsonl, .*, found 'xml'"):
        read(DatasetSpec("own", "xml", tmp_path))
    for format_ in READERS:
        with pytest.raises(FileNotFoundError):
            read(DatasetSpec("own", format_, tmp_path / "gone"))
