"""Evaluation: one greedy response per held-out prompt, through the same rollout workers that training uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actors.rollout_fleet import RolloutRequest
from cluster.config import RunConfig
from cluster.progress.display import Progress
from cluster.records.eval_records import EvalSample, write_eval_samples
from cluster.runtime.system import System
from data.perception import look_at, named_windows, retime
from data.records import Rollout, SamplingSettings
from data.sampling import Windows
from data.schema import VideoPrompt
from rewards import Score

# Clips held at a time; the references of a chunk keep its clips alive even if the pool lets go of them.
CHUNK = 64


@dataclass(frozen=True)
class Question:
    """A prompt to be answered once."""

    prompt: VideoPrompt
    temperature: float = 0.0
    seed: int = 0


def evaluate(
    config: RunConfig, system: System, prompts: Sequence[VideoPrompt], stage: str, progress: Progress
) -> list[EvalSample]:
    """Answer every held-out prompt greedily and write `eval_<stage>.jsonl`.

    Returns:
        One sample per prompt, in order. A prompt that cannot be used (its clip, its length) has no score and counts 0.
    """
    progress.stage(f"evaluation ({stage.replace('_', ' ')})", total=len(prompts))
    samples: list[EvalSample] = []
    for found in answers(config, system, prompts):
        samples += found
        progress.advance(len(samples))
    write_eval_samples(config.run_dir, stage, samples)
    return samples


def answers(config: RunConfig, system: System, prompts: Sequence[VideoPrompt]) -> Iterator[list[EvalSample]]:
    """Greedy answers to prompts, a chunk after the other, in order; the next one's clips are decoded meanwhile."""
    for start in range(0, len(prompts), CHUNK):
        system.clips.prefetch(prompts[start : start + 2 * CHUNK])
        yield perceive(config, system, [Question(prompt) for prompt in prompts[start : start + CHUNK]])


def perceive(config: RunConfig, system: System, questions: Sequence[Question]) -> list[EvalSample]:
    """One scored response to each question, in order, after as many looks as the configuration wants.

    A question that would be asked again as it was is not: its answer stands. See `data.perception`.
    """
    rounds = config.evaluation.perception_rounds
    if rounds > 1:
        questions = _with_lengths(system, questions)
    looks = [replace(question, prompt=look_at(question.prompt, (), rounds == 1)) for question in questions]
    samples = ask(config, system, looks)
    for number in range(2, rounds + 1):
        closer = [
            replace(question, prompt=look_at(question.prompt, _where_next(sample), number == rounds))
            for question, sample in zip(questions, samples, strict=True)
        ]
        changed = [n for n, look in enumerate(closer) if look != looks[n]]
        again = ask(config, system, [closer[n] for n in changed]) if changed else []
        for n, sample in zip(changed, again, strict=True):
            samples[n] = sample
        looks = closer
    return samples


def ask(config: RunConfig, system: System, questions: Sequence[Question]) -> list[EvalSample]:
    """One scored response to each question, in order."""
    clips = system.clips.request([question.prompt for question in questions])
    requests = [
        RolloutRequest(
            question.prompt,
            system.encoder.prompt_text(question.prompt),
            clip,
            SamplingSettings(1, question.temperature, config.evaluation_tokens, question.seed),
        )
        for question, clip in zip(questions, clips, strict=True)
        if clip is not None
    ]
    rollouts = [_on_video_clock(system, it) for it in system.fleet.gather(system.submit(requests))]
    answered = iter(zip(rollouts, system.rewards.score(rollouts, by_rule=True), strict=True))
    return [
        _unanswered(system, question.prompt) if clip is None else _answered(*next(answered))
        for question, clip in zip(questions, clips, strict=True)
    ]


def _with_lengths(system: System, questions: Sequence[Question]) -> list[Question]:
    """The questions with the lengths of their clips, where the annotations list none and the clips decode."""
    unknown = [question.prompt for question in questions if question.prompt.duration is None]
    clips = zip(unknown, system.clips.request(unknown), strict=True)
    lengths = {prompt.id: system.clips.facts(prompt).duration for prompt, clip in clips if clip is not None}
    return [
        replace(one, prompt=replace(one.prompt, duration=lengths.get(one.prompt.id, one.prompt.duration)))
        for one in questions
    ]


def _where_next(sample: EvalSample) -> Windows:
    """What the answer named; where it names nothing, what was looked at for it."""
    named = named_windows(sample.score.prediction if sample.score else None, sample.prompt.duration)
    return named or sample.prompt.windows


def _on_video_clock(system: System, rollout: Rollout) -> Rollout:
    """A rollout on unevenly spaced frames with the times of its answers on the video's clock."""
    prompt = rollout.prompt
    if not prompt.windows:
        return rollout
    assert prompt.duration, "no part of a clip of unknown length is looked at"
    moments = system.clips.facts(prompt).moments
    responses = [
        replace(response, text=retime(response.text, prompt.task, moments, prompt.duration))
        for response in rollout.responses
    ]
    return replace(rollout, responses=responses, starts_at=0.0)


def _answered(rollout: Rollout, scores: Sequence[Score]) -> EvalSample:
    (response,) = rollout.responses
    tokens = len(response.token_ids)
    return EvalSample(rollout.prompt, response.text, scores[0], tokens, starts_at=rollout.starts_at)


def _unanswered(system: System, prompt: VideoPrompt) -> EvalSample:
    return EvalSample(prompt, "", None, problem=system.clips.problem(prompt))
