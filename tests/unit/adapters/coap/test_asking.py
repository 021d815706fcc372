"""Requests to a device over its own link: each ends once, with the response or with what stands for it."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.asking import FIRST_KEY, Asking
from lockgate.adapters.coap.exchange import GaveUp, Reset, Response
from lockgate.adapters.coap.mapping import Answer
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.errors import LockgateError, QuotaExceeded
from lockgate.settings import CoapSettings
from tests.support.coap import START, ServerEnd

PATH = ((int(OptionNumber.URI_PATH), b"led"),)
LONG = bytes(range(32, 127)) * 40


class World:
    """The hub's end, and a device that serves."""

    def __init__(self, **settings: float) -> None:
        chosen = CoapSettings(**settings)  # type: ignore[arg-type]
        self.protocol = CoapProtocol(chosen, START, 1, lambda: 0.5)
        self.asking = Asking(chosen, self.protocol)
        self.device = ServerEnd(chosen, lambda: 0.5)
        self.outcomes: list[Answer | LockgateError] = []

    def asks(self, code: int = Code.GET, payload: bytes = b"") -> None:
        self.asking.ask(code, PATH, payload, self.outcomes.append, START)

    def speak(self) -> None:
        """Carry datagrams until nobody has anything to say."""
        while data := self.protocol.datagrams_to_send():
            for each in data:
                self.device.receive(each, START)
            for each in self.device.protocol.datagrams_to_send():
                self.hears(each)

    def hears(self, data: bytes, now: float = START) -> None:
        for event in self.protocol.receive_datagram(data, now):
            self.take(event, now)

    def take(self, event: object, now: float) -> None:
        if isinstance(event, Response):
            self.asking.heard(event.message, event.key, now)
        elif isinstance(event, Reset | GaveUp):
            self.asking.lost(event.key, isinstance(event, Reset))

    def passes(self, seconds: float) -> None:
        at = START
        while at < START + seconds:
            at += 0.5
            for event in self.protocol.handle_timer(at):
                self.take(event, at)
            self.asking.handle_timer(at)


def code_of(outcome: Answer | LockgateError) -> int:
    assert isinstance(outcome, CoapError)
    return outcome.code


@pytest.mark.requirement("C4")
def test_a_device_is_asked_and_answers() -> None:
    world = World()
    world.device.resources[b"led"] = b"on"
    world.asks()
    world.speak()
    (outcome,) = world.outcomes
    assert isinstance(outcome, Answer)
    assert (outcome.code, outcome.payload) == (Code.CONTENT, b"on")
    assert world.asking.next_timer() is None


@pytest.mark.requirement("C4")
def test_bodies_go_in_blocks_both_ways() -> None:
    world = World(block_bytes=64)
    world.asks(Code.PUT, LONG)
    world.speak()
    assert world.device.acted == [(Code.PUT, LONG)]
    world.asks()
    world.speak()
    put, got = world.outcomes
    assert isinstance(put, Answer)
    assert isinstance(got, Answer)
    assert (put.code, got.payload) == (Code.CREATED, LONG)


def test_who_does_not_acknowledge_is_given_up() -> None:
    world = World(device_answer_seconds=500)
    world.asks()
    world.passes(120)
    assert [code_of(each) for each in world.outcomes] == [Code.GATEWAY_TIMEOUT]


def test_who_acknowledges_and_says_no_more_is_given_up_in_time() -> None:
    world = World()
    world.asks()
    assert world.asking.next_timer() == START + 20.0
    (request,) = world.protocol.datagrams_to_send()
    world.hears(wire.empty(Type.ACK, wire.decode(request).message_id))
    world.passes(19)
    assert world.outcomes == []
    world.passes(21)
    assert [code_of(each) for each in world.outcomes] == [Code.GATEWAY_TIMEOUT]
    late = CoapMessage(Type.CON, Code.CONTENT, 9, wire.decode(request).token, (), b"late")
    world.hears(wire.encode(late), START + 22)
    assert len(world.outcomes) == 1


def test_a_reset_and_nonsense_are_a_bad_gateway() -> None:
    world = World()
    world.asks()
    (request,) = world.protocol.datagrams_to_send()
    world.hears(wire.empty(Type.RST, wire.decode(request).message_id))
    world.asks()
    (data,) = world.protocol.datagrams_to_send()
    asked = wire.decode(data)
    skipping = ((int(OptionNumber.BLOCK2), b"\x5a"),)
    world.hears(wire.encode(CoapMessage(Type.ACK, Code.CONTENT, asked.message_id, asked.token, skipping, b"x")))
    assert [code_of(each) for each in world.outcomes] == [Code.BAD_GATEWAY, Code.BAD_GATEWAY]


def test_the_end_of_the_link_is_the_end_of_all_requests() -> None:
    world = World()
    world.asks()
    world.asks()
    world.asking.close()
    world.asking.close()
    assert [code_of(each) for each in world.outcomes] == [Code.BAD_GATEWAY, Code.BAD_GATEWAY]


def test_there_is_an_end_to_what_waits_for_one_device() -> None:
    world = World(max_exchanges=2)
    world.asks()
    world.asks()
    with pytest.raises(QuotaExceeded):
        world.asks()
    assert world.outcomes == []


def test_keys_of_others_are_not_its_own() -> None:
    world = World()
    world.asks()
    world.asking.lost(FIRST_KEY - 5, True)
    world.asking.heard(CoapMessage(Type.ACK, Code.CONTENT, 1), FIRST_KEY - 5, START)
    assert world.outcomes == []


def test_a_device_that_answers_many_requests_by_long_bodies_at_once_is_bounded() -> None:
    world = World(max_partial_bodies=2, max_body_bytes=1024, block_bytes=64, nstart=8)
    world.device.resources[b"led"] = bytes(1000)
    for _ in range(8):
        world.asks()
    held = 0
    while data := world.protocol.datagrams_to_send():
        for each in data:
            world.device.receive(each, START)
        for each in world.device.protocol.datagrams_to_send():
            world.hears(each)
            held = max(held, world.asking._held_bytes())
    assert 1024 < held <= 2048
    codes = [outcome.code for outcome in world.outcomes if isinstance(outcome, CoapError)]
    assert set(codes) == {Code.BAD_GATEWAY}
    assert 0 < len(codes) < len(world.outcomes) == 8


def test_long_requests_that_wait_for_a_device_are_bounded() -> None:
    world = World(max_partial_bodies=2, max_body_bytes=1024)
    for _ in range(2):
        world.asks(Code.PUT, bytes(1000))
    with pytest.raises(QuotaExceeded, match="2000 bytes wait"):
        world.asks(Code.PUT, bytes(1000))
    world.asks()
    assert world.asking._held_bytes() == 2000
