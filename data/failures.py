"""How a failed actor is reported: who, doing what, its last words, and what to do about it."""

from __future__ import annotations

LAST_WORDS_LINES = 15


class ActorFailure(RuntimeError):
    """An actor died, raised or did not answer in time.

    Attributes:
        name: The actor's name.
        what: What it was doing, as a phrase: `receiving weights`.
        last_words: End of its traceback, or why Ray says its process ended.
        advice: What the reader can do.
    """

    def __init__(self, name: str, what: str, last_words: str, advice: str = "") -> None:
        # All arguments go to the base class: an exception is pickled by its args when it crosses to another process.
        super().__init__(name, what, last_words, advice)
        self.name, self.what, self.last_words, self.advice = name, what, last_words, advice

    def __str__(self) -> str:
        lines = [f"{self.name} failed while {self.what}."]
        lines += [f"  | {line}" for line in self.last_words.splitlines()]
        return "\n".join([*lines, *([self.advice] if self.advice else [])])


def describe_failure(name: str, what: str, error: BaseException, advice: str = "") -> ActorFailure:
    """Turn an actor's exception into an `ActorFailure`.

    An exception that carries the failure of another actor (the learner was told that a rollout worker died) names that
    other actor: it is where to look.
    """
    origin = getattr(error, "cause", None)
    if isinstance(origin, ActorFailure):
        return origin
    if isinstance(error, ActorFailure):
        return error
    return ActorFailure(name, what, last_words(error), advice)


def missed_deadline(name: str, what: str, deadline_s: float, advice: str = "") -> ActorFailure:
    """The failure of an actor that did not answer within `deadline_s` seconds."""
    return ActorFailure(name, what, f"no answer within {deadline_s:g} s", advice)


def last_words(error: BaseException) -> str:
    """The last lines of an error's text; its type where it has none."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return "\n".join(lines[-LAST_WORDS_LINES:]) or type(error).__name__
