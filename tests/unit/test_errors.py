"""Errors: each says its reason, its step, and nothing that it was not told."""

from __future__ import annotations

import pytest

from lockgate import errors
from lockgate.errors import AuthenticationFailed, LockgateError, NotAuthorized, Step, in_words


def kinds(kind: type[LockgateError] = LockgateError) -> list[type[LockgateError]]:
    found = [kind]
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            found += kinds(each)
    return found


@pytest.mark.parametrize("kind", kinds())
def test_each_error_has_words_of_its_own_and_a_step(kind: type[LockgateError]) -> None:
    error = kind()
    assert str(error) == error.reason == kind.default_reason
    assert error.step is kind.default_step
    assert (error.fix, error.evidence) == (kind.default_fix, {})


def test_no_two_errors_say_the_same() -> None:
    reasons = [kind.default_reason for kind in kinds()]
    assert len(set(reasons)) == len(reasons) > 10


def test_what_is_given_wins_over_the_defaults_and_the_message_is_not_the_reason() -> None:
    evidence = {"device": "sensor"}
    error = NotAuthorized("a long sentence", reason="short", fix="do this", step=Step.CLIENT_ID, evidence=evidence)
    assert (str(error), error.reason, error.fix, error.step) == ("a long sentence", "short", "do this", Step.CLIENT_ID)
    evidence["device"] = "other"
    assert error.evidence == {"device": "sensor"}


def test_the_steps_stand_in_the_order_of_the_checks() -> None:
    assert list(Step) == ["tcp", "tls", "protocol", "credential", "client-id", "policy", "limit", "hub"]
    assert AuthenticationFailed.default_step is Step.CREDENTIAL
    assert NotAuthorized.default_step is Step.POLICY


def test_a_problem_with_a_file_is_told_in_words_without_its_number() -> None:
    assert in_words(FileNotFoundError(2, "No such file or directory", "x.toml")) == "No such file or directory"
    assert in_words(ValueError("not a number")) == "not a number"
    assert in_words(OSError("closed")) == "closed"
    assert in_words(TimeoutError()) == "TimeoutError"
