"""What the supervised stage is trained on: demonstrations for prompts, drawn as GRPO draws its prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cluster.config import RunConfig
from cluster.inputs.clips import take_usable
from cluster.inputs.prompt_mix import PromptMix
from cluster.inputs.prompts import PromptSet, prompt_style_of
from cluster.runtime.system import System
from data.clock import on_policy_clock
from data.demonstrations import answer
from data.records import TrainSample
from data.schema import VideoPrompt
from data.synthetic import Scene


class DemonstrationBatches:
    """Batches of demonstrations, drawn as GRPO draws its prompts."""

    def __init__(self, config: RunConfig, system: System, prompts: PromptSet) -> None:
        self._system, self._scenes = system, prompts.scenes
        self._style = prompt_style_of(config)
        self._mix = PromptMix(prompts.mix, config.run.seed, config.data.batches == "by_task")
        self._size, self._prefetch = config.cold_start.batch_size, config.data.prefetch
        self._step = 0

    def next(self, write: Callable[[Scene, VideoPrompt], str]) -> list[TrainSample]:
        """The next batch; prompts that cannot be used are passed over.

        Args:
            write: The response to a scene's prompt; one without a scene is given its annotated answer.
        """
        self._step += 1
        clips = self._system.clips
        clips.prefetch(self._coming())
        found = take_usable(partial(self._mix.draw, self._step), clips, self._size, self._mix.size)
        return [self._sample(one.prompt, clip, write) for one, clip in found if clip is not None]

    def state_dict(self) -> dict[str, Any]:
        """How far they are; JSON."""
        return {"step": self._step, "mix": self._mix.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._step = state["step"]
        self._mix.load_state_dict(state["mix"])

    def _sample(
        self, prompt: VideoPrompt, clip: Any, write: Callable[[Scene, VideoPrompt], str]
    ) -> TrainSample:
        """With the prompt's tokens, by which ranks share the work."""
        encoder, facts = self._system.encoder, self._system.clips.facts(prompt)
        seen = on_policy_clock(prompt, facts.starts_at)
        prompt_ids = encoder.prompt_ids(prompt, facts.tokens)
        return TrainSample(prompt, prompt_ids, encoder.response_ids(self._response(seen, write)), clip)

    def _response(self, prompt: VideoPrompt, write: Callable[[Scene, VideoPrompt], str]) -> str:
        scene = self._scenes.get(prompt.id)
        return answer(prompt, self._style) if scene is None else write(scene, prompt)

    def _coming(self) -> list[VideoPrompt]:
        """The prompts of this step and of those decoded ahead."""
        before = self._mix.state_dict()
        steps = range(self._step, self._step + 1 + self._prefetch)
        drawn = [draw.prompt for step in steps for draw in self._mix.draw(step, self._size)]
        self._mix.load_state_dict(before)
        return drawn
