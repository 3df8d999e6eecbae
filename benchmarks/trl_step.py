"""The learner's step against TRL's: `python -m benchmarks.trl_step --prompt-tokens 2048 --group-size 8`.

TRL's GRPOTrainer takes images, no video, so its prompt holds as many images as our clip has pairs of frames, each of
the same 64 tokens. Model, group, optimizer and threads are the same; what is timed is loss, backward and update, with
entropies on both sides, from given responses. TRL's side is as users have it, with transformers' attention in the
vision tower, one call per window; `benchmarks.learner` compares with ours on both sides. TRL is in the `dev` extra.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: its own folder, which has a `learner` of its own, gives way to the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any

import torch
import typer
from datasets import Dataset
from rich.console import Console
from torch import Tensor
from transformers import Qwen2_5_VLProcessor
from trl import GRPOConfig, GRPOTrainer

from benchmarks.learner_setting import SIDE, SPECIAL, VIDEO_TOKEN, Policy, Sizes, small_config
from benchmarks.learner_ways import SHARED, Subject
from data.sampling import SamplingContract
from learner.rows import Row
from learner.tiny_policy import build_tiny_policy

IMAGE_TOKEN = SPECIAL["image_token_id"]


class TrlStep:
    """A GRPOTrainer that is handed its batch."""

    def __init__(self, rows: Sequence[Row], folder: str) -> None:
        model = Policy(small_config()).build()
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=len(rows),
            num_generations=len(rows),
            max_completion_length=len(rows[0].response),
            beta=0.0,
            report_to="none",
        )
        self._trainer = GRPOTrainer(
            model=model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=config,
            train_dataset=Dataset.from_list([{"prompt": "what?"}]),
            processing_class=_processor(folder),
        )
        self._trainer.current_gradient_accumulation_steps = 1
        self._model = model
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
        self._inputs = _inputs(rows)
        self.tower_calls = 0
        model.model.visual.patch_embed.register_forward_hook(self._count)

    def step(self) -> float:
        """Seconds of one optimizer step."""
        began = time.perf_counter()
        self._optimizer.zero_grad()
        self._trainer._compute_loss(self._model, dict(self._inputs)).backward()
        self._optimizer.step()
        return time.perf_counter() - began

    def _count(self, _module: Any, inputs: tuple[Tensor], _output: Tensor) -> None:
        self.tower_calls += len(inputs[0]) // (
            len(self._inputs["pixel_values"]) // len(self._inputs["prompt_ids"])
        )


def _inputs(rows: Sequence[Row]) -> dict[str, Any]:
    """What `_generate_and_score_completions` hands to the loss."""
    prompt, count = rows[0].prompt, len(rows)
    images = int(prompt.video_grid_thw[0, 0])
    tokens = torch.tensor(_with_images(prompt.token_ids, images))
    responses = torch.tensor([row.response for row in rows])
    types = torch.cat([(tokens == IMAGE_TOKEN).long().expand(count, -1), torch.zeros_like(responses)], dim=1)
    return {
        "prompt_ids": tokens.expand(count, -1),
        "prompt_mask": torch.ones(count, len(tokens), dtype=torch.long),
        "completion_ids": responses,
        "completion_mask": torch.ones_like(responses),
        "old_per_token_logps": torch.tensor([row.rollout_logprobs for row in rows]),
        "advantages": torch.tensor([row.advantage for row in rows]),
        "num_items_in_batch": torch.tensor(responses.numel()),
        "pixel_values": prompt.pixel_values_videos.repeat(count, 1),
        "image_grid_thw": torch.tensor([[1, SIDE, SIDE]]).repeat(images * count, 1),
        "num_images": [images] * count,
        "mm_token_type_ids": types,
    }


def _with_images(token_ids: Sequence[int], images: int) -> list[int]:
    """The prompt's tokens with images in place of the clip, a token of its text before each: the architecture takes
    images that touch for one.

    Raises:
        ValueError: it has less text than images.
    """
    text = [token for token in token_ids if token != VIDEO_TOKEN]
    if len(text) < images:
        raise ValueError(f"a prompt of {len(text)} text tokens cannot part {images} images")
    of_one = (len(token_ids) - len(text)) // images
    apart = [[before, *[IMAGE_TOKEN] * of_one] for before in text[:images]]
    return [*chain.from_iterable(apart), *text[images:]]


def _processor(folder: str) -> Qwen2_5_VLProcessor:
    """Some processor of the architecture; the batch is tokenized already."""
    path = build_tiny_policy(f"{folder}/tiny", contract=SamplingContract())
    return Qwen2_5_VLProcessor.from_pretrained(path, trust_remote_code=False)


def main(
    prompt_tokens: Annotated[
        int, typer.Option(help="P, prompt tokens, those of the images included.")
    ] = 2048,
    response_tokens: Annotated[int, typer.Option(help="R, tokens of each response.")] = 128,
    group_size: Annotated[int, typer.Option(help="G, responses to the prompt.")] = 8,
    repeats: Annotated[int, typer.Option(help="Steps of each; the median counts.")] = 3,
    threads: Annotated[int, typer.Option(help="Torch threads.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Compare one optimizer step with TRL's."""
    torch.set_num_threads(threads)
    ours = Subject(SHARED, Policy(small_config()), Sizes(prompt_tokens, response_tokens, group_size))
    with tempfile.TemporaryDirectory() as folder:
        theirs = TrlStep(ours.rows, folder)
        theirs.step(), ours.step()
        rounds = [(theirs.step(), ours.step()) for _ in range(repeats)]
    trl, mine = (statistics.median(each) for each in zip(*rounds, strict=True))
    console = Console()
    console.print(f"TRL {trl:.2f} s, shared prefix {mine:.2f} s: {trl / mine:.2f} x faster")
    if as_json:
        print(json.dumps({"trl_seconds": trl, "seconds": mine, "speedup": trl / mine}))


if __name__ == "__main__":
    typer.run(main)
