"""Threat: a device that may connect takes the hub's memory, or its time, by what CoAP lets it leave behind.

What a connection may hold is counted, whatever it looks like: bodies by their names as well as their bytes, an
observation by what it needs, answers by how many may be kept.
"""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from lockgate.adapters.coap import resources, wire
from lockgate.adapters.coap.blocks import Block
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.settings import CoapSettings, Settings
from tests.support.coap_book import CoapBook, Device

pytestmark = pytest.mark.requirement("C1")


def book(**words: object) -> CoapBook:
    return CoapBook(msgspec.structs.replace(Settings(), coap=msgspec.structs.replace(CoapSettings(), **words)))


def block(number: int, is_more: bool = True, size: int = 1024) -> tuple[int, bytes]:
    return OptionNumber.BLOCK1, Block(number, is_more, size).encode()


def test_an_observation_does_not_keep_the_body_that_came_with_it() -> None:
    hub = book()
    device = hub.device("sensor")

    def observes(number: int) -> None:
        token, observe = number.to_bytes(2, "big"), (OptionNumber.OBSERVE, b"")
        for each in range(100):
            device.sends(Code.GET, f"a/{number}", bytes(1024), observe, block(each), token=token)
        device.sends(Code.GET, f"a/{number}", b"end", observe, block(100, False), token=token)
        device.sends(Code.GET, f"b/{number}", bytes(1000), observe, token=b"b" + token)
        device.link.sent.clear()
        device._read = 0

    observes(0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 21):
            observes(number)
        assert tracemalloc.get_traced_memory()[0] - before < 400_000, "2 MB came"
    finally:
        tracemalloc.stop()
    assert len(device.handler._observer) == 42


def test_bodies_with_few_bytes_and_long_names_are_counted_by_both() -> None:
    hub = book(max_partial_bytes=65_536, max_partial_bodies=4)
    devices = [hub.device(f"attacker/{number}") for number in range(40)]
    for device in devices:
        for number in range(4):
            device.asks(Code.PUT, "/".join([f"{number}" * 200] * 6), bytes(16), block(0, True, 16))
    held = sum(len(device.handler._blocks._gathered) for device in devices)
    assert hub.coap.bodies.held_bytes <= 65_536
    assert hub.coap.bodies.dropped_number >= 100
    hub.passes(100)
    held = sum(len(device.handler._blocks._gathered) for device in devices)
    assert (held, hub.coap.bodies.held_bytes) == (0, 0)


def test_a_flood_of_observations_stops_at_its_number_and_leaves_nothing() -> None:
    hub = book(max_observations=10)
    device = hub.device("sensor")
    codes = [device.observes(f"a/{number}", token=number.to_bytes(2, "big")).code for number in range(200)]
    assert (codes.count(Code.CONTENT), codes.count(Code.TOO_MANY_REQUESTS)) == (10, 190)
    for _ in range(500):  # the same one again and again is one
        device.observes("a/0", token=bytes(2))
    assert len(device.handler._observer) == 10
    device.is_cut()
    assert hub.hub.sessions_of("sensor") == []


def test_messages_with_one_id_and_many_tokens_are_remembered_as_one() -> None:
    hub = book(max_exchanges=8)
    device = hub.device("sensor")
    for number in range(1_000):
        request = CoapMessage(Type.CON, Code.GET, number % 100, number.to_bytes(2, "big"), ((11, b"a"),))
        device.sends_bytes(wire.encode(request))
        assert len(device.handler._protocol._received) <= 8
    device.messages()
    assert device.asks(Code.PUT, "a", b"1").code == Code.CREATED


def test_an_observer_that_acknowledges_nothing_holds_what_it_may_and_is_gone_in_the_end() -> None:
    hub = book()
    device = hub.device("sensor")
    device.observes("a")
    pen = hub.client("pen")
    for number in range(1_000):
        pen.publishes("a", bytes(100) + str(number).encode(), retain=True)
    device.messages()
    waiting = device.handler._protocol._flight
    assert len(waiting._waiting) + len(waiting._in_flight) <= 256
    hub.passes(3)
    hub.passes(7)  # it has been asked three times
    device.messages()
    for number in range(1_000):
        pen.publishes("a", bytes(100) + str(number).encode(), retain=True)
    assert device.messages() == [], "nobody who may have left is flooded"
    for _ in range(100):
        hub.passes(1)
    assert len(device.handler._observer) == 0
    assert not waiting._waiting
    assert not waiting._in_flight


def test_an_observer_that_was_silent_and_comes_back_is_told_again() -> None:
    hub = book(non_per_con=2)
    device = hub.device("sensor")
    device.observes("a")
    pen = hub.client("pen")
    pen.publishes("a", b"1").publishes("a", b"2")
    _, asked = device.messages()
    assert asked.type == Type.CON
    hub.passes(3)
    hub.passes(7)
    pen.publishes("a", b"3")
    assert asked in device.messages()
    device.acknowledges(asked)
    pen.publishes("a", b"4")
    device.gets(b"4")


def test_a_filter_that_takes_in_too_much_is_refused_before_it_takes_the_hubs_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 20
    monkeypatch.setattr(resources, "MAX_LINKS", most)
    hub = book()
    pen = hub.client("pen")
    for number in range(most + 1):
        pen.publishes(f"plant/{number:03}", b"x", retain=True)
    reader = hub.device("reader")
    refused = reader.asks(Code.GET, query="filter=#")
    assert (refused.code, refused.payload[:15]) == (Code.BAD_REQUEST, b"too many topics")
    observed = reader.observes(query="filter=#")
    assert observed.payload.count(b"</plant") == most
    assert reader.asks(Code.GET, ".well-known/core").payload.count(b"</plant") == most
    pen.publishes("plant/000", b"", retain=True)
    reader.messages()
    assert reader.asks(Code.GET, query="filter=#").payload.count(b"</plant") == most


def test_a_message_longer_than_the_setting_is_refused_whole() -> None:
    hub = book(max_datagram_bytes=1152)
    device = hub.device("sensor")
    assert device.asks(Code.PUT, "a", bytes(1100)).code == Code.CREATED
    refused = device.asks(Code.PUT, "a", bytes(1152))
    assert (refused.code, refused.payload[:17]) == (Code.REQUEST_ENTITY_TOO_LARGE, b"payload too large")
    assert len(device.asks(Code.GET, "a").payload) == 1024


def _with_options(device: Device, count: int, first: int, step: int) -> CoapMessage:
    options = tuple((first + step * each, b"") for each in range(count))
    return device.asks(Code.PUT, "a", b"1", *options)


def test_a_bomb_of_options_is_read_once() -> None:
    hub = book()
    device = hub.device("sensor")
    assert _with_options(device, 127, 2_000, 2).code == Code.CREATED, "elective ones that nobody knows mean nothing"
    assert device.asks(Code.PUT, "a", b"2", *[(14, b"12345")] * 127).code == Code.CHANGED
    assert _with_options(device, 100, 2_001, 2).code == Code.BAD_OPTION
    device.sends(Code.PUT, "a", b"3", *[(2_000, b"")] * 128)
    (reset,) = device.messages()
    assert reset.type == Type.RST, "more than a message has"
