"""What `python -m data.check` counts, which problems it names, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from data.check import main
from tests.data.readers.samples import SAMPLES
from tests.videos import cut_short, write_uneven, write_video

app = typer.Typer()
app.command()(main)


def check(*arguments: str | Path, columns: int = 200) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": str(columns)})


def report(folder: Path, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code, and what is written about the one dataset."""
    result = check(*arguments, "--json", folder / "report.json")
    (found,) = json.loads((folder / "report.json").read_text())["datasets"]
    return result.exit_code, found


def line(**fields: Any) -> str:
    usable = {
        "id": "a",
        "task": "temporal_grounding",
        "video": "a.mp4",
        "question": "a door opens",
        "duration": 8,
        "target": {"interval": [2, 4]},
    }
    return json.dumps(usable | fields)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Annotations of three clips of 8 s: one that decodes, one that is cut short and one that is not there."""
    write_video(tmp_path / "a.mp4", frames=64, fps=8)
    cut_short(tmp_path / "a.mp4", tmp_path / "cut.mp4")
    path = tmp_path / "own.jsonl"
    lines = [
        line(),
        line(id="b", target={"interval": [0, 8]}),
        line(id="cut", video="cut.mp4"),
        line(id="gone", video="gone.mp4"),
        line(id="gone too", video="gone.mp4"),
        line(id="reversed", target={"interval": [4, 2]}),
        line(id="outside", target={"interval": [9, 10]}),
        line(id="late", target={"interval": [6, 8.5]}),
        line(id="a"),
        line(id="long", duration=20),
    ]
    path.write_text("\n".join(lines) + "\n")
    path.write_bytes(path.read_bytes() + line(id="bad").encode()[:-2] + b'\xff"}\n')
    return path


def test_every_problem_has_its_place(tmp_path: Path, own: Path) -> None:
    code, found = report(tmp_path, "--annotations", own)
    assert code == 1
    assert [message.removeprefix(str(own)) for message in found["problems"]] == [
        ":6: target interval [4, 2] must satisfy start < end",
        ":7: target interval [9, 10] lies outside the clip of 8 s",
        f":9: the id 'a' was used at {own}:1",
        f":11: not UTF-8 text at byte {len(line(id='bad')) - 2}, probably Latin-1; save the file as UTF-8",
        f":3: {tmp_path / 'cut.mp4'}: cannot be opened as a video: damaged, cut short or of an unknown kind",
        f":4: {tmp_path / 'gone.mp4'}: No such file or directory (2 prompts)",
    ]
    assert [message.removeprefix(str(own)) for message in found["warnings"]] == [
        ":7: interval [9, 10] reaches beyond the listed duration of 8 s",
        ":8: interval [6, 8.5] reaches beyond the listed duration of 8 s",
        f":10: listed with 20 s, {tmp_path / 'a.mp4'} has 8.00 s",
    ]
    assert (found["entries"], found["prompts"], found["videos"]) == (11, 7, 3)


def test_clips_that_decode_are_counted_among_those_tried(tmp_path: Path, own: Path) -> None:
    result = check("--annotations", own, "--json", tmp_path / "report.json")
    (found,) = json.loads((tmp_path / "report.json").read_text())["datasets"]
    assert (found["clips"], found["decoded"]) == (3, 1)
    assert "1 of 3 clips decode" in result.output


def test_facts_of_a_task(tmp_path: Path, own: Path) -> None:
    _, found = report(tmp_path, "--annotations", own, "--no-videos")
    facts = found["tasks"]["temporal_grounding"]
    assert (facts["prompts"], facts["videos"]) == (7, 3)
    assert facts["coverage"] == pytest.approx((4 * 0.25 + 1 + 0.25 + 0.1) / 7)
    assert facts["constant"] == "25% to 50% of the clip"
    assert facts["constant_score"] == pytest.approx((4 + 0.25) / 7)
    whole = facts["trivial"]["whole video"]
    assert (whole["mIoU"], whole["R@0.5"]) == pytest.approx(((4 * 0.25 + 1 + 2 / 8.5 + 0.1) / 7, 1 / 7))
    assert found["clips"] == 0 and not any("gone.mp4" in problem for problem in found["problems"])


def test_the_length_of_a_video_is_known_if_any_line_lists_it(tmp_path: Path) -> None:
    choice = {"task": "multiple_choice", "options": ["x", "y"], "target": {"answer": "A"}}
    unlisted = json.loads(line(id="b", **choice))
    del unlisted["duration"]
    (tmp_path / "own.jsonl").write_text(line() + "\n" + json.dumps(unlisted))
    _, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl", "--no-videos")
    assert (found["videos"], found["durations"]["mean"]) == (1, 8.0)


def test_every_line_that_lists_another_length_than_the_clip_has_is_warned_of(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=64, fps=8)
    listed: list[dict[str, Any]] = [{"duration": 20}, {"span": [0, 5], "duration": 5}, {}, {"duration": 30}]
    lines = [line(id=str(number), **fields) for number, fields in enumerate([*listed, *listed[:1]])]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    code, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl")
    assert code == 0 and found["problems"] == []
    assert found["warnings"] == [
        f"{tmp_path / 'own.jsonl'}:{number}: listed with {seconds} s, {tmp_path / 'a.mp4'} has 8.00 s"
        for number, seconds in ((1, 20), (4, 30), (5, 20))
    ]


def test_an_answer_past_the_end_that_the_clip_decodes_to_is_a_problem(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=64, fps=8)
    lines = [
        line(id="far", duration=80, target={"interval": [60, 70]}),
        line(id="near", duration=8.9, target={"interval": [8.2, 8.8]}),
        line(id="partly", duration=8.9, target={"interval": [7.5, 8.8]}),
        line(id="span", duration=6, span=[4, 10], target={"interval": [4.5, 5.5]}),
        line(
            id="evidence",
            task="grounded_qa",
            duration=8.9,
            options=["x", "y"],
            target={"answer": "A", "intervals": [[1, 2], [8.2, 8.8]]},
        ),
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    code, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl")
    own, clip = tmp_path / "own.jsonl", tmp_path / "a.mp4"
    assert code == 1
    assert found["problems"] == [
        f"{own}:1: target interval [60, 70] lies outside the clip of 8 s, as {clip} decodes",
        f"{own}:2: target interval [8.2, 8.8] lies outside the clip of 8 s, as {clip} decodes",
        f"{own}:4: target interval [4.5, 5.5] lies outside the clip of 4 s, as {clip} from 4 to 10 s decodes",
        f"{own}:5: target interval [8.2, 8.8] lies outside the clip of 8 s, as {clip} decodes",
    ]
    assert found["warnings"] == [
        f"{own}:1: listed with 80 s, {clip} has 8.00 s",
        f"{own}:4: listed with 6 s, {clip} from 4 to 10 s has 4.00 s",
    ]


def test_letters_are_counted(tmp_path: Path) -> None:
    choice = {"task": "multiple_choice", "options": ["x", "y"]}
    lines = [line(id=str(n), target={"answer": letter}, **choice) for n, letter in enumerate("ABB")]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    code, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl", "--no-videos")
    facts = found["tasks"]["multiple_choice"]
    assert (code, facts["labels"], facts["constant"]) == (0, {"A": 1, "B": 2}, "always B")
    assert facts["constant_score"] == pytest.approx(2 / 3) and facts["coverage"] is None


def test_the_table_says_what_the_json_says(own: Path) -> None:
    result = check("--annotations", own, "--no-videos", "--most", 1)
    told = ("25% to 50% of the clip", "33.6%", "whole video", "mIoU 33.36")
    for part in ("own.jsonl (jsonl)", "11 entries, 7 usable by their annotations, 3 videos", *told):
        assert part in result.output
    assert f"problem: {own}:6: target interval [4, 2] must satisfy start < end" in result.output
    assert "own.jsonl: 3 more problems; --json has them all" in result.output


def test_a_terminal_of_80_columns_shows_every_task_whole(tmp_path: Path) -> None:
    choice = {"options": ["x", "y"], "target": {"answer": "A"}}
    lines = [
        line(),
        line(id="b", task="multiple_choice", **choice),
        line(id="c", task="grounded_qa", options=["x", "y"], target={"answer": "B", "intervals": [[1, 2]]}),
        line(id="d", task="captioning", target={"caption": "A door opens."}),
        line(id="e", task="numerical", target={"number": 3}),
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    result = check("--annotations", tmp_path / "own.jsonl", "--no-videos", columns=80)
    assert "…" not in result.output
    for task in ("temporal_grounding", "multiple_choice", "grounded_qa", "captioning", "numerical"):
        assert f" {task} " in result.output
    assert "25% to 50% of the clip" in result.output and "8.00 to 8.00, 8.00 on average" in result.output


def test_folders_of_frames_and_further_files(tmp_path: Path) -> None:
    got = SAMPLES["got10k"](tmp_path)
    code, found = report(tmp_path, "--format", "got10k", "--annotations", got.annotations)
    assert (code, found["problems"], found["warnings"], found["clips"]) == (0, [], [], 1)
    charades = SAMPLES["charades_sta"](tmp_path)
    durations = (tmp_path / "Charades_v1_test.csv").rename(tmp_path / "elsewhere.csv")
    arguments = ["--format", "charades_sta", "--annotations", charades.annotations, "--no-videos"]
    assert check(*arguments).exit_code == 2
    _, found = report(tmp_path, *arguments, "--option", f"durations={durations}")
    assert found["prompts"] == 2


def test_an_option_that_the_format_does_not_know_is_a_problem(tmp_path: Path, own: Path) -> None:
    unknown = "jsonl has no option 'foo'; it takes none"
    code, found = report(tmp_path, "--annotations", own, "--option", "foo=bar")
    assert (code, found["problems"]) == (2, [f"own.jsonl: {unknown}"])
    entry = f"{{name: x, format: jsonl, annotations: {own}, options: {{foo: bar}}}}"
    (tmp_path / "run.yaml").write_text(f"data: {{datasets: [{entry}]}}")
    code, found = report(tmp_path, "--config", tmp_path / "run.yaml")
    assert (code, found["problems"]) == (2, [f"x: {unknown}"])


def test_a_configuration_names_its_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SAMPLES["nextgqa"](tmp_path)
    (tmp_path / "own.jsonl").write_text(line())
    (tmp_path / "base.yaml").write_text(
        "data:\n  eval_source: ${SETS}/own.jsonl\n  datasets: []\nmodel:\n  path: tiny\n"
    )
    (tmp_path / "run.yaml").write_text(
        "extends: base.yaml\ndata:\n  datasets:\n"
        "  - {name: gqa, format: nextgqa, annotations: $SETS/val.csv, weight: 2}\n"
    )
    monkeypatch.setenv("SETS", str(tmp_path))
    result = check("--config", tmp_path / "run.yaml", "--no-videos", "--json", tmp_path / "report.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "report.json").read_text())["datasets"]
    assert [(item["name"], item["format"], item["prompts"]) for item in found] == [
        ("eval_source", "jsonl", 1),
        ("gqa", "nextgqa", 1),
    ]


def test_datasets_that_cannot_be_read_are_named_and_the_others_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HERE", "NOWHERE", "ELSEWHERE"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "run.yaml").write_text(
        "data:\n  source: ${HERE}/own.jsonl\n  datasets:\n"
        "  - {name: lost, format: nextgqa, annotations: $NOWHERE/a, options: {spans: '${ELSEWHERE}/b'}}\n"
        "  - {name: gone, format: jsonl, annotations: gone.jsonl}\n"
    )
    arguments = ("--config", tmp_path / "run.yaml", "--no-videos")
    unset = "lost: not set in the environment: NOWHERE, ELSEWHERE"
    result = check(*arguments)
    assert result.exit_code == 2
    for part in ("source: not set in the environment: HERE", unset, "gone.jsonl: No such file"):
        assert f"problem: {part}" in result.output
    monkeypatch.setenv("HERE", str(tmp_path))
    (tmp_path / "own.jsonl").write_text(line())
    result = check(*arguments)
    assert result.exit_code == 1
    assert (
        "1 entry, 1 usable by its annotation, 1 video, 8.00 s on average, no clip was decoded; 0 problems"
        in result.output
    )
    assert f"problem: {unset}" in result.output


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_dataset_is_a_problem_and_nothing_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.jsonl").write_text(content)
    code, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl")
    assert (code, found["problems"]) == (2, [f"{tmp_path / 'own.jsonl'}: the dataset is empty"])
    (tmp_path / "own.jsonl").write_text("{}")
    assert report(tmp_path, "--annotations", tmp_path / "own.jsonl")[0] == 2


def test_where_no_clip_decodes_nothing_can_be_used(tmp_path: Path, own: Path) -> None:
    (tmp_path / "a.mp4").unlink()
    assert report(tmp_path, "--annotations", own)[0] == 2
    assert report(tmp_path, "--annotations", own, "--no-videos")[0] == 1


@pytest.mark.parametrize("name", ["", "none.jsonl"])
@pytest.mark.parametrize("option", ["--annotations", "--config"])
def test_what_is_no_file_is_named_once_in_words(tmp_path: Path, name: str, option: str) -> None:
    result = check(option, tmp_path / name)
    why = "No such file or directory" if name else "is a folder, where a file is wanted"
    assert result.exit_code == 2 and f"{tmp_path / name}: {why}" in result.output.replace("\n", "")
    assert "Errno" not in result.output and result.output.count(str(tmp_path)) == 1


def test_a_damaged_picture_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(1, 200)))
    text = {"task": "ocr", "target": {"text": "x"}, "video": "a.jpg"}
    (tmp_path / "own.jsonl").write_text(line(**text))
    _, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl")
    assert found["problems"][0].count("a.jpg") == 1, found["problems"]


def test_options_that_hold_their_letter_or_are_alike_are_warned_of(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=8)
    options = [["A. red", "B. blue"], ["(A) red", "(b) blue"], ["red", "blue", "Red "], ["A. Smith", "B. a"]]
    options += [["A. Smith", "Jones"], ["red", "blue"], ["a", "b"], ["B. a", "A. b"]]
    choice = {"task": "multiple_choice", "target": {"answer": "A"}}
    lines = [line(id=str(number), options=its, **choice) for number, its in enumerate(options)]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    code, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl", "--no-videos")
    letter = "its options begin with their letters, which the prompt writes before them too; leave them out"
    assert (code, [text.partition("own.jsonl")[2] for text in found["warnings"]]) == (
        0,
        [f":1: {letter}", f":2: {letter}", ":3: its options A and C are the same text", f":4: {letter}"],
    )


def test_it_says_whether_clips_were_looked_at(tmp_path: Path, own: Path) -> None:
    unseen = check("--annotations", own, "--no-videos").output
    assert "11 entries, 7 usable by their annotations, 3 videos" in unseen and "no clip was decoded" in unseen
    seen = check("--annotations", own).output
    assert "1 of 3 clips decode" in seen and "no clip was decoded" not in seen


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        ("data: {source: synthetic}", "names no dataset"),
        ("data: [1]", "data must be a section, found list"),
        ("data: {datasets: [{name: x}]}", "a dataset needs name, format and annotations"),
        ("data: {datasets: [{name: x, format: xml, annotations: .}]}", "format must be one of"),
        ("extends: run.yaml", "extends goes in a circle"),
        ("extends: gone.yaml", "gone.yaml: No such file"),
        ("data: {source: gone.jsonl}", "No such file"),
        ("a: b: c", "run.yaml: cannot be read: mapping values are not allowed here (line 1, column 5)"),
        ("data: {source:x.jsonl}", "`source:x.jsonl` needs a space after the colon, `source: x.jsonl`"),
        ("data: {source: 1_}", "run.yaml: cannot be read: invalid literal"),
        ("data: {datasets: true}", "data.datasets must be a list of datasets, found True"),
        ("data: {eval_datasets: {name: x}}", "data.eval_datasets must be a list of datasets, found {"),
        (
            "data: {datasets: [{name: x, format: jsonl, annotations: ., options: [a]}]}",
            "options of x must be names with values, found ['a']",
        ),
    ],
)
def test_configurations_with_nothing_to_check(tmp_path: Path, yaml: str, reason: str) -> None:
    (tmp_path / "run.yaml").write_text(yaml)
    result = check("--config", tmp_path / "run.yaml")
    assert result.exit_code == 2 and reason in result.output


def test_a_configuration_is_checked_as_it_is_overridden(tmp_path: Path, own: Path) -> None:
    entry = f"{{name: x, format: jsonl, annotations: gone.jsonl, videos: {tmp_path}}}"
    (tmp_path / "run.yaml").write_text(f"data:\n  datasets:\n  - {entry}\n")
    config = ("--config", tmp_path / "run.yaml", "--no-videos")
    assert check(*config).exit_code == 2
    for override in (f"data.datasets[0].annotations={own}", f"data.datasets=[]|data.source={own}"):
        assert "id 'a' was used" in check(*override.split("|"), "grpo.steps=5", *config).output


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("data.datasets[1].videos=x", "there is no entry data.datasets[1]"),
        ("data.datasets[0].videos", "expected section.field=value"),
        ("data=x", "expected section.field=value"),
        ("data.source={", "the value is not YAML"),
        ("data.datasets={a:5}", "the value is not YAML: `a:5` needs a space after the colon"),
        ("data.source=1_", "the value is not YAML: invalid literal"),
    ],
)
def test_overrides_that_cannot_be_read_are_named(tmp_path: Path, override: str, reason: str) -> None:
    (tmp_path / "run.yaml").write_text("data: {datasets: [{name: x, format: jsonl, annotations: x.jsonl}]}")
    result = check(override, "--config", tmp_path / "run.yaml")
    assert result.exit_code == 2 and override in result.output and reason in result.output


@pytest.mark.parametrize("value", ["5", "true", "{a: 1}"])
def test_an_override_that_makes_the_datasets_no_list(tmp_path: Path, value: str) -> None:
    (tmp_path / "run.yaml").write_text("data: {datasets: []}")
    result = check(f"data.datasets={value}", "--config", tmp_path / "run.yaml")
    assert result.exit_code == 2 and "data.datasets must be a list of datasets" in result.output


def test_scalars_are_those_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "off").write_text(line())
    (tmp_path / "run.yaml").write_text(
        f"data:\n  datasets:\n  - {{name: 010, format: jsonl, annotations: {tmp_path}/off}}\n"
        f"  - {{name: off, format: jsonl, annotations: {tmp_path}/off}}\n"
    )
    result = check("--config", tmp_path / "run.yaml", "--no-videos")
    assert "10 (jsonl): 1 entry" in result.output and "off (jsonl): 1 entry" in result.output


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, own: Path
) -> None:
    for path in (tmp_path / "gone" / "report.json", own / "report.json", tmp_path):
        result = check("--annotations", own, "--json", path)
        assert result.exit_code == 2 and "--json" in result.output
        assert "entries" not in result.output and not isinstance(result.exception, OSError)


def test_one_is_not_told_as_several(tmp_path: Path) -> None:
    lines = [line(), line(id="late", target={"interval": [6, 8.5]}), "{}", "[]"]
    (tmp_path / "own.jsonl").write_text("\n".join(lines[:3]))
    assert "1 problem, 1 warning\n" in check("--annotations", tmp_path / "own.jsonl", "--no-videos").output
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    shown = check("--annotations", tmp_path / "own.jsonl", "--no-videos", "--most", 1).output
    assert "2 problems, 1 warning\n" in shown and "own.jsonl: 1 more problem; --json has" in shown


def test_one_of_both_ways_to_name_a_dataset(tmp_path: Path) -> None:
    for arguments in ([], ["--config", "x.yaml", "--annotations", tmp_path]):
        result = check(*arguments)
        assert result.exit_code == 2 and "give either --config or" in result.output
    result = check("data.source=x", "--annotations", tmp_path)
    assert result.exit_code == 2 and "there is no --config to override" in result.output


def test_times_that_a_person_should_know_of_are_warned_of(tmp_path: Path) -> None:
    write_uneven(tmp_path / "late.mp4", [4 + number / 10 for number in range(80)], sound_s=12)
    write_uneven(tmp_path / "varies.mp4", [*(n / 10 for n in range(50)), *(5 + n / 1.5 for n in range(10))])
    write_video(tmp_path / "even.mp4", frames=64, fps=8)
    lines = [
        line(id=name, video=f"{name}.mp4", duration=12, target={"interval": [5, 6]})
        for name in ("late", "varies", "even")
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    _, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl")
    told = [message for message in found["warnings"] if "listed with" not in message]
    assert len(told) == 2
    assert "late.mp4: its picture starts at 4.00 s, later than its sound" in told[0]
    assert "varies.mp4: its frame rate varies: frames usually stay 0.10 s" in told[1]


def test_boxes_that_m_rope_cannot_tell_the_times_of_are_warned_of(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=64, fps=8)
    track = {"task": "tracking", "target": {"boxes": [[0.1, 0.1, 0.5, 0.5]] * 8}}
    lines = [
        line(id="uneven", box_frames=[0, 1, 2, 3, 4, 5, 6, 63], **track),
        line(id="even", box_frames=list(range(0, 64, 8)), **track),
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    _, found = report(tmp_path, "--annotations", tmp_path / "own.jsonl")
    (told,) = found["warnings"]
    assert told.startswith(f"{tmp_path / 'own.jsonl'}:1:") and "M-RoPE" in told and "6.00 s off" in told
