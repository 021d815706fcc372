"""Threat: messages without payload, heavy with properties or a long topic, fill the memory past the queue's bound."""

from __future__ import annotations

import pytest

from lockgate.hub import Hub
from lockgate.model.message import Message, MessageProperties
from lockgate.model.topic import topic_name
from lockgate.policy import PolicyEngine
from lockgate.settings import HubSettings
from tests.attacks.conftest import Target
from tests.support.registry import NOW

BOUND_BYTES = 1_000_000
HEAVY = {
    "many empty user properties": MessageProperties(user_properties=(("", ""),) * 10_000),
    "long user properties": MessageProperties(user_properties=(("n" * 60_000, "t" * 60_000),) * 5),
    "correlation data": MessageProperties(correlation_data=b"c" * 60_000),
    "content type": MessageProperties(content_type="c" * 60_000),
    "response topic": MessageProperties(response_topic="r" * 60_000),
}


@pytest.mark.parametrize("properties", [*HEAVY.values(), None], ids=[*HEAVY, "long topic"])
def test_what_is_no_payload_counts_as_well(target: Target, properties: MessageProperties | None) -> None:
    target.hub = Hub(
        PolicyEngine(target.registry), target.store, HubSettings(max_queued_bytes=BOUND_BYTES), lambda *_: None
    )
    session = target.listens("sensor", "devices/sensor/#")
    sensor = target.registry.principal("sensor")
    for number in range(100):
        topic = f"devices/sensor/{number}" + ("/" + "x" * 60_000 if properties is None else "")
        target.hub.publish(sensor, Message(topic_name(topic), b"", properties=properties))
    assert 1 <= len(session.queue) < 20
    assert session.dropped == 100 - len(session.queue)
    assert session.queued_bytes < 2 * BOUND_BYTES
    while session.take(NOW, 0) is not None:
        pass
    assert session.queued_bytes == 0
