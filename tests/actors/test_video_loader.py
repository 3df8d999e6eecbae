"""A loader without Ray: what its report says beside the clip."""

from __future__ import annotations

from pathlib import Path

from actors.video_loader import VideoLoader
from data.sampling import SamplingContract
from data.schema import Task, VideoPrompt
from tests.videos import write_video


def test_windows_reach_the_decoder_and_the_report_says_where_frames_are(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "x.mp4", frames=64))
    target = {"interval": [1.0, 2.0]}
    usual = VideoPrompt("p", Task.TEMPORAL_GROUNDING, path, "it", target, 8.0)
    closer = VideoPrompt("p", Task.TEMPORAL_GROUNDING, path, "it", target, 8.0, windows=((2.0, 4.0),))
    loader = VideoLoader(SamplingContract(), 20.0)
    # As the pool calls it: the key of a clip is the loader's arguments.
    (even_report, even), (report, clip) = (loader.load(*prompt.clip_key) for prompt in (usual, closer))
    loader.shutdown()
    assert even is not None and clip is not None
    assert even.frame_indices != clip.frame_indices and even.digest != clip.digest
    assert (even_report.moments, report.moments) == (even.moments, clip.moments)
    assert even_report.tokens == report.tokens


def test_the_report_tells_how_long_the_clip_is_whatever_its_annotation_says(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "x.mp4", frames=64))
    gone = str(tmp_path / "gone.mp4")
    loader = VideoLoader(SamplingContract(), 20.0)
    whole, part, none = (loader.load(*request)[0] for request in ((path,), (path, (), (5.0, 90.0)), (gone,)))
    loader.shutdown()
    assert (whole.duration, part.duration, none.duration) == (8.0, 3.0, 0.0)
