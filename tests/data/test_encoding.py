"""Both engines are given the same prompt: tokens, pixels, grid and position ids, for clips of any shape and rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoProcessor
from transformers.video_utils import VideoMetadata

from data.encoding import VideoEncoder, video_metadata, vllm_request
from data.sampling import SamplingContract
from data.schema import VISION_TOKENS, Task, VideoPrompt
from data.video import Clip, decode_clip
from tests.videos import write_video

CONTRACT = SamplingContract()
# Frames in the file, frames per second, width, height, and box frames: sampled fps from 0.67 to 7.
SOURCES = (
    (64, 8.0, 112, 112, ()),
    (93, 10.0, 140, 112, ()),
    (18, 12.0, 178, 130, ()),
    (50, 2.5, 96, 200, ()),
    (60, 25.0, 64, 64, ()),
    (60, 30.0, 112, 112, (0, 3, 7, 11, 16, 22, 29, 30)),
    (121, 10.0, 112, 112, (0, 15, 31, 46, 60, 77, 90, 105)),
)


def make_prompt(question: str = "a red circle is visible") -> VideoPrompt:
    return VideoPrompt("p", Task.TEMPORAL_GROUNDING, "x.mp4", question, {"interval": [1.0, 2.0]}, 8.0)


@pytest.fixture(scope="session")
def encoder(tiny_policy: Path) -> VideoEncoder:
    return VideoEncoder(tiny_policy, CONTRACT)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for number, (frames, fps, width, height, box_frames) in enumerate(SOURCES):
        path = write_video(folder / f"{number}.mp4", frames, fps, width, height)
        made.append(decode_clip(str(path), CONTRACT, box_frames))
    return made


@pytest.fixture(scope="module")
def serve(tiny_policy: Path) -> Any:
    """vLLM's own processing of a request, without an engine: dtype and request to processed inputs."""
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY
    from vllm.multimodal.parse import parse_mm_uuids

    processors: dict[str, Any] = {}

    def process(dtype: Any, request: dict[str, Any]) -> Any:
        if dtype not in processors:
            model = ModelConfig(
                model=str(tiny_policy),
                dtype=dtype,
                max_model_len=4096,
                limit_mm_per_prompt={"video": 1, "image": 0},
            )
            processors[dtype] = MULTIMODAL_REGISTRY.create_processor(model)
        processor = processors[dtype]
        return processor(
            request["prompt"],
            processor.info.parse_mm_data(request["multi_modal_data"]),
            parse_mm_uuids(request["multi_modal_uuids"]),
            hf_processor_mm_kwargs=request["mm_processor_kwargs"],
        )

    return process


