"""Threat: datagrams with any source address, sent to the CoAP door without DTLS by somebody who hears no answer.

Nobody is flooded in another's name: an address that has proven nothing gets at most three times what it sent, however
odd that was (RFC 9175 section 2.6). Nothing is remembered of it, and nobody who is known gives way to it.
"""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import tracemalloc
from contextlib import ExitStack

import msgspec
import pytest
import uvloop

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.strangers import MAX_AMPLIFICATION
from lockgate.net.datagrams import DatagramHandler, DatagramLimits, DatagramLink, DatagramListener
from lockgate.settings import CoapSettings, Settings
from tests.support.coap_book import CoapBook, Device

pytestmark = pytest.mark.requirement("C2", "C3")

OPEN = Settings(coap=CoapSettings(nosec_enabled=True, multicast_enabled=True))
ECHO = OptionNumber.ECHO
DISCOVERY = ((11, b".well-known"), (11, b"core"))


def answered(stranger: Device, data: bytes, is_multicast: bool = False) -> int:
    """Send a datagram; give how many bytes came for it."""
    stranger.link.sent.clear()
    stranger.sends_bytes(data, is_multicast)
    return sum(map(len, stranger.link.sent))


@pytest.mark.parametrize("is_oscore", [False, True])
@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
@pytest.mark.parametrize(
    "options",
    [
        ((9, b""),),
        ((9, b"\x09\x01\xa1"),),
        ((9, b"\x19\x01\x08abcdefgh\xa1"),),
        ((9, b"\xff" * 20),),
        ((9, b"\x09\x01\xa1"), (252, b"12345678")),
        ((35, b""),),
        ((35, b"coap://[2001:db8::1]/"),),
        ((39, b"coap"),),
        ((65_001, b""),),
        ((11, b"x" * 256),),
        ((6, b""),),
        ((23, b"\x07"),),
        ((27, b"\x0e"),),
        ((252, b"guess"),),
        ((258, b"\x1a"),),
        DISCOVERY,
    ],
    ids=str,
)
def test_no_question_is_answered_by_more_than_three_times_its_size(
    kind: Type, options: tuple[tuple[int, bytes], ...], is_oscore: bool
) -> None:
    hub = CoapBook(msgspec.structs.replace(OPEN, coap=msgspec.structs.replace(OPEN.coap, oscore_enabled=is_oscore)))
    for code in (Code.GET, Code.PUT, Code.FETCH, 31):
        for token in (b"", b"12345678"):
            request = wire.encode(CoapMessage(kind, code, 7, token, options))
            assert answered(hub.stranger("198.51.100.1"), request) <= MAX_AMPLIFICATION * len(request)
            sealed = wire.encode(CoapMessage(kind, code, 8, token, options, bytes(40)))
            assert answered(hub.stranger("198.51.100.1"), sealed) <= MAX_AMPLIFICATION * len(sealed)
    assert not hub.coap.connections


