"""What a peer showed says who, never what it knows."""

from __future__ import annotations

from lockgate.identity.credentials import Credentials, shown_name
from tests.support.registry import FakeRegistry


def test_a_secret_never_shows_in_a_repr() -> None:
    shown = Credentials("sensor", "sensor", b"very secret", host="192.0.2.1")
    for text in (repr(shown), str(shown), f"{shown}", repr([shown])):
        assert "secret" not in text
        assert "sensor" in text


def test_a_connection_counts_as_protected_unless_a_door_says_otherwise() -> None:
    assert Credentials("sensor").is_protected


def test_a_user_name_that_may_be_a_secret_in_the_wrong_field_shows_its_beginning_alone() -> None:
    registry = FakeRegistry()
    device, removed, password = "d" * 60, "r" * 32, "ca12517c624e9f0d" * 3
    registry.add(device)
    assert shown_name(device, registry) == device
    assert shown_name(removed, registry) == removed, "short enough to be a name that was removed or mistyped"
    assert shown_name(password, registry) == "ca12517c624e…"
