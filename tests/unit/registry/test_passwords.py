"""Passwords that people choose: what anybody would try first is refused, and what is hard to guess is taken."""

from __future__ import annotations

import pytest

from lockgate.errors import InvalidSettings
from lockgate.registry.passwords import check_password, guess_bits

KNOWN = ("SN-4711-0815", "north hall")


@pytest.mark.requirement("I2")
@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("admin", "default"),
        ("P@ssw0rd", "default"),
        ("raspberry", "default"),
        ("xc3511", "default"),
        ("kettle-07", "its name"),
        ("70-elttek", "its name"),
        ("SN-4711-0815", "known about it"),
        ("5180-1174-ns", "known about it"),
        ("x9!kQ", "at least 10"),
        ("kettle-07123456", "would be guessed"),
        ("2026kettle-072026!", "would be guessed"),
        ("SN-4711-0815admin", "would be guessed"),
        ("north hall 2026", "would be guessed"),
        ("Passw0rd!Passw0rd!", "would be guessed"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "would be guessed"),
        ("abcdefghijklmnopqrstuvwxyz", "would be guessed"),
        ("121212121212121212", "would be guessed"),
        ("correcthorse", "would be guessed"),
        ("qwertzuiop1234567890", "would be guessed"),
    ],
)
def test_what_somebody_would_guess_is_refused_and_never_repeated(password: str, why: str) -> None:
    with pytest.raises(InvalidSettings, match=why) as caught:
        check_password(password, "kettle-07", KNOWN)
    assert caught.value.fix
    if password not in ("kettle-07", "70-elttek", "admin"):
        assert password not in str(caught.value) + caught.value.fix


@pytest.mark.parametrize(
    "password", ["vJ8#qLw2!zRt", "staple-quartz-violin-meadow-77", "9c1f00e8b4d331735a28980667ad0b36"]
)
def test_what_nobody_guesses_is_taken(password: str) -> None:
    check_password(password, "kettle-07", KNOWN)


def test_known_words_add_nothing() -> None:
    base = "vJ8#qLw2!zRt"
    assert guess_bits(base + "password") == pytest.approx(guess_bits(base), abs=1)
    assert guess_bits("", ()) == 0
    assert guess_bits("ab" + base, ("ab",)) > guess_bits(base) - 1
