"""Threat: a retained message reaches somebody who may not receive its topic, now or any longer."""

from __future__ import annotations

import pytest

from lockgate.errors import NotAuthorized
from lockgate.model.permission import Operation
from lockgate.model.session import Subscription
from lockgate.model.topic import topic_filter
from tests.attacks.conftest import Target, heard
from tests.support.registry import NOW


@pytest.fixture(autouse=True)
def _retained(target: Target) -> None:
    for name in ("sensor", "office"):
        for leaf in ("open", "secret"):
            assert target.publishes(target.registry.principal(name), f"devices/{name}/{leaf}", retain=True)


@pytest.mark.parametrize(
    "pattern", ["#", "+/sensor/secret", "devices/#", "devices/+/secret", "devices/sensor/secret", "devices/sensor/#"]
)
def test_a_subscription_beyond_the_rules_is_refused_and_gets_nothing_retained(target: Target, pattern: str) -> None:
    session = target.opens(target.registry.principal("office"))
    with pytest.raises(NotAuthorized):
        target.hub.subscribe(session, Subscription(topic_filter(pattern)), NOW)
    assert heard(session) == []


def test_a_deny_rule_inside_an_allowed_subscription_hides_its_retained_messages(target: Target) -> None:
    target.registry.allow("device:office", Operation.RECEIVE, "#")
    target.registry.deny("everyone", Operation.RECEIVE, "devices/+/secret")
    assert sorted(heard(target.listens("office", "#"))) == ["devices/office/open", "devices/sensor/open"]


def test_a_right_that_ended_hides_what_was_retained_before(target: Target) -> None:
    rule = target.registry.allow("device:office", Operation.RECEIVE, "devices/sensor/#")
    assert len(heard(target.listens("office", "devices/sensor/#"))) == 2
    session = target.hub.sessions["office/ear"]
    target.registry.rules.remove(rule)
    target.registry.clock.move()
    with pytest.raises(NotAuthorized):
        target.hub.subscribe(session, Subscription(topic_filter("devices/sensor/#")), NOW)
    assert heard(session) == []


def test_a_blocked_device_gets_nothing_retained(target: Target) -> None:
    session = target.opens(target.registry.principal("office"))
    target.registry.change("office", is_blocked=True)
    with pytest.raises(NotAuthorized):
        target.hub.subscribe(session, Subscription(topic_filter("devices/office/#")), NOW)
    assert heard(session) == []


@pytest.mark.requirement("Q5")
def test_retaining_needs_the_right_to_publish_and_to_retain(target: Target) -> None:
    target.registry.allow("device:office", Operation.PUBLISH, "board", retain=False)
    target.registry.allow("device:office", Operation.RECEIVE, "#")
    office = target.registry.principal("office")
    assert not target.publishes(office, "board", retain=True)
    assert not target.publishes(office, "devices/sensor/open", retain=True)
    assert not target.publishes(office, "devices/sensor/open", retain=True, payload=b"")
    topics = heard(target.listens("office", "#"))
    assert "board" not in topics
    assert "devices/sensor/open" in topics


def test_a_remembered_grant_without_retain_does_not_retain(target: Target) -> None:
    target.registry.allow("device:office", Operation.PUBLISH, "board", retain=False)
    office = target.registry.principal("office")
    assert target.publishes(office, "board")
    assert not target.publishes(office, "board", retain=True)
