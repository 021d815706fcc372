"""Wrong passwords are counted per address and device; the count is forgiven, ends, and is bounded."""

from __future__ import annotations

import pytest

from lockgate.errors import RateExceeded
from lockgate.identity import lockout as room
from lockgate.identity.lockout import Lockout
from lockgate.settings import IdentitySettings
from tests.support.registry import NOW, FakeRegistry

HOST = "192.0.2.1"


@pytest.fixture
def lockout() -> Lockout:
    return Lockout(FakeRegistry(), IdentitySettings(wrong_passwords_before_lockout=3, lockout_seconds=60))


def wrong(lockout: Lockout, times: int, now: float = NOW, host: str = HOST, name: str = "kettle") -> None:
    for _ in range(times):
        lockout.check(host, name, now)
        lockout.count_wrong(host, name, now)


def test_the_third_wrong_password_is_the_last_from_there_for_this_device(lockout: Lockout) -> None:
    wrong(lockout, 3)
    with pytest.raises(RateExceeded, match="3 wrong passwords for 'kettle' from"):
        lockout.check(HOST, "kettle", NOW + 59)
    lockout.check("192.0.2.2", "kettle", NOW)
    lockout.check(HOST, "lamp", NOW)


def test_the_addresses_of_one_ipv6_network_count_as_one(lockout: Lockout) -> None:
    for number in range(3):
        wrong(lockout, 1, host=f"2001:db8::{number}")
    with pytest.raises(RateExceeded):
        lockout.check("2001:db8::ffff", "kettle", NOW)


def test_the_lockout_ends_and_the_count_begins_anew(lockout: Lockout) -> None:
    wrong(lockout, 3)
    wrong(lockout, 2, NOW + 60)
    lockout.check(HOST, "kettle", NOW + 60)


def test_what_is_forgotten_begins_anew(lockout: Lockout) -> None:
    wrong(lockout, 2)
    lockout.forget(HOST, "kettle")
    lockout.forget(HOST, "kettle")
    wrong(lockout, 2)
    lockout.check(HOST, "kettle", NOW)


def test_the_watch_list_is_bounded_in_entries_and_in_the_length_of_names(
    lockout: Lockout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_WATCHED", 2)
    for name in ("a", "b", "c" * 60_000):
        wrong(lockout, 1, name=name)
    assert list(lockout._wrong) == [(HOST, "b"), (HOST, "c" * 64)]
