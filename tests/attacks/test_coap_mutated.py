"""Threat: datagrams that are nearly CoAP, on every kind of link at once, until something breaks or fills up.

The whole door under nonsense: devices that may much and little, observers, strangers, multicast, a device that is
asked for its own resources. Whatever comes, no error is unexpected, everything has its bound, and who is honest is
served after.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import pytest
import structlog

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.blocks import Block
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.strangers import MAX_AMPLIFICATION
from lockgate.errors import LockgateError
from lockgate.settings import CoapSettings, HubSettings, Settings
from tests.fuzz.test_coap import mutated
from tests.support.coap_book import CoapBook, Device

pytestmark = pytest.mark.requirement("C1", "C3")

SETTINGS = Settings(
    coap=CoapSettings(
        nosec_enabled=True, oscore_enabled=True, multicast_enabled=True, max_exchanges=16,
        max_waiting_notifications=8, max_observations=5,
        max_partial_bodies=2, max_partial_bytes=65_536, max_body_bytes=8192, block_bytes=64,
    ),
    hub=HubSettings(max_retained_messages=100, max_subscriptions=20),
)  # fmt: skip
PATHS = ("a", "a/b", ".well-known/core", "$devices/lamp/x", "$devices/nobody", "$SYS/x", "", "a//b", "x" * 255)
QUERIES = ("", "filter=#", "filter=a/+", "retain=1", "retain=0", "filter=$share/g/#", "rt=*", "nonsense")


class Nonsense:
    """One hub, and everybody who speaks to it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.hub = CoapBook(SETTINGS)
        self.hub.coap.proof.lifetime_seconds = 1e9  # or the strangers who are somebody forget it all the time
        self.pen = self.hub.client("pen")
        self.devices = [self.hub.device(name) for name in ("lamp", "lamp/2", "meter", "valve")]
        self.strangers = [self.hub.stranger(f"198.51.100.{number}") for number in range(3)]
        self.proven = self.hub.stranger("192.0.2.7")
        self._prove()

    def _prove(self) -> None:
        self.proven.messages()
        challenge = self.proven.asks(Code.GET, "a").option(OptionNumber.ECHO)
        if challenge is not None:
            self.proven.asks(Code.GET, "a", b"", (OptionNumber.ECHO, challenge))

    def step(self) -> None:
        chance = self.chance
        way = chance.random()
        everybody = [*self.devices, *self.strangers, self.proven]
        if way < 0.93:
            self.say(chance.choice(everybody), self.something(), chance.random() < 0.05)
        elif way < 0.96:
            self.pen.publishes(
                chance.choice(("a", "a/b", "c")), bytes(chance.choice((0, 9, 300))), retain=chance.random() < 0.5
            )
        elif way < 0.99:
            self.hub.passes(chance.choice((0.1, 1, 10, 100)))
        else:
            at = chance.randrange(len(self.devices))
            name = ("lamp", "lamp/2", "meter", "valve")[at]
            if not self.devices[at].link.is_closed:
                self.devices[at].is_cut()
            self.devices[at] = self.hub.device(name)
        self.look()

    def say(self, device: Device, data: bytes, is_multicast: bool) -> None:
        if device.link.protection is not None and device.link.is_closed:
            return
        is_stranger = device in self.strangers
        device.link.sent.clear()
        device._read = 0
        device.sends_bytes(data, is_multicast)
        if is_stranger and not is_multicast:
            assert sum(map(len, device.link.sent)) <= MAX_AMPLIFICATION * len(data), data
        for sent in device.link.sent:
            wire.decode(sent)

    def something(self) -> bytes:
        chance = self.chance
        if chance.random() < 0.4:
            return mutated(chance)
        heard = [each for device in self.devices for each in device.link.sent[-3:]]
        if heard and chance.random() < 0.3:  # an answer, or something like it, to what was sent
            about = wire.decode(chance.choice(heard))
            kind, code = chance.choice(((2, 0), (3, 0), (2, 69), (0, 69), (1, 132), (2, 95)))
            return wire.encode(
                CoapMessage(
                    kind, code, about.message_id, about.token if code else b"", about.options if code == 69 else ()
                )
            )
        options: list[tuple[int, bytes]] = [(11, each.encode()) for each in chance.choice(PATHS).split("/")]
        options += [(15, query.encode()) for query in (chance.choice(QUERIES),) if query]
        for number in (23, 27):
            if chance.random() < 0.2:
                block = Block(
                    chance.choice((0, 0, 0, 1, 2, 5, 1 << 19)), chance.random() < 0.7, 16 << chance.randrange(7)
                )
                options.append((number, block.encode() if chance.random() < 0.9 else b"\x0f"))
        for number in (1, 4, 6, 9, 14, 17, 60, 252, 258):
            if chance.random() < 0.15:
                options.append((number, chance.randbytes(chance.randrange(4))))
        if chance.random() < 0.4:
            options.append((OptionNumber.OBSERVE, chance.choice((b"", b"\x01", b"\x02"))))
        request = CoapMessage(
            chance.choice((Type.CON, Type.CON, Type.NON)), chance.randrange(1, 8), chance.randrange(40),
            chance.choice((b"", b"a", b"b", b"12345678")), wire.in_order(options),
            bytes(chance.choice((0, 1, 16, 64, 64, 1024, 9000))),
        )  # fmt: skip
        return wire.encode(request)

    def look(self) -> None:
        """Hold everything against its bound."""
        door, limits = self.hub.coap, SETTINGS.coap
        assert door.bodies.held_bytes <= limits.max_partial_bytes
        assert len(door.connections) <= len(self.devices) + len(self.strangers) + 1
        for connection in door.connections:
            protocol = connection._protocol
            assert len(protocol._received) <= limits.max_exchanges
            assert len(protocol._sent) <= limits.max_exchanges
            assert len(protocol._flight._waiting) <= limits.max_waiting_notifications
            assert len(protocol._flight._in_flight) <= limits.nstart
            assert len(protocol._asked) <= limits.max_exchanges
            assert len(connection._observer) <= limits.max_observations
            assert len(connection._observer._sent) <= 2 * limits.max_waiting_notifications + limits.nstart
            assert len(connection._waiting) <= limits.max_exchanges

    def ends(self) -> None:
        """See that nothing was unexpected, who is honest is served, and nothing is left when all are gone."""
        assert LockgateError.default_reason not in self.hub.journal.refused_by_reason, "an unexpected error"
        honest = self.hub.device("honest")
        self.hub.passes(1)
        assert honest.asks(Code.POST, "a/b", b"1").code == Code.CHANGED
        honest.is_cut()
        for device in (*self.devices, *self.strangers, self.proven):
            if not device.link.is_closed:
                device.is_cut()
        assert not self.hub.coap.connections
        assert self.hub.coap.bodies.held_bytes == 0
        assert self.hub.hub.sessions_of("lamp") == []


def run(count: int, seed: int) -> None:
    for number in range(seed, seed + max(1, count // 2000)):
        nonsense = Nonsense(number)
        try:
            for _ in range(2000):
                nonsense.step()
            nonsense.ends()
        except BaseException:
            print(f"seed {number}")
            raise


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def test_the_hub_stands_nonsense_on_every_link() -> None:
    run(6_000, 1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_hub_stands_a_million_nonsenses_on_every_link() -> None:
    run(1_000_000, random.SystemRandom().randrange(1 << 32))
