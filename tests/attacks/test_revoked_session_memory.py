"""Threat: what the hub remembers of a permission outlives the permission."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lockgate.model.message import Message
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.model.topic import TopicName, topic_filter
from tests.attacks.conftest import Target, heard
from tests.support.registry import NOW, FakeRegistry, es256

TOPIC = "devices/sensor/x"


def block(registry: FakeRegistry, name: str) -> None:
    registry.change(name, is_blocked=True)


def revoke(registry: FakeRegistry, name: str) -> None:
    registry.change_credentials(name, is_revoked=True)


def remove(registry: FakeRegistry, name: str) -> None:
    registry.remove(name)


def replace(registry: FakeRegistry, name: str) -> None:
    registry.add(name, es256())


def deny(registry: FakeRegistry, name: str) -> None:
    for operation in Operation:
        registry.deny(f"device:{name}", operation, "#")


ACTS = [block, revoke, remove, replace, deny]
Act = Callable[[FakeRegistry, str], None]


@pytest.fixture
def office(target: Target) -> Principal:
    target.registry.allow("device:office", Operation.RECEIVE, "#")
    return target.registry.principal("office")


@pytest.mark.parametrize("act", ACTS)
def test_a_remembered_right_to_publish_ends_with_the_next_message(target: Target, office: Principal, act: Act) -> None:
    ear = target.listens("office", "#")
    sensor = target.registry.principal("sensor")
    for _ in range(3):
        assert target.publishes(sensor, TOPIC)
    assert heard(ear) == [TOPIC] * 3
    act(target.registry, "sensor")
    assert not target.publishes(sensor, TOPIC)
    assert not target.publishes(sensor, TOPIC, retain=True)
    assert heard(ear) == []


@pytest.mark.parametrize("act", ACTS)
def test_a_remembered_route_to_a_receiver_ends_with_the_next_message(
    target: Target, office: Principal, act: Act
) -> None:
    ear = target.listens("office", "#")
    sensor = target.registry.principal("sensor")
    for _ in range(3):
        assert target.publishes(sensor, TOPIC)
    assert heard(ear) == [TOPIC] * 3
    act(target.registry, "office")
    assert target.publishes(sensor, TOPIC)
    assert heard(ear) == []


def test_the_route_that_denied_a_receiver_opens_again(target: Target, office: Principal) -> None:
    ear = target.listens("office", "#")
    sensor = target.registry.principal("sensor")
    block(target.registry, "office")
    assert target.publishes(sensor, TOPIC)
    target.registry.change("office", is_blocked=False)
    assert target.publishes(sensor, TOPIC)
    assert heard(ear) == [TOPIC]


def test_a_rule_that_is_taken_away_is_forgotten_for_publish_and_receive(target: Target, office: Principal) -> None:
    rule = target.registry.allow("device:sensor", Operation.PUBLISH, "out")
    sensor = target.registry.principal("sensor")
    assert target.publishes(sensor, "out")
    target.registry.rules.remove(rule)
    target.registry.clock.move()
    assert not target.publishes(sensor, "out")


def test_a_grant_remembered_at_one_qos_does_not_carry_a_higher_one(target: Target) -> None:
    target.registry.allow("device:sensor", Operation.PUBLISH, "out", max_qos=0)
    sensor = target.registry.principal("sensor")
    assert target.publishes(sensor, "out")
    memory = target.hub._memory
    assert memory.walk(sensor, Message(TopicName("out"), b"")) is not None
    assert memory.walk(sensor, Message(TopicName("out"), b"", 1)) is None


def test_another_principal_under_the_same_client_id_does_not_inherit_grants(target: Target) -> None:
    first = target.registry.principal("sensor")
    assert target.publishes(first, TOPIC)
    revoke(target.registry, "sensor")
    target.registry.add("sensor", es256())
    second = target.registry.principal("sensor")
    assert first != second
    assert target.publishes(second, TOPIC)
    assert not target.publishes(first, TOPIC)


def test_a_take_over_with_a_new_credential_gets_routes_of_its_own(target: Target, office: Principal) -> None:
    first = target.opens(office, expiry_seconds=60)
    target.hub.subscribe(first, Subscription(topic_filter("#")), NOW)
    sensor = target.registry.principal("sensor")
    assert target.publishes(sensor, TOPIC)
    revoke(target.registry, "office")
    target.registry.add("office", es256())
    again = target.opens(target.registry.principal("office"), expiry_seconds=60)
    assert again is first
    heard(again)
    assert target.publishes(sensor, TOPIC)
    assert heard(again) == [TOPIC]
