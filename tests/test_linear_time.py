"""Every parser of text that others wrote takes time linear in its length: 100,000 characters in a tenth of a second."""

from __future__ import annotations

import io
import json
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from yaml import YAMLError

from actors.judge_key import masked
from actors.judge_reply import read_verdicts
from cluster.config.fields import nearest
from cluster.evaluation.predictions import read_predictions
from cluster.records.markdown import as_code, in_markdown
from cluster.report.clips import response_html
from cluster.report.page import page_html
from data.perception import retime
from data.readers import DatasetSpec, read
from data.readers.options import letter_in
from data.schema import Task, parse_prompt
from data.yaml_text import read_value
from rewards import paper, score_response
from rewards.boxes import read_box, read_boxes
from rewards.intervals import find_intervals, read_interval
from rewards.judge import LexicalJudge
from rewards.letters import read_letter
from rewards.lines import numbered_records
from rewards.numbers import read_number
from rewards.parsing import find_blocks
from rewards.plain import plain, without_marks
from rewards.predictions import parse_sample
from rewards.texts import read_wording, rouge, word_accuracy

CHARACTERS = 100_000
SECONDS = 0.1
# More is allowed for each line or item of a file, of which a text of newlines is nothing else.
RECORD_SECONDS = 5e-6
# PyYAML takes a microsecond for each letter; a configuration has at most 262,144.
SLOWER = {"read_value": 2.0, "read_value of a key": 2.0}
# What `_work` takes on the machine that the bound is meant for.
WORK_SECONDS = 0.025

