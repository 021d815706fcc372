"""Timers come when they are due, once, and the latest word on a moment is the one that counts."""

from __future__ import annotations

import math

from lockgate.hub.timers import SPARE_ENTRIES, Moment, Timers, proof_ended
from lockgate.model.principal import Principal
from tests.unit.hub.test_trie import session


def test_moments_come_in_their_order_and_once() -> None:
    timers, one, two = Timers(), session("one"), session("two")
    timers.add(20.0, Moment.SESSION_EXPIRES, one)
    timers.add(10.0, Moment.WILL_GOES_OUT, one)
    timers.add(10.0, Moment.WILL_GOES_OUT, two)
    assert timers.due(9.9) == []
    assert timers.due(10.0) == [(Moment.WILL_GOES_OUT, one), (Moment.WILL_GOES_OUT, two)]
    assert timers.due(30.0) == [(Moment.SESSION_EXPIRES, one)]
    assert timers.due(math.inf) == []


def test_a_later_word_on_the_same_moment_replaces_the_earlier_one() -> None:
    timers, one = Timers(), session()
    timers.add(10.0, Moment.SESSION_EXPIRES, one)
    timers.add(20.0, Moment.SESSION_EXPIRES, one)
    assert timers.due(15.0) == []
    timers.add(5.0, Moment.SESSION_EXPIRES, one)
    assert timers.due(30.0) == [(Moment.SESSION_EXPIRES, one)]
    timers.add(10.0, Moment.SESSION_EXPIRES, one)
    timers.add(math.inf, Moment.SESSION_EXPIRES, one)
    assert timers.due(1e9) == []


def test_a_forgotten_session_is_not_come_back_to() -> None:
    timers, one, two = Timers(), session("one"), session("two")
    for moment in Moment:
        timers.add(1.0, moment, one)
    timers.add(1.0, Moment.PROOF_ENDS, two)
    timers.forget(one)
    assert timers.due(2.0) == [(Moment.PROOF_ENDS, two)]


def test_a_session_that_comes_and_goes_all_the_time_takes_no_more_memory() -> None:
    timers, one = Timers(), session()
    for at in range(10_000):
        timers.add(1e6 + at, Moment.SESSION_EXPIRES, one)
        assert len(timers) <= 2 + SPARE_ENTRIES
    assert timers.due(1e7) == [(Moment.SESSION_EXPIRES, one)]


def test_who_is_ended_with_its_proof_is_told_what_gives_another() -> None:
    by_token = proof_ended(Principal("sensor", "sensor/1", "jwt-es256"))
    assert (by_token.reason, by_token.fix) == ("token expired", "connect again with a fresh token")
    by_certificate = proof_ended(Principal("sensor", "sensor/1", "x509"))
    assert by_certificate.reason == "credential expired"
    assert by_certificate.fix == "lockgate device rotate sensor --out DIR gives it a new one"
