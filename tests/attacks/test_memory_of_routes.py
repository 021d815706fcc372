"""Threat: a device publishes on ever new topics, long ones or such that many filters take in, until memory is full."""

from __future__ import annotations

import pytest

from lockgate.hub import routes
from lockgate.hub.routes import Memory
from lockgate.hub.session import Session
from lockgate.model.session import Subscription
from lockgate.model.topic import topic_filter
from tests.attacks.conftest import Target
from tests.support.registry import NOW


def remembered_bytes(memory: Memory) -> int:
    """Give what the remembered routes take in topics and pointers alone: less than they do."""
    return sum(
        len(topic) + 8 * sum(1 + len(target.subscriptions) for target in route.targets)
        for topic, route in memory._routes.items()
    )


@pytest.fixture
def memory(target: Target, monkeypatch: pytest.MonkeyPatch) -> Memory:
    monkeypatch.setattr(routes, "MAX_ROUTE_BYTES", 1_000_000)
    return target.hub._memory


def test_long_topics_do_not_fill_the_memory_of_routes(target: Target, memory: Memory) -> None:
    sensor = target.registry.principal("sensor")
    for number in range(100):
        assert target.publishes(sensor, f"devices/sensor/{number}/" + "x" * 60_000)
        assert remembered_bytes(memory) <= 1_000_000


def test_topics_that_a_thousand_filters_take_in_do_not_fill_it_either(target: Target, memory: Memory) -> None:
    ear: Session = target.listens("sensor", "devices/sensor/#")
    for number in range(999):
        levels = "/".join("+x"[number >> bit & 1] for bit in range(10))
        target.hub.subscribe(ear, Subscription(topic_filter(f"devices/sensor/{levels}/+")), NOW)
    sensor = target.registry.principal("sensor")
    for number in range(1000):
        assert target.publishes(sensor, "devices/sensor/x/x/x/x/x/x/x/x/x/x/" + str(number))
        assert remembered_bytes(memory) <= 1_000_000


def test_a_grant_on_a_long_topic_is_given_anew_each_time(target: Target, memory: Memory) -> None:
    sensor = target.registry.principal("sensor")
    for number in range(20):
        assert target.publishes(sensor, f"devices/sensor/{number}/" + "x" * 60_000)
    assert memory._grants == {}
    assert target.publishes(sensor, "devices/sensor/short")
    assert list(memory._grants["sensor"].by_topic) == ["devices/sensor/short"]