# Apart by a broken bar.
PIECES = (
    " ¦\t¦\n¦\r\n¦ \n¦ \n\n¦\x0b\x0c¦\xa0¦\u2003 ¦\u3000¦\u2028¦\x00¦\u200b¦a\u200b¦e\u0301¦"
    "\u0301¦\ud800¦\u3164¦😀¦👩\u200d👩\u200d👧¦中¦中A¦五¦é¦²¦٣¦<¦</¦<answer>¦</answer>¦"
    "<answer></answer>¦<think><answer><glue>¦</glue></answer>¦<b>¦</think> <answer>x¦"
    "<answer>5 to 6</answer>¦&lt;answer&gt;¦[¦[[ ¦]¦(¦)¦{¦}¦[(¦[(1, 2), ¦(5, ¦"
    "[0.1, 0.2, 0.3, 0.4], ¦1¦0¦9,¦1,000¦1,000,¦1.¦.1¦1:¦00:12:¦1-¦1e¦-5 ¦5 to ¦5 m 3 s ¦"
    "5–10, ¦start: 5 ¦€5 ¦5%¦not 5 ¦-¦- -¦–¦→¦.¦…¦:¦;¦,¦, ¦a¦y¦A¦a ¦A. ¦a.¦(A) ¦A-¦a's ¦not A ¦"
    "not the ¦'¦\"¦“¦$¦* a¦**a** ¦__a¦`¦```¦\\¦\\boxed{¦\\(¦'a' ¦\"a\":¦, and ¦ then ¦"
    " and then¦after  ¦followed by ¦Choice one answer from ["
)
PADDED = ("a", "5", ",", ", and", "5 to", "after", "not", "[5", "</think>", "A.")
SHUFFLED = random.Random(0)
WORDS = ["".join(SHUFFLED.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(CHARACTERS // 6)]
TEXTS = {
    **{repr(piece): (piece * CHARACTERS)[:CHARACTERS] for piece in PIECES.split("¦")},
    **{f"{piece!r} and blanks": ((piece + " " * 999) * 100)[:CHARACTERS] for piece in PADDED},
    "words": " ".join(WORDS)[:CHARACTERS],
    "sentences": ". ".join(WORDS)[:CHARACTERS],
    "characters": "".join(SHUFFLED.choices([chr(code) for code in range(0x20, 0x3100)], k=CHARACTERS)),
}
EVENTS = ["a dog runs over the lawn", "a cat sleeps", "it rains on a man who walks"]
OPTIONS = ["A cat", "person B", "C", "nobody"]


def tagged(block: str) -> Callable[[str], str]:
    return lambda text: f"<{block}>{text}</{block}>"


def blocks(text: str) -> None:
    found = find_blocks(text)
    found.layout_problem(["think", "answer"])
    found.only("answer")


def released(text: str) -> None:
    paper.has_layout(text, ["think", "answer", "glue"])
    paper.first_letter(paper.first_block(text, "answer"))
    paper.last_interval(text)


def on_the_clock(text: str) -> str:
    return retime(text, Task.TEMPORAL_GROUNDING, [0.0, 1.0, 2.0], 3.0)


def reply(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


def line(text: str) -> bytes:
    return json.dumps({"id": "1", "task": "ocr", "response": text, "target": {"text": "a"}}).encode()


def yaml(text: str) -> None:
    with suppress(YAMLError):
        read_value(text)


def prompt(text: str) -> None:
    fields = {"id": text, "task": "multiple_choice", "video": text, "question": text, "options": [text, "b"]}
    parse_prompt(fields | {"duration": 8, "target": {"answer": "A"}}, Path())


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def predictions(content: Callable[[str], bytes]) -> Callable[[str, Path], None]:
    def read_file(text: str, path: Path) -> None:
        path.write_bytes(content(text))
        read_predictions(path, [])

    return read_file


def dataset(format_: str, content: Callable[[str], bytes]) -> Callable[[str, Path], None]:
    def read_file(text: str, path: Path) -> None:
        path.write_bytes(content(text))
        path.with_name("Charades_v1_train.csv").write_bytes(b"id,length\n" + content(text))
        read(DatasetSpec("a", format_, path))

    return read_file


def entry(**fields: Any) -> Callable[[str], bytes]:
    """An annotation that has the text wherever a field is `TEXT`."""
    return lambda text: json.dumps([fields]).replace('"TEXT"', json.dumps(text)).encode()


PARSERS: dict[str, Callable[[str], object]] = {
    "plain": plain,
    "without_marks": lambda text: without_marks(plain(text)),
    "read_number": read_number,
    "read_interval": read_interval,
    "find_intervals": find_intervals,
    "read_letter": lambda text: read_letter(text, 4, OPTIONS),
    "read_boxes": lambda text: read_boxes(text, 8),
    "read_box": read_box,
    "blocks": blocks,
    "word_accuracy": lambda text: word_accuracy(text, "a cat to go home"),
    "word_accuracy of a long reference": lambda text: word_accuracy(text, "a cat to go home " * 200),
    "rouge": lambda text: rouge(read_wording(text), "a cat sleeps on the sofa in the sun"),
    "rouge of a long reference": lambda text: rouge(read_wording(text), "a cat sleeps in the sun " * 300),
    "events": LexicalJudge().events,
    "told": lambda text: LexicalJudge().told(read_wording(text), EVENTS),
    "paper": released,
    "paper, in a block": lambda text: released(tagged("answer")(text)),
    "paper.evidence_intervals": paper.evidence_intervals,
    "paper.eight_boxes": paper.eight_boxes,
    "parse_sample": lambda text: parse_sample(raw(text)),
    "parse_sample, response": lambda text: parse_sample(line(text)),
    "numbered_records": lambda text: list(numbered_records(io.BytesIO(raw(text)))[1]),
    "numbered_records of a list": lambda text: list(numbered_records(io.BytesIO(b"[1, " + raw(text)))[1]),
    "response_html": response_html,
    "page_html": lambda text: page_html(text, text),
    "in_markdown": in_markdown,
    "as_code": as_code,
    "parse_prompt": prompt,
    "read_value": lambda text: yaml(text),
    "read_value of a key": lambda text: yaml(f"a: {text}"),
    "nearest": nearest,
    "masked": lambda text: masked(text, "sk-a"),
    "retime": on_the_clock,
    "retime, in a block": lambda text: on_the_clock(tagged("answer")(text)),
    "read_verdicts": lambda text: read_verdicts(raw(text), 1),
    "read_verdicts, content": lambda text: read_verdicts(reply(text), 1),
    "letter_in": letter_in,
    "a whole caption": lambda text: score_response(
        "captioning", tagged("answer")(text), {"caption": "a cat"}, template="direct"
    ),
}
FILES: dict[str, Callable[[str, Path], None]] = {
    "predictions": predictions(raw),
    "predictions, response": predictions(line),
    "predictions, list": predictions(lambda text: b"[" + line(text) + b", " + raw(text)),
    "charades_sta": dataset("charades_sta", raw),
    "charades_sta, query": dataset("charades_sta", lambda text: b"A 0 1##" + raw(text)),
    "quality": dataset("quality", entry(video="a", instruction="TEXT", answer="TEXT")),
    "video_r1": dataset(
        "video_r1", entry(problem_type="OCR", solution="TEXT", path="a", problem="TEXT", data_type="video")
    ),
    "jsonl": dataset("jsonl", raw),
}


@pytest.mark.parametrize("name", [*PARSERS, *FILES])
def test_time_is_linear_in_the_length(name: str, tmp_path: Path) -> None:
    is_file = name in FILES
    parse = partial(FILES[name], path=tmp_path / "file") if is_file else PARSERS[name]
    seconds(parse, "a")  # what the first call alone loads
    took = {kind: seconds(parse, text) for kind, text in TEXTS.items()}
    slowest = max(took, key=lambda kind: took[kind])
    print(f"{name}: at most {took[slowest]:.3f} s, of {slowest}")
    ease = slack() * SLOWER.get(name, 1.0)

    def is_late(kind: str, times: int) -> bool:
        records = TEXTS[kind].count("\n") + TEXTS[kind].count(",") if is_file else 0
        least = took[kind] if times == 1 else seconds(parse, TEXTS[kind], times)
        return least > ease * (SECONDS + records * RECORD_SECONDS)

    assert [kind for kind in took if is_late(kind, 1) and is_late(kind, 3)] == []


def seconds(parse: Callable[[str], object], text: str, times: int = 1) -> float:
    """The least processor time of so many calls: other programs on the machine make it longer and never shorter."""
    return min(_seconds(parse, text) for _ in range(times))


def _seconds(parse: Callable[[str], object], text: str) -> float:
    started = time.process_time()
    # What cannot be read takes no longer than what can.
    with suppress(ValueError, RuntimeError):
        parse(text)
    return time.process_time() - started


def slack() -> float:
    """How much slower this machine is now than the one that the bound is meant for, at least 1."""
    return max(1.0, seconds(_work, "a b " * 25_000, 3) / WORK_SECONDS)


def _work(text: str) -> None:
    for _ in range(3):
        re.sub(r"\w", lambda found: found[0], text)
