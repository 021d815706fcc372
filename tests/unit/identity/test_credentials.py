"""What a peer showed says who, never what it knows."""

from __future__ import annotations

from lockgate.identity.credentials import Credentials


def test_a_secret_never_shows_in_a_repr() -> None:
    shown = Credentials("sensor", "sensor", b"very secret", host="192.0.2.1")
    for text in (repr(shown), str(shown), f"{shown}", repr([shown])):
        assert "secret" not in text
        assert "sensor" in text


def test_a_connection_counts_as_protected_unless_a_door_says_otherwise() -> None:
    assert Credentials("sensor").is_protected