@pytest.mark.parametrize(
    "data",
    [
        b"", b"@", b"@\0\0", b"@\0\0\1", b"P\0\0\1", b"p\0\0\1", b"`\0\0\1", b"@\1\0\1\xff", b"@\1\0\1\xf0",
        b"I\1\0\1", b"\xc0\1\0\1",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_question_is_answered_by_as_little(data: bytes) -> None:
    hub = CoapBook(OPEN)
    stranger = hub.stranger("198.51.100.1")
    for _ in range(5):
        assert answered(stranger, data) <= MAX_AMPLIFICATION * len(data)
    assert not hub.coap.connections


def test_a_short_repeat_of_a_long_question_is_not_given_the_answer_to_that() -> None:
    hub = CoapBook(OPEN)
    stranger = hub.stranger("198.51.100.1")
    long = wire.encode(CoapMessage(Type.CON, Code.GET, 7, b"t", ((11, b"x" * 200),)))
    assert answered(stranger, long) > 60
    short = wire.encode(CoapMessage(Type.CON, Code.GET, 7, b"t"))
    for _ in range(10):
        assert answered(stranger, short) <= MAX_AMPLIFICATION * len(short)


def test_the_answer_to_all_nodes_is_three_times_the_question_at_most() -> None:
    hub = CoapBook(OPEN)
    for token in (b"", b"12345678"):
        asking = hub.stranger("198.51.100.1")
        question = wire.encode(CoapMessage(Type.NON, Code.GET, 7, token, DISCOVERY))
        asking.sends_bytes(question, is_multicast=True)
        for _ in range(25):
            hub.passes(0.25)
        (answer,) = asking.link.sent
        assert len(answer) <= MAX_AMPLIFICATION * len(question)
        assert not hub.coap.connections, "and then nothing is remembered"


def test_nothing_is_remembered_of_addresses_that_have_proven_nothing() -> None:
    hub = CoapBook(OPEN)
    dice = random.Random(5)

    def comes(number: int) -> None:
        stranger = hub.stranger(f"198.51.{number >> 8}.{number & 255}")
        stranger.sends(Code.PUT, "a" * 100, dice.randbytes(500), (OptionNumber.BLOCK1, b"\x0e"))
        stranger.sends(Code.GET, "a", b"", (ECHO, dice.randbytes(8)))

    for number in range(200):  # what is made once
        comes(number)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2_000):
            comes(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 300_000, "75 bytes each"
    finally:
        tracemalloc.stop()
    assert not hub.coap.connections
    assert hub.coap.bodies.held_bytes == 0
    assert hub.refusals() == []


def test_a_mapped_address_is_the_device_of_the_plain_one_only_when_it_hears_what_is_sent_to_it() -> None:
    hub = CoapBook(OPEN)
    mine, mapped = hub.stranger("192.0.2.7"), hub.stranger("::ffff:192.0.2.7")
    echo = mine.asks(Code.GET, "a").option(ECHO) or b""
    assert mapped.asks(Code.PUT, "a", b"1", (ECHO, echo)).code == Code.UNAUTHORIZED
    assert hub.hub.retained_count == 0


def test_what_an_address_was_sent_proves_no_other_port_of_it() -> None:
    hub = CoapBook(OPEN)
    mine, neighbour = hub.stranger(), hub.stranger()
    neighbour.link.peer = type(neighbour.link.peer)("192.0.2.7", 40_001)
    echo = mine.asks(Code.GET, "a").option(ECHO) or b""
    assert neighbour.asks(Code.PUT, "a", b"1", (ECHO, echo)).code == Code.UNAUTHORIZED
    assert hub.hub.retained_count == 0


class Guest(DatagramHandler):
    """Stays when it is told to, and else is gone after one datagram, as a stranger is."""

    def __init__(self, guests: list[Guest]) -> None:
        self.link: DatagramLink
        self.is_lost = False
        self.is_multicast = False
        guests.append(self)

    def link_made(self, link: DatagramLink) -> None:
        self.link = link

    def datagram_received(self, data: bytes, is_multicast: bool) -> None:
        self.is_multicast = is_multicast
        self.link.send(b"heard " + data)
        if data != b"stay":
            self.link.close()

    def link_lost(self, error: Exception | None) -> None:
        self.is_lost = True


async def _says(sock: socket.socket, data: bytes, host: str, port: int) -> bytes:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.sendto(data, (host, port))
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 100), 20)


def _socket(stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def test_nobody_who_is_known_gives_way_to_a_mere_word() -> None:
    async def scene() -> None:
        guests: list[Guest] = []
        stack = ExitStack()
        limits = DatagramLimits(max_links=3, max_links_per_address=3)
        listener = await DatagramListener.open("127.0.0.1", 0, lambda: Guest(guests), limits)
        try:
            for _ in range(3):
                await _says(_socket(stack), b"stay", "127.0.0.1", listener.port)
            for _ in range(50):
                await _says(_socket(stack), b"spoofed", "127.0.0.1", listener.port)
            assert listener.connection_count == 3
            assert [guest.is_lost for guest in guests[:3]] == [False] * 3
            await _says(_socket(stack), b"stay", "127.0.0.1", listener.port)
            assert [guest.is_lost for guest in guests[:3]] == [True, False, False], "but to who comes to stay"
        finally:
            listener.close()
            stack.close()

    uvloop.run(scene())


def test_what_is_sent_to_all_of_a_network_is_not_taken_for_a_word_to_us() -> None:
    async def scene() -> None:
        guests: list[Guest] = []
        stack = ExitStack()
        listener = await DatagramListener.open("0.0.0.0", 0, lambda: Guest(guests), DatagramLimits())
        try:
            await _says(_socket(stack), b"stay", "127.255.255.255", listener.port)
            await _says(_socket(stack), b"stay", "127.0.0.3", listener.port)
            assert [guest.is_multicast for guest in guests] == [True, False]
        finally:
            listener.close()
            stack.close()

    uvloop.run(scene())


def test_a_broadcast_is_answered_by_silence_where_multicast_is_off() -> None:
    hub = CoapBook(Settings(coap=CoapSettings(nosec_enabled=True)))
    asking = hub.stranger("198.51.100.1")
    asking.sends_bytes(wire.encode(CoapMessage(Type.NON, Code.GET, 7, b"", DISCOVERY)), is_multicast=True)
    hub.passes(10)
    asking.gets_nothing()
