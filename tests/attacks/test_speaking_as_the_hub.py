"""Nobody but the hub speaks under $SYS, whatever rules say; and nobody hears it by a wildcard at the top."""

from __future__ import annotations

import pytest

from lockgate.hub import Receipt
from lockgate.model.permission import Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.policy import HUB_DEVICE, LAB_DEVICE, Denied, Grant, PolicyEngine
from tests.support.fakes import FakeRules, principal
from tests.unit.hub.test_hub import NOW, World, heard, message

RULES = (
    Rule("everyone", Operation.PUBLISH, "#"),
    Rule("everyone", Operation.PUBLISH, "$SYS/#"),
    Rule("everyone", Operation.PUBLISH, "$SYS/broker/version"),
    Rule("everyone", Operation.RECEIVE, "#"),
    Rule("everyone", Operation.RECEIVE, "$SYS/#"),
)
VERSION = TopicName("$SYS/broker/version")


@pytest.mark.parametrize("who", [principal("ops"), Principal(LAB_DEVICE, "lab/x", "lab")])
def test_no_rule_lets_anybody_publish_under_sys(who: Principal) -> None:
    decision = PolicyEngine(FakeRules(*RULES)).authorize(who, Operation.PUBLISH, VERSION)
    assert isinstance(decision, Denied)
    assert decision.fix == "only the hub publishes under $SYS"
    world = World(*RULES)
    assert isinstance(world.hub.publish(who, message(VERSION)), Denied)
    assert isinstance(world.hub.publish(principal("ops"), message("$SYSTEM/x")), Denied), "a # takes in no $"


def test_the_hub_publishes_there_and_nowhere_else() -> None:
    engine = PolicyEngine(FakeRules(*RULES))
    hub = Principal(HUB_DEVICE, HUB_DEVICE, HUB_DEVICE)
    assert isinstance(engine.authorize(hub, Operation.PUBLISH, VERSION, retain=True), Grant)
    assert isinstance(engine.authorize(hub, Operation.PUBLISH, "devices/a/b"), Denied)
    assert isinstance(engine.authorize(hub, Operation.RECEIVE, VERSION), Denied)


def test_what_the_hub_says_is_heard_by_a_filter_that_names_sys_and_by_no_other() -> None:
    world = World(*RULES)
    everything, sys = world.opens("everything", "#", "+/broker/version"), world.opens("sys", "$SYS/#")
    world.hub.announce(VERSION, "lockgate version 1")
    assert heard(everything) == []
    assert heard(sys) == [VERSION]
    late = world.opens("late", "$SYS/broker/+")
    assert heard(late) == [VERSION], "it is retained"
    assert world.store.retained == {}, "and not stored"


def test_a_device_without_a_rule_for_sys_cannot_subscribe_to_it() -> None:
    world = World(Rule("everyone", Operation.RECEIVE, "#"))
    session = world.opens("sensor")
    with pytest.raises(Denied):
        world.hub.subscribe(session, Subscription(TopicFilter("$SYS/#")), NOW)


def test_messages_are_counted_as_they_come_and_go() -> None:
    world = World()
    world.opens("first", "a")
    world.opens("second", "a", "b")
    assert isinstance(world.hub.publish(principal("first"), message("a")), Receipt)
    world.hub.publish(principal("first"), message("nobody"))
    assert (world.hub.published, world.hub.delivered) == (2, 2)
    assert (world.hub.subscription_count, world.hub.retained_count) == (3, 0)
