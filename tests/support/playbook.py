"""Conversations with the MQTT door as a readable list: who sends what, who gets what. No socket, no clock.

A `Playbook` is a hub with its MQTT door on a fake loop; a `Client` is one connection to it.

    hub = Playbook()
    sensor, office = hub.client("sensor"), hub.client("office")
    office.sends(Subscribe(1, (SubscriptionRequest("a/#"),))).gets(Suback(1, (0,)))
    sensor.sends(Publish(topic_name("a/b"), b"21"))
    office.gets(Publish(topic_name("a/b"), b"21"))

`gets` names everything that came since the last time, in its order: what is not named fails the test.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any, TypeVar

import msgspec

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    Acknowledgement,
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from lockgate.adapters.mqtt.server import MqttConnection, MqttDoor
from lockgate.errors import LockgateError
from lockgate.hub import Hub
from lockgate.identity import Authenticator
from lockgate.model.permission import Rule
from lockgate.model.principal import Principal
from lockgate.model.refusal import Refusal
from lockgate.model.topic import topic_name
from lockgate.policy import PolicyEngine
from lockgate.registry.journal import Journal
from lockgate.settings import Settings
from tests.support.fakes import EVERYTHING, FakeAuthenticator, FakeLink, FakeLoop, FakeRules, FakeStore
from tests.support.registry import FakeRegistry

START = 1_000_000.0
ANY_SIZE = 268_435_460
T = TypeVar("T")


class Playbook:
    """A hub with an MQTT door, and its time.

    Args:
        settings: the hub's settings.
        rules: what devices may do; everything by default.
        store: what an earlier playbook left behind, for a restart.
        now: unix seconds at which it begins.
        registry: with one, identity is real, and devices and rules are the registry's.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        rules: tuple[Rule, ...] = EVERYTHING,
        store: FakeStore | None = None,
        now: float = START,
        registry: FakeRegistry | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.now = now
        self.rules = FakeRules(*rules)
        self.store = store or FakeStore()
        self.authenticator = FakeAuthenticator()
        identity = self.authenticator if registry is None else Authenticator(registry, self.settings.identity)
        self.unheard: list[LockgateError] = []
        self.journal = Journal(1000, self._clock)
        self.loop = FakeLoop(50.0)
        self.hub = Hub(PolicyEngine(registry or self.rules), self.store, self.settings.hub, self._report)
        self.hub.restore(self.store.load(), list(self.store.retained.values()), now)
        loop: Any = self.loop
        asyncio._set_running_loop(loop)
        try:
            self.door = MqttDoor(self.hub, identity, self.journal, self.store, self.settings, Executor(), self._clock)
        finally:
            asyncio._set_running_loop(None)

    def link(self, version: int = V5, is_lab: bool = False) -> Client:
        """Open a connection that has said nothing yet."""
        return Client(self, version, is_lab)

    def client(
        self, client_id: str, version: int = V5, *, is_present: bool = False, properties: Properties = NO_PROPERTIES,
        **words: Any,
    ) -> Client:  # fmt: skip
        """Connect a client, and see that it is let in."""
        client = self.link(version).sends(Connect(version, client_id, properties=properties, **words))
        answer = client.takes(Connack)
        assert (answer.code, answer.session_present) == (0, is_present)
        return client

    def subscriber(self, client_id: str, topic_filter: str = "#", qos: int = 0, version: int = V5) -> Client:
        """Connect a client with one subscription."""
        client = self.client(client_id, version)
        return client.subscribes(SubscriptionRequest(topic_filter, qos)).gets(Suback(1, (qos,)))

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.loop.now += seconds
        self.hub.handle_timer(self.now)
        self.door.handle_timers()
        self.loop.run()

    def commits(self) -> None:
        """Make durable what the store holds back."""
        number = self.store.commit()
        self.loop.call_soon(self.door.committed, number)
        self.loop.run()

    def stops(self) -> None:
        """Stop the hub."""
        self.door.close()
        self.loop.run()

    def restarts(self) -> Playbook:
        """Give the hub as it is after a crash: everything gone but the store."""
        return Playbook(self.settings, self.rules.rules, self.store, self.now)

    def refusals(self) -> list[Refusal]:
        """Give what the journal noted since the last time."""
        return self.journal._refusals.drain()

    def _clock(self) -> float:
        return self.now

    def _report(self, error: LockgateError, principal: Principal) -> None:
        self.unheard.append(error)


