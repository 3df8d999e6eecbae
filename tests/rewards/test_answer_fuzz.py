"""Damaged answers of all tasks: none raises, rewards are in range, and the format is right only where all was read."""

from __future__ import annotations

import random
import time

import pytest

from rewards import SPECS, TASKS, Scorer
from rewards.parsing import find_blocks
from rewards.scoring import evaluation_options, read_target
from rewards.templates import TEMPLATES, Template, layout
from tests.rewards.test_reward_properties import MODES, TARGETS

OPTIONS = {
    "multiple_choice": ("red", "A cat", "blue"),
    "grounded_qa": ("red", "blue", "no C"),
    "quality": ("low quality",),
}
OPTIONS["quality"] += ("high quality",)
MORE_ANSWERS = {
    "temporal_grounding": [
        "from 5.5s to 10 s",
        "[5, 10]",
        "0:05 - 0:10",
        '{"start": 5, "end": 10}',
        "5 到 10 秒",
    ],
    "grounded_qa": ["(C)", "C. no C", "The answer is C."],
    "multiple_choice": ["(C)", "C. blue", "The answer is **C**."],
    "numerical": ["1,250", "-3.5", "about 5 cm", "$4.20", "5e3"],
    "regression": ["12.0", "12 kg"],
    "spatial_grounding": ["[[0.1, 0.1, 0.5, 0.5]]"],
}
PIECES = [
    *(
        "<answer>",
        "</answer>",
        "<think>",
        "</think>",
        "<glue>",
        "</glue>",
        "<Answer>",
        "\n",
        "  ",
        "\t",
        "\u00a0",
        "\u200b",
    ),
    *(
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "[[",
        "]]",
        ",",
        ".",
        ":",
        ";",
        "-",
        "–",
        "to",
        " and ",
        "or",
        "s",
        "min",
        "%",
        "$",
        "k",
    ),
    *(
        "0",
        "1",
        "5",
        "10",
        "1e999",
        "-1",
        "NaN",
        "Infinity",
        "9" * 40,
        "0.5",
        ".5",
        "5.",
        "1,000",
        "0:12",
        "00:00:05",
        "½",
    ),
    *(
        "A",
        "B",
        "C",
        "D",
        "a",
        "I",
        "not ",
        "none of ",
        "A.",
        "(B)",
        "é",
        "中",
        "五",
        "١",
        "²",
        "😀",
        "\u0301",
        "\u202e",
    ),
    *(
        "\ud800",
        "\x00",
        "'",
        '"',
        "“",
        "”",
        "*",
        "**",
        "_",
        "`",
        "```json",
        "\\boxed{",
        "\\",
        "cat",
        "high quality",
        "then",
    ),
]


def answers(task: str, template: Template) -> list[str]:
    """Well-formed responses."""
    spec = SPECS[task]
    solution = dict(spec.solution(read_target(task, TARGETS[task], OPTIONS.get(task)), spec.options()))
    order = layout(list(solution), template)
    found = []
    for answer in [solution["answer"], *MORE_ANSWERS.get(task, [])]:
        blocks = {"think": "It is 5 s in.", **solution, "answer": answer}
        found.append("\n".join(f"<{block}>{blocks[block]}</{block}>" for block in order))
    return found


def damaged(text: str, dice: random.Random) -> str:
    """The text with a few pieces put in, taken out, doubled or moved."""
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 6))):
        start = dice.randrange(len(text) + 1)
        end = min(len(text), start + dice.choice((1, 1, 2, 5, 30)))
        text = dice.choice(
            (
                text[:start] + dice.choice(PIECES) + text[start:],
                text[:start] + dice.choice(PIECES) + text[end:],
                text[:start] + text[end:],
                text[:end] + text[start:],
                text[end:] + text[start:end] + text[:start],
                text[:start]
                + chr(dice.choice((dice.randrange(0x80), dice.randrange(0x3100))))
                + text[start:],
            )
        )
    return text


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [10_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_damaged_answers(count: int) -> None:
    kinds = [(task, mode, template) for task in TASKS for mode in MODES for template in TEMPLATES]
    whole = {kind: answers(kind[0], kind[2]) for kind in kinds}
    scorers = {
        kind: Scorer(*kind, evaluation_options(kind[0], {}) if kind[1] == "strict" else {}) for kind in kinds
    }
    formed = 0
    started = time.monotonic()
    for seed in range(count):
        dice = random.Random(seed)
        task, mode, template = kind = dice.choice(kinds)
        response = damaged(dice.choice(whole[kind]), dice)
        try:
            score = scorers[kind].score(response, TARGETS[task], duration=30.0, options=OPTIONS.get(task, ()))
        except Exception as error:
            raise AssertionError(f"seed {seed}, {kind}: {response!r}") from error
        assert all(0.0 <= value <= 1.0 for value in score.rewards.values()), (
            f"seed {seed}, {kind}: {response!r}"
        )
        assert score.parsed == (score.rewards["format"] == 1.0)
        if score.parsed and (mode == "strict" or not SPECS[task].paper):
            formed += 1
            order = layout(list(dict.fromkeys(part.block for part in scorers[kind]._parts)), template)
            assert score.unread is None, f"seed {seed}, {kind}: {response!r}"
            assert find_blocks(response).layout_problem(order) is None, f"seed {seed}, {kind}: {response!r}"
    print(
        f"{count / (time.monotonic() - started):,.0f} answers a second, {formed:,} of {count:,} well-formed"
    )
    assert count / 10 < formed < count
