"""Threat: bodies begun and never ended, by devices that may connect, to take the hub's memory (RFC 7959 section 7).

Each device has so many under way, and all of them so many bytes. Who is honest and goes on gets through.
"""

from __future__ import annotations

import msgspec
import pytest

from lockgate.adapters.coap.blocks import Block
from lockgate.adapters.coap.messages import Code, OptionNumber
from lockgate.settings import CoapSettings, Settings
from tests.support.coap_book import CoapBook

pytestmark = pytest.mark.requirement("C1")

MOST = 65_536
LIMITS = CoapSettings(max_partial_bytes=MOST, max_partial_bodies=4, max_body_bytes=8192)


def block(number: int, is_more: bool = True) -> tuple[int, bytes]:
    return OptionNumber.BLOCK1, Block(number, is_more, 1024).encode()


def test_bodies_without_end_take_no_more_than_they_may() -> None:
    hub = CoapBook(msgspec.structs.replace(Settings(), coap=LIMITS))
    honest = hub.device("honest")
    attackers = [hub.device(f"attacker/{number}") for number in range(30)]
    for round_number in range(6):
        for attacker in attackers:
            for path in range(4):
                attacker.asks(Code.PUT, f"flood/{path}", bytes(1024), block(round_number))
                assert hub.coap.bodies.held_bytes <= MOST
    assert hub.coap.bodies.dropped_number > 100
    for number in range(3):
        for attacker in attackers[:10]:
            attacker.asks(Code.PUT, "flood/0", bytes(1024), block(0))
        assert honest.asks(Code.PUT, "a", bytes(1024), block(number)).code == Code.CONTINUE
    assert honest.asks(Code.PUT, "a", b"end", block(3, False)).code == Code.CREATED


def test_one_device_begins_no_more_than_its_share() -> None:
    hub = CoapBook(msgspec.structs.replace(Settings(), coap=LIMITS))
    attacker = hub.device("attacker")
    for number in range(500):
        attacker.asks(Code.PUT, f"flood/{number}", bytes(1024), block(0))
        assert hub.coap.bodies.held_bytes <= 4 * (1024 + 1024), "what a body takes beside its bytes is counted, too"


def test_slices_that_are_never_fetched_are_bounded_too() -> None:
    hub = CoapBook(msgspec.structs.replace(Settings(), coap=LIMITS))
    sensor = hub.client("sensor")
    for number in range(20):
        sensor.publishes(f"long/{number}", bytes(8000), retain=True)
    readers = [hub.device(f"reader/{number}") for number in range(10)]
    for reader in readers:
        for number in range(20):
            first = reader.asks(Code.GET, f"long/{number}")
            assert len(first.payload) == 1024
            assert hub.coap.bodies.held_bytes <= MOST
    last = OptionNumber.BLOCK2, Block(7, False, 1024).encode()
    assert readers[0].asks(Code.GET, "long/0", b"", last).payload == bytes(8000 - 7 * 1024), "read anew"