class Client:
    """One client's side of a connection."""

    def __init__(self, playbook: Playbook, version: int, is_lab: bool = False) -> None:
        door = playbook.door
        self.version = version
        self.reasons: list[str] = []
        """The reason strings of the packets that came; they are taken out of the packets themselves."""
        self.handler: MqttConnection = door.lab_handler() if is_lab else door.handler()
        self._playbook = playbook
        self.wire = FakeLink(playbook.loop, self.handler)
        if is_lab:
            self.wire.protection = None
        self._read = 0
        self.handler.connection_made(self.wire)

    # What the client does

    def sends(self, *packets: Packet) -> Client:
        """Send packets in one piece."""
        return self.sends_bytes(b"".join(wire.encode(packet, self.version) for packet in packets))

    def sends_bytes(self, data: bytes) -> Client:
        """Send bytes, whole or not."""
        assert self.wire.is_reading, "the hub does not read"
        self.handler.data_received(data)
        self._playbook.loop.run()
        return self

    def subscribes(self, *requests: SubscriptionRequest, identifier: int = 0) -> Client:
        """Subscribe, with packet id 1."""
        properties = Properties(subscription_identifiers=(identifier,)) if identifier else NO_PROPERTIES
        return self.sends(Subscribe(1, requests, properties))

    def publishes(self, topic: str, payload: bytes = b"x", qos: int = 0, packet_id: int = 0, **words: Any) -> Client:
        """Publish; from QoS 1 with packet id 1, unless another is given."""
        return self.sends(Publish(topic_name(topic), payload, qos, packet_id=packet_id or min(qos, 1), **words))

    def ends(self) -> Client:
        """Close the connection without a word."""
        self.handler.eof_received()
        self._playbook.loop.run()
        return self

    def is_cut(self) -> Client:
        """Lose the connection."""
        self.wire.lose()
        self._playbook.loop.run()
        return self

    # What the client sees

    def gets(self, *expected: Packet) -> Client:
        """See exactly these packets, in this order."""
        assert self.packets() == list(expected)
        return self

    def gets_publish(self, topic: str, payload: bytes = b"x", qos: int = 0, **words: Any) -> Client:
        """See exactly one PUBLISH; from QoS 1 with packet id 1, unless another is given."""
        words.setdefault("packet_id", min(qos, 1))
        return self.gets(Publish(topic_name(topic), payload, qos, **words))

    def gets_nothing(self) -> Client:
        """See that nothing came."""
        return self.gets()

    def takes(self, kind: type[T]) -> T:
        """See exactly one packet, of this kind; give it."""
        packets = self.packets()
        assert [type(packet) for packet in packets] == [kind]
        packet = packets[0]
        assert isinstance(packet, kind)
        return packet

    def is_closed(self) -> Client:
        """See that the hub closed the connection, and that nothing more came."""
        self.gets()
        assert self.wire.is_closed
        return self

    def is_open(self) -> Client:
        """See that the connection is alive."""
        assert not self.wire.is_closed
        return self.sends(Pingreq()).gets(Pingresp())

    def packets(self) -> list[Packet]:
        """Give everything that came since the last time."""
        packets: list[Packet] = []
        data = bytes(self.wire.written)
        while found := wire.decode(data, self._read, self.version, ANY_SIZE):
            packet, self._read = found
            properties = getattr(packet, "properties", NO_PROPERTIES)
            if properties.reason_string is not None:
                self.reasons.append(properties.reason_string)
                packet = _without_reason(packet, properties)
            packets.append(packet)
        assert self._read == len(data), "half a packet was written"
        return packets


def _without_reason(packet: Any, properties: Properties) -> Packet:
    rest = msgspec.structs.replace(properties, reason_string=None)
    if isinstance(packet, Acknowledgement):
        return packet.without_reason()  # type: ignore[return-value]
    return msgspec.structs.replace(packet, properties=rest)  # type: ignore[no-any-return]
