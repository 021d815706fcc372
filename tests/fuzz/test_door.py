"""Mutated conversations: whatever a client sends, the door answers by the book, lives on, and keeps its bounds."""

from __future__ import annotations

import random

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    V5,
    V311,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
)
from lockgate.adapters.mqtt.protocol import State
from lockgate.adapters.mqtt.wire_session import REASON_CODES
from lockgate.settings import MqttSettings, Settings
from tests.fuzz.mutations import CONNECT_SEEDS, SEEDS, mutated
from tests.support.playbook import Client, Playbook

MAX_PACKET_BYTES = 4096
SETTINGS = Settings(mqtt=MqttSettings(max_packet_bytes=MAX_PACKET_BYTES, max_connect_bytes=2048))
CONVERSATIONS_PER_HUB = 50
SHORT, LONG = 1500, 150_000


class Conversations:
    """Hubs, and clients that misbehave on them while one behaves."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ends: dict[str, int] = {}
        self._count = 0
        self._begin()

    def have_one(self) -> None:
        """Let one connection say spoilt things in pieces, and see that the door did well."""
        self._count += 1
        if self._count % CONVERSATIONS_PER_HUB == 0:
            self._begin()
        chance = self.chance
        version = V5 if chance.random() < 0.7 else V311
        client = self.hub.link(version)
        if chance.random() < 0.8:
            properties = (
                Properties(topic_alias_maximum=5, session_expiry_interval=60) if version == V5 else Properties()
            )
            connect = Connect(version, f"fuzz/{chance.randrange(3)}", chance.random() < 0.5, properties=properties)
            self._say(client, wire.encode(connect, version))
        else:
            self._say(client, mutated(chance.choice(CONNECT_SEEDS), chance, CONNECT_SEEDS))
        for _ in range(chance.randrange(6)):
            seed = chance.choice(SEEDS[version])
            self._say(client, seed if chance.random() < 0.5 else mutated(seed, chance, SEEDS[version]))
        self._judge(client)
        if not client.wire.is_closed:
            client.is_cut() if chance.random() < 0.5 else client.ends()
        assert self.witness.sends(Pingreq()).packets()[-1] == Pingresp()
        assert client.handler not in self.hub.door.connections

    def _begin(self) -> None:
        self.hub = Playbook(SETTINGS)
        self.witness = self.hub.subscriber("witness", "#", 1)

    def _say(self, client: Client, data: bytes) -> None:
        at = 0
        while at < len(data) and not client.wire.is_closed and client.wire.is_reading:
            size = self.chance.choice((1, 2, 7, len(data), len(data)))
            client.sends_bytes(data[at : at + size])
            at += size
            protocol = client.handler._protocol
            assert len(protocol._gathered) <= MAX_PACKET_BYTES + 4
            assert len(protocol._unanswered) <= SETTINGS.mqtt.receive_maximum

    def _judge(self, client: Client) -> None:
        protocol = client.handler._protocol
        version = protocol.version or V311
        packets = _decoded(bytes(client.wire.written), version)
        last = packets[-1] if packets else None
        for refusal in self.hub.refusals():
            assert refusal.reason != "unspecified error", refusal
        if not client.wire.is_closed:
            self._note("open")
            return
        assert protocol.state is State.CLOSED
        assert not any(isinstance(packet, Disconnect) for packet in packets[:-1]), "nothing follows a goodbye"
        if isinstance(last, Disconnect):
            assert version == V5
            assert last.code in REASON_CODES[14]
            assert last.code >= 0x80
            self._note("told why")
        elif isinstance(last, Connack) and last.code:
            self._note("refused")
        else:
            self._note("closed")
        failure = protocol.failure
        if failure is not None and isinstance(last, Disconnect):
            assert last.code == failure.code

    def _note(self, end: str) -> None:
        self.ends[end] = self.ends.get(end, 0) + 1


def _decoded(data: bytes, version: int) -> list[Packet]:
    packets: list[Packet] = []
    at = 0
    while found := wire.decode(data, at, version, len(data)):
        packet, at = found
        packets.append(packet)
    assert at == len(data), "half a packet was written"
    return packets


def run(count: int, seed: int) -> dict[str, int]:
    conversations = Conversations(seed)
    for _ in range(count):
        conversations.have_one()
    assert min(conversations.ends[end] for end in ("open", "told why", "refused", "closed")) > count // 200
    return conversations.ends


@pytest.mark.parametrize("seed", range(2))
def test_mutated_conversations_end_by_the_book(seed: int) -> None:
    run(SHORT, seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_very_many_mutated_conversations_end_by_the_book() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    print(run(LONG, seed))
