"""What a link sends confirmably: its turn, its repeats, its end (RFC 7252 sections 4.2, 4.4, 4.7)."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.exchange import NO_KEY, NOTIFICATION, REQUEST, RESPONSE, GaveUp, Outgoing
from lockgate.adapters.coap.flight import NEVER, Flight
from lockgate.adapters.coap.messages import Code
from lockgate.settings import CoapSettings

pytestmark = pytest.mark.requirement("C1")


def flight(message_id: int = 500, **settings: Any) -> Flight:
    return Flight(CoapSettings(**settings), message_id, lambda: 0.0)


def one(key: int, token: bytes = b"o", role: int = NOTIFICATION) -> Outgoing:
    return Outgoing(role, token, Code.CONTENT, (), bytes((key,)), key)


def said(link: Flight) -> list[int]:
    out, link.out = link.out, []
    return [wire.decode(data).payload[0] for data in out]


def test_one_at_a_time_and_answers_first() -> None:
    link = flight()
    assert [link.notify(one(key), 0) for key in (1, 2)] == [NO_KEY, NO_KEY]
    link.answer(one(3, role=RESPONSE), 0)
    assert said(link) == [1]
    for message_id, after in ((500, [3]), (501, [2]), (502, [])):
        outgoing = link.find(message_id)
        assert outgoing is not None
        link.land(outgoing)
        link.start_next(0)
        assert said(link) == after
    assert link.find(500) is None
    assert link.retry_at == NEVER


def test_what_is_not_acknowledged_goes_again_and_is_given_up() -> None:
    link = flight(max_retransmit=2)
    link.notify(one(1), 0)
    assert link.retry(1.9) == []
    assert said(link) == [1]
    waits = []
    while not (over := link.retry(link.retry_at)):
        waits.append(link.retry_at)
        assert said(link) == [1]
    assert [outgoing.key for outgoing in over] == [1]
    assert waits == [6.0, 14.0], "2 s, then 4, then 8"
    assert link.retry_at == NEVER


def test_message_ids_turn_over_and_leave_out_what_is_in_flight() -> None:
    link = flight(65_535, nstart=2)
    link.notify(one(1), 0)
    link.notify(one(2), 0)
    assert [link.next_id() for _ in range(65_534)] == list(range(1, 65_535))
    assert link.next_id() == 1


def test_what_is_full_drops() -> None:
    link = flight(max_waiting_notifications=2, max_exchanges=1)
    assert [link.notify(one(key), 0) for key in range(1, 5)] == [NO_KEY, NO_KEY, NO_KEY, 2]
    assert link.notify(one(5, b"p"), 0) == 5
    link.answer(one(6, role=RESPONSE), 0)
    link.answer(one(7, role=RESPONSE), 0)
    link.forget(b"o", 0)
    assert said(link) == [1, 6], "and never 7"


def test_an_observation_that_is_over_leaves_the_others() -> None:
    link = flight()
    for key, token in ((1, b"o"), (2, b"p"), (3, b"o")):
        link.notify(one(key, token), 0)
    assert link.abandon(b"o") == [GaveUp(3, b"o")]
    assert link.abandon(b"o") == []
    assert link.forget(b"o", 0) == [1]
    assert link.forget(b"q", 0) == []
    assert said(link) == [1, 2]
    assert link.abandon(b"p") == []


def test_a_request_that_is_over_leaves_the_others() -> None:
    link = flight()
    for key, token, role in ((1, b"r", REQUEST), (2, b"r", REQUEST), (3, b"s", REQUEST), (4, b"r", RESPONSE)):
        link.answer(one(key, token, role), 0)
    link.end_request(b"r", 0)
    assert said(link) == [1, 3]
    link.end_request(b"s", 0)
    link.end_request(b"s", 0)
    assert said(link) == [4]
