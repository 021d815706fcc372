"""A relay that loses a quarter of all datagrams, doubles some and lets them overtake each other: bodies in blocks and
notifications come through, and nothing acts twice."""

from __future__ import annotations

import random

import pytest

from lockgate.adapters.coap.exchange import Acknowledged
from lockgate.adapters.coap.messages import Code
from lockgate.settings import CoapSettings
from tests.support.coap import ClientEnd, Relay, ServerEnd

PATIENT = CoapSettings(max_retransmit=12, ack_timeout_seconds=4, partial_deadline_seconds=1e6, block_bytes=256)
"""Who tries that often is never given up."""
SHORT, LONG = 15, 1500

pytestmark = pytest.mark.requirement("C1")


def ends(seed: int, settings: CoapSettings) -> tuple[ClientEnd, ServerEnd, Relay, random.Random]:
    chance = random.Random(seed)
    client = ClientEnd(settings, chance.random, chance.randrange(1 << 16))
    server = ServerEnd(settings, chance.random, chance.randrange(1 << 16))
    return client, server, Relay(client, server, chance), chance


def body(chance: random.Random, size: int) -> bytes:
    return chance.randbytes(size)


def bodies_cross(seed: int) -> None:
    client, server, relay, chance = ends(seed, PATIENT)
    server.is_slow = seed % 3 == 0
    sent = [body(chance, chance.choice((0, 10, 256, 257, 3000))) for _ in range(4)]
    for number, payload in enumerate(sent):
        client.asks(Code.POST, b"a", payload, relay.now, bytes((number,)))

        def is_answered(count: int = number + 1) -> bool:
            if server.unanswered and (relay.is_idle or chance.random() < 0.2):
                server.answer_late(relay.now)
            return len(client.responses) == count

        assert relay.run(is_answered), seed
    assert server.acted == [(Code.POST, payload) for payload in sent], seed
    assert [one.code for one in client.responses] == [Code.CREATED] + [Code.CHANGED] * 3
    server.is_slow = False
    client.asks(Code.GET, b"a", b"", relay.now)
    assert relay.run(lambda: bool(client.heard)), seed
    assert client.heard == [b"".join(sent)], seed


def notifications_cross(seed: int) -> None:
    client, server, relay, chance = ends(seed, PATIENT)
    server.publish(b"a", b"first", True, relay.now)
    observe(client, server, relay)
    sent = [bytes((number,)) * chance.choice((1, 20, 200)) for number in range(1, 31)]
    for payload in sent:
        server.publish(b"a", payload, True, relay.now)
        if chance.random() < 0.5:
            relay.run(lambda: False, chance.random() * 20)
    settled = len(sent)
    assert relay.run(lambda: len(server.settled) == settled), seed
    assert all(isinstance(event, Acknowledged) for event in server.settled), seed
    assert client.heard == sent, f"{seed}: each once, in their order"


def long_notifications_cross(seed: int) -> None:
    client, server, relay, chance = ends(seed, PATIENT)
    server.publish(b"a", b"first", True, relay.now)
    observe(client, server, relay)
    sent = [body(chance, 700 + number) for number in range(8)]
    for payload in sent:
        server.publish(b"a", payload, True, relay.now)
        relay.run(lambda: False, chance.random() * 60)
    assert relay.run(lambda: client.heard[-1:] == sent[-1:]), f"{seed}: the last state is known in the end"
    places = [sent.index(payload) for payload in client.heard]
    assert places == sorted(set(places)), f"{seed}: no body is mixed of two, or old, or heard twice"


def observe(client: ClientEnd, server: ServerEnd, relay: Relay) -> None:
    """Register as an observer; that is tried before, and here the relay is good."""
    client.protocol.request(Code.GET, ((6, b""), (11, b"a")), b"", 0, relay.now)
    (data,) = client.protocol.datagrams_to_send()
    server.receive(data, relay.now)
    (answer,) = server.protocol.datagrams_to_send()
    client.protocol.receive_datagram(answer, relay.now)
    assert len(server.observers) == 1


def impatient(seed: int) -> bool:
    """Cross with the standard's own settings; say whether it came through."""
    client, server, relay, chance = ends(seed, CoapSettings(block_bytes=512))
    payload = body(chance, 2500)
    client.asks(Code.POST, b"a", payload, relay.now)
    relay.run(lambda: not client.is_busy)
    relay.run(lambda: False, 1000)
    assert server.acted in ([], [(Code.POST, payload)]), seed
    assert relay._ends[0].next_timer() is None, "what is over leaves nothing behind"
    assert relay._ends[1].next_timer() is None
    return bool(client.responses) and client.responses[0].code == Code.CREATED


@pytest.mark.parametrize("seed", range(SHORT))
def test_bodies_cross_a_lossy_relay_and_act_once(seed: int) -> None:
    bodies_cross(seed)


@pytest.mark.parametrize("seed", range(SHORT))
def test_notifications_cross_a_lossy_relay_each_once(seed: int) -> None:
    notifications_cross(seed)


@pytest.mark.parametrize("seed", range(SHORT))
def test_long_notifications_cross_a_lossy_relay_unmixed(seed: int) -> None:
    long_notifications_cross(seed)


def test_with_the_standard_s_own_patience_most_come_through_and_none_acts_twice() -> None:
    assert sum(impatient(seed) for seed in range(60)) > 40


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_lossy_relays_of_every_kind() -> None:
    first = random.SystemRandom().randrange(1 << 32)
    for seed in range(first, first + LONG):
        bodies_cross(seed)
        notifications_cross(seed)
        long_notifications_cross(seed)
        impatient(seed)
