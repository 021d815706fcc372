"""Threat: passwords are guessed until one fits; or wrong guesses are used to shut a device out."""

from __future__ import annotations

import pytest

from lockgate.errors import RateExceeded
from lockgate.identity import Credentials
from tests.attacks.conftest import Target
from tests.support.registry import NOW

ATTACKER, DEVICE = "198.51.100.9", "192.0.2.1"


def guess(target: Target, times: int, host: str = ATTACKER, name: str = "kettle") -> None:
    for number in range(times):
        target.refuses(b"guess %d" % number, name, host=host)


@pytest.mark.requirement("Q9")
def test_guessing_is_stopped_even_when_the_right_one_comes_next(target: Target) -> None:
    guess(target, 10)
    for secret in (b"right", b"wrong"):
        with pytest.raises(RateExceeded) as caught:
            target.shows(secret, "kettle", host=ATTACKER)
        assert caught.value.reason == "too many wrong passwords"


def test_the_attacker_locks_out_nobody_but_himself(target: Target) -> None:
    guess(target, 10)
    assert target.shows(b"right", "kettle", host=DEVICE).device == "kettle"


def test_a_locked_out_guess_is_not_hashed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    guess(target, 10)
    monkeypatch.setattr(target.identity._passwords, "_hasher", None)
    with pytest.raises(RateExceeded):
        target.shows(b"right", "kettle", host=ATTACKER)


def test_the_same_right_password_elsewhere_does_not_clear_the_attackers_count(target: Target) -> None:
    guess(target, 9)
    target.shows(b"right", "kettle", host=DEVICE)
    guess(target, 1)
    with pytest.raises(RateExceeded):
        target.shows(b"right", "kettle", host=ATTACKER)


def test_waiting_between_guesses_does_not_help_within_the_lockout_time(target: Target) -> None:
    for number in range(10):
        shown = Credentials("kettle", "kettle", b"guess", host=ATTACKER)
        with pytest.raises(Exception, match="wrong password"):
            target.identity.authenticate(shown, NOW + 59 * number)
    with pytest.raises(RateExceeded):
        target.identity.authenticate(shown, NOW + 59 * 9 + 59)


def test_unknown_names_are_counted_alike(target: Target) -> None:
    guess(target, 10, name="nobody")
    with pytest.raises(RateExceeded):
        target.shows(b"right", "nobody", host=ATTACKER)


def test_a_client_id_that_changes_with_each_guess_does_not_help(target: Target) -> None:
    for number in range(10):
        target.refuses(b"guess", f"kettle/{number}", host=ATTACKER)
    with pytest.raises(RateExceeded):
        target.shows(b"right", "kettle/x", host=ATTACKER)
