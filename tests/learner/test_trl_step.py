"""The comparison with TRL's trainer: its prompt is as long as ours, and its images are seen one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trl")

from benchmarks.learner_setting import VIDEO_TOKEN, Sizes, make_rows, small_config
from benchmarks.trl_step import IMAGE_TOKEN, TrlStep, _with_images

# Three pairs of frames, and text for the rest.
SIZES = Sizes(prompt=3 * 64 + 40, response=5, group=2)


def test_the_trainer_takes_a_step_on_a_prompt_of_the_same_length(tmp_path: Path) -> None:
    rows = make_rows(small_config(), SIZES)
    theirs = TrlStep(rows, str(tmp_path))
    assert theirs.step() > 0
    # The clip's pixels once per row, as three images.
    assert theirs.tower_calls == SIZES.group
    tokens = _with_images(rows[0].prompt.token_ids, 3)
    assert len(tokens) == SIZES.prompt
    assert tokens.count(IMAGE_TOKEN) == rows[0].prompt.num_video_tokens and VIDEO_TOKEN not in tokens
    assert sum(a == IMAGE_TOKEN != b for a, b in zip(tokens, [*tokens[1:], 0], strict=True)) == 3


def test_a_prompt_without_enough_text_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot part 3 images"):
        _with_images([10, *[VIDEO_TOKEN] * 6], 3)