def vllm_position_ids(config: Any, processed: Any) -> torch.Tensor:
    from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration as Served

    model: Any = SimpleNamespace(config=config)
    model.iter_mm_grid_thw = MethodType(Served.iter_mm_grid_thw, model)
    (item,), (place,) = processed["mm_kwargs"]["video"], processed["mm_placeholders"]["video"]
    feature: Any = SimpleNamespace(modality="video", mm_position=place, data=item)
    positions, _ = Served.get_mrope_input_positions(model, processed["prompt_token_ids"], [feature])
    return positions


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_vllm_sees_what_the_learner_sees(
    tiny_policy: Path, encoder: VideoEncoder, clips: list[Clip], serve: Any, number: int, dtype: str
) -> None:
    prompt, clip = make_prompt(), clips[number]
    encoded = encoder.encode(prompt, clip)
    processed = serve(dtype, vllm_request(clip, encoder.prompt_text(prompt)))
    (item,) = processed["mm_kwargs"]["video"]
    assert processed["prompt_token_ids"] == encoded.token_ids
    assert item["video_grid_thw"].data.tolist() == encoded.video_grid_thw[0].tolist()
    assert item["second_per_grid_ts"].data.item() == encoded.second_per_grid_ts
    config = AutoConfig.from_pretrained(tiny_policy)
    assert torch.equal(vllm_position_ids(config, processed), encoded.position_ids)
    # vLLM normalises on the device: what it carries are the clip's own pixels.
    video_processor = encoder._processor.video_processor
    normalised = video_processor.rescale_and_normalize(
        item["pixel_values_videos"].data.reshape(-1, 3, 2 * 14, 14),
        True,
        1 / 255,
        True,
        video_processor.image_mean,
        video_processor.image_std,
    )
    assert torch.allclose(normalised.reshape(-1, 1176), encoded.pixel_values_videos, atol=1e-6)


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_encoding_is_what_transformers_processor_gives(
    tiny_policy: Path, encoder: VideoEncoder, clips: list[Clip], number: int
) -> None:
    clip = clips[number]
    encoded = encoder.encode(make_prompt(), clip)
    whole = AutoProcessor.from_pretrained(tiny_policy)(
        text=encoder.prompt_text(make_prompt()),
        videos=[clip.frames],
        video_metadata=[VideoMetadata(**video_metadata(clip))],
        videos_kwargs={"do_resize": False},
        return_tensors="pt",
    )
    assert whole["input_ids"][0].tolist() == encoded.token_ids
    assert torch.equal(whole["pixel_values_videos"], encoded.pixel_values_videos)
    assert torch.equal(whole["video_grid_thw"], encoded.video_grid_thw)
    assert whole["second_per_grid_ts"].item() == encoded.second_per_grid_ts
    assert encoded.token_ids.count(encoder.video_token_id) == encoded.num_video_tokens


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_frames_are_not_resized_or_timed_anew(encoder: VideoEncoder, clips: list[Clip], number: int) -> None:
    clip = clips[number]
    encoded = encoder.encode(make_prompt(), clip)
    frames, height, width, _ = clip.frames.shape
    assert encoded.video_grid_thw.tolist() == [[frames // 2, height // 14, width // 14]]
    assert encoded.pixel_values_videos.shape == (frames // 2 * height // 14 * width // 14, 1176)
    assert encoded.pixel_values_videos.dtype == torch.float32
    # bfloat16 keeps 8 bits.
    assert encoded.second_per_grid_ts == pytest.approx(2 / clip.sampled_fps, rel=2**-8)


def test_a_rate_dropped_on_one_side_gives_other_position_ids(
    tiny_policy: Path, encoder: VideoEncoder, clips: list[Clip], serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its metadata a clip would be taken for one of 24 frames per second."""
    clip, config = clips[0], AutoConfig.from_pretrained(tiny_policy)
    encoded = encoder.encode(make_prompt(), clip)

    def without_rate(clip: Clip) -> dict[str, Any]:
        return video_metadata(clip) | {"fps": None}

    monkeypatch.setattr("data.encoding.video_metadata", without_rate)
    processed = serve("float32", vllm_request(clip, encoder.prompt_text(make_prompt())))
    assert processed["prompt_token_ids"] == encoded.token_ids
    assert not torch.equal(vllm_position_ids(config, processed), encoded.position_ids)


def test_vllm_tells_clips_apart_by_their_digest_alone(
    encoder: VideoEncoder, clips: list[Clip], serve: Any
) -> None:
    def name(clip: Clip) -> str:
        processed = serve("float32", vllm_request(clip, encoder.prompt_text(make_prompt())))
        return processed["mm_hashes"]["video"][0]

    clip = clips[0]
    assert name(clip) == name(replace(clip, frames=np.zeros_like(clip.frames)))
    assert name(clip) != name(replace(clip, digest="other"))


def test_frames_in_the_object_store_may_be_read_only(encoder: VideoEncoder, clips: list[Clip]) -> None:
    frames = clips[0].frames.copy()
    frames.flags.writeable = False
    encoded = encoder.encode(make_prompt(), replace(clips[0], frames=frames))
    assert torch.equal(
        encoded.pixel_values_videos, encoder.encode(make_prompt(), clips[0]).pixel_values_videos
    )


def test_prompt_is_one_user_turn_with_the_text_before_the_video(encoder: VideoEncoder) -> None:
    text = encoder.prompt_text(make_prompt())
    assert text.count("<|im_start|>user") == 1
    assert text.index("a red circle is visible") < text.index("<|vision_start|><|video_pad|><|vision_end|>")
    assert text.rstrip().endswith("<|im_start|>assistant")


def test_a_question_with_a_placeholder_of_its_own_is_refused(
    encoder: VideoEncoder, clips: list[Clip]
) -> None:
    with pytest.raises(ValueError, match="'p' has 2 video placeholders"):
        encoder.encode(make_prompt("a <|video_pad|> is visible"), clips[0])


def test_vision_tokens_are_banned(encoder: VideoEncoder) -> None:
    tokens = encoder._processor.tokenizer.convert_ids_to_tokens(encoder.banned_token_ids)
    assert sorted(tokens) == sorted(VISION_TOKENS)
    assert encoder.video_token_id in encoder.banned_token_ids


def test_a_contract_of_other_patches_is_refused(tiny_policy: Path) -> None:
    with pytest.raises(ValueError, match="merge_size 2, the sampling contract 4"):
        VideoEncoder(tiny_policy, SamplingContract(merge_size=4))
