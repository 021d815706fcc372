"""Refusals: references that can be read out, runs that count, and a bound that holds."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import AuthenticationFailed, NotAuthorized, Step
from lockgate.model.refusal import Refusal
from lockgate.registry.refusals import MAX_TEXT, RUNS_PER_SOURCE, RefusalLog, as_reference, new_reference
from tests.support.registry import recent

WRONG = AuthenticationFailed("wrong password", reason="wrong", fix="use the right one", evidence={"user": "d"})


def note(log: RefusalLog, now: float = 0.0, address: str = "192.0.2.1", device: str = "d") -> str:
    return log.note(WRONG, door="mqtt", address=address, now=now, device=device, client_id="c")


def test_a_reference_can_be_read_out_and_does_not_repeat() -> None:
    references = {new_reference() for _ in range(1000)}
    assert len(references) == 1000
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", one) for one in references)


@pytest.mark.parametrize("typed", ["K0Q1-9XMD", "k0q1-9xmd", " koqi9xmd ", "KOQL 9XMD"])
def test_a_reference_is_found_however_it_was_typed(typed: str) -> None:
    assert as_reference(typed) == "K0Q1-9XMD"


def test_a_refusal_is_remembered_with_all_that_is_known() -> None:
    log = RefusalLog()
    reference = log.note(
        WRONG, door="mqtt", address="::1", now=5.0, device="d", client_id="c", is_verified=True, evidence={"more": "x"}
    )
    (one,) = recent(log)
    assert (one.reference, one.at, one.step, one.reason) == (reference, 5.0, Step.CREDENTIAL, "wrong")
    assert (one.message, one.fix, one.door, one.address) == ("wrong password", "use the right one", "mqtt", "::1")
    assert (one.device, one.client_id, one.is_verified, one.count) == ("d", "c", True, 1)
    assert one.evidence == {"user": "d", "more": "x"}


def test_like_refusals_in_a_run_share_a_reference_and_are_counted() -> None:
    log = RefusalLog(window_seconds=60)
    assert note(log, 0.0) == note(log, 50.0) == note(log, 110.0)
    assert [(one.count, one.at) for one in recent(log)] == [(3, 110.0)]


def test_after_the_window_a_new_run_begins_and_the_old_one_stays() -> None:
    log = RefusalLog(window_seconds=60)
    first, second = note(log, 0.0), note(log, 60.5)
    assert first != second
    assert [one.reference for one in recent(log)] == [second, first]
    assert [one.reference for one in log.drain()] == [first, second]


def test_another_address_step_reason_device_or_fix_is_another_refusal() -> None:
    log = RefusalLog()
    references = {
        note(log),
        note(log, address="192.0.2.2"),
        note(log, device="e"),
        log.note(NotAuthorized(reason="wrong"), door="mqtt", address="192.0.2.1", now=0.0, device="d", client_id="c"),
        log.note(AuthenticationFailed(), door="mqtt", address="192.0.2.1", now=0.0, device="d", client_id="c"),
        log.note(
            AuthenticationFailed(reason="wrong", fix="another"),
            door="mqtt",
            address="192.0.2.1",
            now=0.0,
            device="d",
            client_id="c",
        ),
    }
    assert len(references) == len(log) == 6


def test_an_address_that_claims_ever_new_names_soon_shares_one_reference() -> None:
    log = RefusalLog()
    for number in range(1000):
        note(log, device=f"d{number}")
    assert len(log) == RUNS_PER_SOURCE + 1
    assert recent(log)[0].count == 1000 - RUNS_PER_SOURCE
    assert recent(log)[0].device == "d999"


def test_names_claimed_long_ago_make_room_for_new_ones() -> None:
    log = RefusalLog(window_seconds=60)
    for number in range(RUNS_PER_SOURCE):
        note(log, 0.0, device=f"old{number}")
    references = {note(log, 100.0, device=f"new{number}") for number in range(RUNS_PER_SOURCE)}
    assert len(references) == RUNS_PER_SOURCE


def test_drain_gives_each_change_once() -> None:
    log = RefusalLog()
    note(log)
    assert [one.count for one in log.drain()] == [1]
    assert log.drain() == []
    note(log)
    note(log)
    assert [one.count for one in log.drain()] == [3]


def test_a_flood_from_random_addresses_stays_within_the_bound() -> None:
    log = RefusalLog(max_refusals=100)
    for number in range(5000):
        note(log, now=float(number), address=f"2001:db8::{number:x}")
    assert len(log) == len(recent(log)) == len(log.drain()) == 100
    assert log.overwritten == 4900
    assert len(log._runs) == 100
    assert recent(log)[0].at == 4999.0


def test_long_claims_are_cut() -> None:
    log = RefusalLog()
    note(log, device="x" * 100_000)
    assert len(recent(log)[0].device) == MAX_TEXT


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 40)), max_size=80))
def test_whatever_comes_every_refusal_is_counted_once_and_memory_is_bounded(
    steps: list[tuple[int, int, int]],
) -> None:
    log, now, stored = RefusalLog(max_refusals=5, window_seconds=60), 0.0, {}
    for address, device, pause in steps:
        now += pause
        reference = note(log, now, str(address), f"d{device}")
        assert recent(log)[0].reference == reference
        stored.update({one.reference: one for one in log.drain()})
        assert len(log) <= 5
        assert sum(len(runs) for runs in log._runs.values()) <= 5
        assert all(log._runs.values())
    assert sum(one.count for one in stored.values()) == len(steps)


def test_text_that_has_no_utf_8_can_be_stored_all_the_same() -> None:
    log = RefusalLog()
    odd = AuthenticationFailed("a\udcff", reason="wrong", fix="b\ud800", evidence={"path": "c\udcfe"})
    log.note(odd, door="mqtt", address="::1", now=0.0, device="d\udcff", client_id="e\udcff")
    (one,) = recent(log)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Refusal) == one
    assert (one.message, one.evidence) == ("a\\udcff", {"path": "c\\udcfe"})
