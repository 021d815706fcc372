"""Threat: a subscriber reads and never acknowledges: what is on its way to it stays in memory, large messages most."""

from __future__ import annotations

import pytest

from lockgate.hub import Hub, Session
from lockgate.model.message import Message
from lockgate.model.topic import topic_name
from lockgate.policy import PolicyEngine
from lockgate.settings import HubSettings
from tests.attacks.conftest import Target
from tests.support.fakes import FakeOutlet
from tests.support.registry import NOW

BOUND_BYTES = 1_000_000
MESSAGE_BYTES = 100_000


@pytest.fixture
def silent(target: Target) -> Session:
    settings = HubSettings(max_queued_bytes=BOUND_BYTES)
    target.hub = Hub(PolicyEngine(target.registry), target.store, settings, lambda *_: None)
    session = target.listens("sensor", "devices/sensor/#", 2)
    sensor = target.registry.principal("sensor")
    for number in range(200):
        message = Message(topic_name(f"devices/sensor/{number}"), b"x" * MESSAGE_BYTES, 1 + number % 2)
        target.hub.publish(sensor, message)
        session.take(NOW, 0)
    return session


def held(session: Session) -> int:
    """Give the payload bytes that a session holds."""
    return sum(len(delivery.message.payload) for delivery in (*session.queue, *session.unsettled.values()))


def test_what_is_not_acknowledged_is_bounded_in_bytes(silent: Session) -> None:
    assert len(silent.unsettled) == BOUND_BYTES // MESSAGE_BYTES
    assert held(silent) <= 2 * BOUND_BYTES + MESSAGE_BYTES


def test_each_acknowledgement_lets_one_more_go(silent: Session) -> None:
    assert silent.take(NOW, 0) is None
    assert silent.settle(next(iter(silent.unsettled)))
    assert silent.take(NOW, 0) is not None
    assert silent.take(NOW, 0) is None


def test_the_count_comes_back_to_nothing_on_every_way(silent: Session) -> None:
    tags = list(silent.unsettled)
    assert not silent.settle(60_000)
    silent.give_up(silent.unsettled[tags[0]])
    silent.release(tags[1])
    silent.attach(FakeOutlet(), 2)
    assert silent.unsettled_bytes == MESSAGE_BYTES * len(silent.unsettled)
    while silent.unsettled or silent.take(NOW, 0) is not None:
        for tag in list(silent.unsettled):
            silent.settle(tag)
    assert (silent.unsettled_bytes, silent.queued_bytes) == (0, 0)
