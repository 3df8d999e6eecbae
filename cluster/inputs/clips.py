"""Which prompts can be used: the clip decodes, holds the answer's times, and is not too long for the engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from actors.clip_pool import ClipPool
from actors.video_loader import LoadReport
from cluster.errors import RunFailure
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.prompt_mix import Draw
from data.encoding import VideoEncoder
from data.schema import VideoPrompt, decoded_problem

# Named one by one; the display and `facts.json` are no place for thousands.
MOST_NAMED = 20


class UsableClips:
    """The clips of prompts, None in place of a prompt that cannot be used. Each of those is named once.

    Args:
        files: Renders those that are rendered.
        pool: Decodes the clips.
        encoder: Counts the tokens of the texts.
        max_prompt_tokens: Longest prompt that is used, video included.
        warn: Told about what is passed over.
    """

    def __init__(
        self,
        files: ClipFiles,
        pool: ClipPool,
        encoder: VideoEncoder,
        max_prompt_tokens: int,
        warn: Callable[[str], None],
    ) -> None:
        self._files = files
        self._pool, self._encoder = pool, encoder
        self._max_prompt_tokens = max_prompt_tokens
        self._warn = warn
        self._named: set[str] = set()

    def prefetch(self, prompts: Iterable[VideoPrompt]) -> None:
        """Start decoding the clips that are there; see `ClipPool.prefetch`."""
        self._pool.prefetch(prompt for prompt in prompts if self._files.is_there(prompt.video))

    def request(self, prompts: Iterable[VideoPrompt]) -> list[Any]:
        """A reference of each prompt's decoded clip, or None, in order; waits for those not decoded yet.

        Raises:
            RunFailure: a clip cannot be rendered.
            ActorFailure: a loader died or does not answer.
        """
        prompts = list(prompts)
        self._files.require(prompt.video for prompt in prompts)
        clips = self._pool.request(prompts)
        return [
            None if self._pass_over(prompt) else clip for prompt, clip in zip(prompts, clips, strict=True)
        ]

    def problem(self, prompt: VideoPrompt) -> str | None:
        """Why a prompt that was requested cannot be used, or None."""
        broken = self._pool.problem(prompt)
        if broken is not None:
            return f"{prompt.video}: {broken}"
        facts = self._pool.facts(prompt)
        outside = decoded_problem(prompt, facts.duration, facts.box_times, facts.starts_at)
        if outside is not None:
            return f"prompt {prompt.id}: {outside}"
        tokens = self._encoder.text_tokens(prompt) + facts.tokens
        if tokens > self._max_prompt_tokens:
            allowed = f"rollout.max_prompt_tokens allows {self._max_prompt_tokens}"
            return f"prompt {prompt.id}: {tokens} tokens with its clip, {allowed}"
        return None

    def facts(self, prompt: VideoPrompt) -> LoadReport:
        """See `ClipPool.facts`."""
        return self._pool.facts(prompt)

    def metrics(self) -> dict[str, float]:
        """The pool's counters."""
        return self._pool.metrics()

    def _pass_over(self, prompt: VideoPrompt) -> bool:
        problem = self.problem(prompt)
        if problem is not None and problem not in self._named:
            self._named.add(problem)
            if len(self._named) <= MOST_NAMED:
                self._warn(f"skipped {problem}")
            elif len(self._named) == MOST_NAMED + 1:
                self._warn("more prompts are skipped than are named here; metrics.jsonl counts them all")
        return problem is not None


def take_usable(
    draw: Callable[[int], Sequence[Draw]], clips: UsableClips, count: int, most: int
) -> list[tuple[Draw, Any]]:
    """Draw prompts until `count` of them can be used.

    Args:
        draw: Draws so many prompts.
        most: Unusable prompts in a row after which there is no use in going on: all there are.

    Returns:
        Every draw with its clip; the clip is None where the prompt cannot be used.

    Raises:
        RunFailure: so many in a row cannot be used.
        ActorFailure: a loader died or does not answer.
    """
    taken: list[tuple[Draw, Any]] = []
    found = unusable = 0
    while found < count:
        drawn = draw(count - found)
        for one, clip in zip(drawn, clips.request(one.prompt for one in drawn), strict=True):
            taken.append((one, clip))
            found, unusable = (found, unusable + 1) if clip is None else (found + 1, 0)
        if unusable >= most:
            raise RunFailure(
                f"None of the {most} training prompts can be used; the last one's reason: "
                f"{clips.problem(drawn[-1].prompt)}"
            )
    return taken
