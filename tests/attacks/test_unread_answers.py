"""Threat: a client asks without end and never reads the answers, until they fill the hub's memory."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Packet, Pingreq, Publish, Subscribe, SubscriptionRequest, Unsubscribe
from lockgate.adapters.mqtt.sender import BYTES_PER_WRITE
from lockgate.model.topic import topic_name
from lockgate.settings import NetSettings, Settings
from tests.support.playbook import Client, Playbook

BUFFER_BYTES = 10_000
ASKED = 12_000
LARGEST_ANSWER = 2000
LARGE = wire.encode(Publish(topic_name("a"), bytes(100_000)), V5)
QUESTIONS: list[Packet] = [
    Pingreq(),
    Publish(topic_name("forbidden"), b"", 1, packet_id=1),
    Subscribe(1, (SubscriptionRequest("forbidden"),) * 20),
    Unsubscribe(1, ("a",) * 20),
]


def asks_without_reading(client: Client, question: Packet) -> int:
    """Send a question as long as the hub reads; give how often it was read."""
    client.handler.pause_writing()
    for count in range(ASKED):
        if not client.wire.is_reading:
            return count
        client.sends(question)
        client.wire.unsent_bytes = len(client.wire.written)
    return ASKED


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda packet: type(packet).__name__)
@pytest.mark.parametrize("is_on_a_slow_disk", [False, True])
def test_who_does_not_read_is_not_read_until_it_reads_again(question: Packet, is_on_a_slow_disk: bool) -> None:
    hub = Playbook(Settings(net=NetSettings(max_write_buffer_bytes=BUFFER_BYTES)), rules=())
    client = hub.client("sensor")
    count = asks_without_reading(client, question)
    waiting = len(client.wire.written)
    assert count < ASKED
    assert waiting <= 2 * BUFFER_BYTES + LARGEST_ANSWER, f"{waiting} bytes wait after {count} questions"
    hub.store.is_full = is_on_a_slow_disk
    client.wire.unsent_bytes = 0
    client.handler.resume_writing()
    hub.store.is_full = False
    hub.commits()
    assert client.wire.is_reading
    client.packets()
    client.is_open()


def test_an_unread_subscriber_may_still_say_that_it_is_alive() -> None:
    client = Playbook().client("sensor", keep_alive_seconds=10)
    client.handler.pause_writing()
    client.wire.unsent_bytes = NetSettings().max_write_buffer_bytes
    client.sends(Pingreq()).sends(Pingreq())
    assert client.wire.is_reading


def test_a_subscriber_that_does_not_read_gets_no_whole_queue_of_large_messages_into_its_buffer() -> None:
    hub = Playbook()
    victims = [hub.subscriber(f"office/{number}") for number in range(3)]
    for victim in victims:
        full_after(victim, 200_000)
    sensor = hub.client("sensor")
    sensor.handler.data_received(LARGE * 50)
    hub.loop.run()
    for victim in victims:
        assert 200_000 <= len(victim.wire.written) <= 200_000 + 2 * BYTES_PER_WRITE + 100_000
        assert victim.handler.session is not None
        assert len(victim.handler.session.queue) > 40


def full_after(client: Client, size: int) -> None:
    """Have the link of a client tell, as a real one does, when more waits to be sent than should."""
    write = client.wire.write

    def counted(data: bytes) -> None:
        write(data)
        if len(client.wire.written) > size:
            client.handler.pause_writing()

    client.wire.write = counted  # type: ignore[method-assign]
