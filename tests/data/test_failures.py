"""Failure reports name the actor that failed, survive pickling and end with advice."""

from __future__ import annotations

import pickle

from data.failures import LAST_WORDS_LINES, ActorFailure, describe_failure, last_words, missed_deadline


def test_a_failure_survives_the_way_between_processes() -> None:
    failure = pickle.loads(pickle.dumps(ActorFailure("rollout-1", "sampling", "boom", "resume")))
    assert (failure.name, failure.what, failure.last_words, failure.advice) == (
        "rollout-1",
        "sampling",
        "boom",
        "resume",
    )


def test_the_message_has_name_last_words_and_advice() -> None:
    assert str(ActorFailure("rollout-1", "sampling", "line one\nline two", "Resume it.")) == (
        "rollout-1 failed while sampling.\n  | line one\n  | line two\nResume it."
    )


def test_long_tracebacks_are_cut_to_their_end() -> None:
    text = last_words(ValueError("\n".join(f"line {number}" for number in range(50))))
    assert text.splitlines() == [f"line {number}" for number in range(50 - LAST_WORDS_LINES, 50)]


def test_an_error_without_text_is_named_by_its_type() -> None:
    assert last_words(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_the_failure_of_another_actor_is_passed_on() -> None:
    """The learner raises what the rollout worker's death gave it; Ray hangs it on `cause`."""
    origin = ActorFailure("rollout-1", "receiving weights", "killed")
    relayed = RuntimeError("the task failed")
    relayed.cause = origin  # type: ignore[attr-defined]
    assert describe_failure("learner-0", "sending weights", relayed) is origin
    assert describe_failure("learner-0", "sending weights", origin) is origin
    assert describe_failure("learner-0", "training", ValueError("boom")).name == "learner-0"


def test_a_missed_deadline_says_how_long_was_waited() -> None:
    assert "no answer within 2.5 s" in str(missed_deadline("reward-0", "scoring", 2.5))
