"""Long bodies at the CoAP door: what is published comes whole to the hub, what is read goes in slices (RFC 7959)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lockgate.adapters.coap.blocks import Block
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.mqtt.packets import Publish
from lockgate.settings import CoapSettings, Settings
from tests.support.coap_book import CoapBook, Device

pytestmark = pytest.mark.requirement("C1")

BODY = bytes(range(32, 127)) * 50
SIZE = 1024


def book(rules: Any = None, **settings: Any) -> CoapBook:
    words = {} if rules is None else {"rules": rules}
    return CoapBook(msgspec.structs.replace(Settings(), coap=CoapSettings(**settings)), **words)


def option(number: int, block: int, is_more: bool = False, size: int = SIZE) -> tuple[int, bytes]:
    return number, Block(block, is_more, size).encode()


def puts(device: Device, body: bytes, path: str = "a/b", code: int = Code.PUT, size: int = SIZE) -> CoapMessage:
    """Publish in blocks; give the last answer."""
    answer = None
    for start in range(0, len(body), size):
        is_more = start + size < len(body)
        block = option(OptionNumber.BLOCK1, start // size, is_more, size)
        answer = device.asks(code, path, body[start : start + size], block)
        if is_more:
            assert (answer.code, answer.option(OptionNumber.BLOCK1)) == (Code.CONTINUE, block[1])
    assert answer is not None
    return answer


def reads(device: Device, first: CoapMessage, path: str = "a/b", size: int = SIZE) -> bytes:
    """Fetch the slices after the first; give the whole."""
    whole, number = first.payload, 0
    while ((first.number(OptionNumber.BLOCK2) or 0) >> 3) & 1:
        number += 1
        first = device.asks(Code.GET, path, b"", option(OptionNumber.BLOCK2, number, size=size))
        assert first.option(OptionNumber.OBSERVE) is None
        whole += first.payload
    return whole


@pytest.mark.parametrize("code", [Code.PUT, Code.POST])
def test_a_body_in_blocks_is_one_message(code: int) -> None:
    hub = book()
    lamp, office = hub.device("lamp"), hub.subscriber("office", "#", qos=1)
    answer = puts(lamp, BODY, code=code)
    assert answer.code == (Code.CREATED if code == Code.PUT else Code.CHANGED)
    assert answer.option(OptionNumber.BLOCK1) == option(OptionNumber.BLOCK1, 4)[1]
    assert office.takes(Publish).payload == BODY
    assert office.packets() == []


@pytest.mark.parametrize("size", [16, 512, 1024])
def test_what_is_long_is_read_in_slices(size: int) -> None:
    hub = book()
    hub.client("sensor").publishes("a/b", BODY, retain=True)
    lamp = hub.device("lamp")
    first = lamp.asks(Code.GET, "a/b", b"", option(OptionNumber.BLOCK2, 0, size=size))
    assert (len(first.payload), first.number(OptionNumber.SIZE2)) == (size, len(BODY))
    assert reads(lamp, first, size=size) == BODY


def test_all_slices_are_of_one_state() -> None:
    hub = book()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    sensor.publishes("a/b", BODY, retain=True)
    first = lamp.asks(Code.GET, "a/b")
    sensor.publishes("a/b", BODY[::-1], retain=True)
    assert reads(lamp, first) == BODY
    fresh = lamp.asks(Code.GET, "a/b")
    assert fresh.option(OptionNumber.ETAG) != first.option(OptionNumber.ETAG)
    assert reads(lamp, fresh) == BODY[::-1]


def test_an_observer_of_long_messages_fetches_the_rest() -> None:
    hub = book()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    lamp.observes("a/b")
    for body in (BODY, BODY[::-1]):
        sensor.publishes("a/b", body, qos=1, retain=True)
        told = next(message for message in lamp.messages() if message.code == Code.CONTENT)
        assert (told.type, len(told.payload), told.token) == (Type.CON, SIZE, b"\x01")
        lamp.acknowledges(told)
        assert reads(lamp, told) == body


def test_a_body_that_is_too_long_is_refused_with_what_is_taken() -> None:
    hub = book(max_body_bytes=2048)
    lamp, office = hub.device("lamp"), hub.subscriber("office", "#")
    announced = lamp.asks(
        Code.PUT, "a/b", BODY[:SIZE], option(OptionNumber.BLOCK1, 0, True), (OptionNumber.SIZE1, b"\x08\x01")
    )
    assert (announced.code, announced.number(OptionNumber.SIZE1)) == (Code.REQUEST_ENTITY_TOO_LARGE, 2048)
    assert puts(lamp, BODY[:2048]).code == Code.CREATED
    assert office.takes(Publish).payload == BODY[:2048]


def test_a_body_that_stays_away_is_forgotten() -> None:
    hub = book(partial_deadline_seconds=10)
    lamp, office = hub.device("lamp"), hub.subscriber("office", "#")
    lamp.asks(Code.PUT, "a/b", BODY[:SIZE], option(OptionNumber.BLOCK1, 0, True))
    assert hub.coap.bodies.held_bytes > SIZE
    hub.passes(11)
    assert hub.coap.bodies.held_bytes == 0
    late = lamp.asks(Code.PUT, "a/b", b"end", option(OptionNumber.BLOCK1, 1))
    assert late.code == Code.REQUEST_ENTITY_INCOMPLETE
    assert office.packets() == []


def test_a_link_that_goes_takes_its_bodies_with_it() -> None:
    hub = book()
    lamp = hub.device("lamp")
    lamp.asks(Code.PUT, "a/b", BODY[:SIZE], option(OptionNumber.BLOCK1, 0, True))
    lamp.is_cut()
    assert hub.coap.bodies.held_bytes == 0


def test_who_may_not_publish_does_not_by_blocks_either() -> None:
    hub = book(rules=())
    assert puts(hub.device("lamp"), BODY[:100], size=128).code == Code.FORBIDDEN
