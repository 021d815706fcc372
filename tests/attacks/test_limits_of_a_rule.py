"""Threat: a rule's limit on size or rate holds at one door, and is forgotten at another."""

from __future__ import annotations

import pytest

from lockgate.errors import LockgateError, NotAuthorized, RateExceeded
from lockgate.hub import Receipt
from lockgate.model.message import Message
from lockgate.model.permission import Operation, Rule
from lockgate.model.session import Subscription, Will
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.settings import HubSettings
from tests.support.fakes import FakeOutlet, principal
from tests.unit.hub.test_hub import NOW, SENSOR, World, message

SMALL, LARGE = b"x" * 9, b"x" * 10
HEARS_ALL = Rule("everyone", Operation.RECEIVE, "#", id=2)
SPEAKS = Rule("everyone", Operation.PUBLISH, "#", id=1)
SPEAKS_BRIEFLY = Rule("everyone", Operation.PUBLISH, "a", id=1, max_payload_bytes=9)
HEARS_BRIEFLY = Rule("everyone", Operation.RECEIVE, "#", id=2, max_payload_bytes=9)
SPEAKS_SELDOM = Rule("everyone", Operation.PUBLISH, "a", id=1, messages_per_second=1.0)


def test_a_payload_above_the_rule_is_refused_also_on_a_topic_that_was_granted() -> None:
    world = World(SPEAKS_BRIEFLY)
    for _ in range(2):
        assert isinstance(world.hub.publish(SENSOR, message(payload=SMALL)), Receipt)
        error = world.hub.publish(SENSOR, message(payload=LARGE))
        assert isinstance(error, NotAuthorized)
        assert error.evidence["rule"] == "everyone: allow publish a up to 9 bytes (rule 1)"


def test_a_will_that_is_too_large_is_refused_with_its_connection() -> None:
    world = World(SPEAKS_BRIEFLY)
    world.opens("sensor", will=Will(message(payload=SMALL)))
    with pytest.raises(NotAuthorized):
        world.opens("lamp", will=Will(message(payload=LARGE)))


def test_a_will_that_has_become_too_large_does_not_go_out() -> None:
    world = World(SPEAKS, HEARS_ALL)
    office = world.opens("office", "#")
    sensor = world.opens("sensor", will=Will(message(payload=LARGE)))
    world.rules.change(SPEAKS_BRIEFLY, HEARS_ALL)
    world.hub.end_session(sensor, NOW)
    assert not office.queue
    assert [type(error).__name__ for _, error in world.reported] == ["Denied"]


def test_wills_count_on_the_rate() -> None:
    world = World(SPEAKS_SELDOM, HEARS_ALL, settings=HubSettings(rate_burst_seconds=1.0))
    office = world.opens("office", "#")
    for number in range(5):
        world.hub.end_session(world.opens(f"sensor/{number}", will=Will(message())), NOW)
    assert len(office.queue) == 1
    assert [type(error) for _, error in world.reported] == [RateExceeded] * 4


def publish(world: World, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> Receipt | LockgateError:
    return world.hub.publish(SENSOR, Message(TopicName(topic), payload, qos, retain), NOW)


def test_what_is_too_large_for_a_receiver_is_not_delivered_to_it() -> None:
    world = World(SPEAKS, HEARS_BRIEFLY, Rule("device:boss", Operation.RECEIVE, "#"))
    desk, boss = world.opens("desk", "#"), world.opens("boss", "#")
    for payload in (SMALL, LARGE, SMALL, LARGE):
        publish(world, "a", payload)
    assert [len(d.message.payload) for d in desk.queue] == [9, 9]
    assert [len(d.message.payload) for d in boss.queue] == [9, 10, 9, 10]


def test_a_retained_message_that_is_too_large_is_not_delivered() -> None:
    world = World(SPEAKS, HEARS_BRIEFLY)
    publish(world, "a", SMALL, retain=True)
    publish(world, "b", LARGE, retain=True)
    assert [d.message.topic for d in world.opens("desk", "#").queue] == ["a"]


def test_a_share_gives_what_is_too_large_to_a_member_that_may_have_it() -> None:
    world = World(SPEAKS, HEARS_BRIEFLY, Rule("device:boss", Operation.RECEIVE, "#"))
    desk, boss = world.opens("desk"), world.opens("boss")
    for session in (desk, boss):
        world.hub.subscribe(session, Subscription(TopicFilter("#"), 1, share="team"), NOW)
    for _ in range(6):
        publish(world, "a", LARGE, qos=1)
    assert (len(desk.queue), len(boss.queue)) == (0, 6)
    world.hub.end_session(boss, NOW)
    assert len(desk.queue) == 0, "nor by being handed over"


def test_what_waits_is_given_up_when_the_rules_shrink_below_its_size() -> None:
    world = World(SPEAKS, HEARS_ALL)
    desk = world.opens("desk", "#")
    for payload in (SMALL, LARGE):
        publish(world, "a", payload)
    world.rules.change(SPEAKS, HEARS_BRIEFLY)
    assert world.hub.review(desk) == 1
    assert [len(d.message.payload) for d in desk.queue] == [9]


def test_a_rate_is_the_devices_not_the_connections() -> None:
    world = World(SPEAKS_SELDOM, settings=HubSettings(rate_burst_seconds=2.0))
    outcomes = [world.hub.publish(principal("sensor", f"sensor/{number}"), message(), NOW) for number in range(4)]
    assert [isinstance(each, Receipt) for each in outcomes] == [True, True, False, False]
    assert isinstance(world.hub.publish(principal("lamp"), message(), NOW), Receipt)
    assert isinstance(world.hub.publish(SENSOR, message(), NOW + 1), Receipt)


def test_an_empty_bucket_is_not_filled_by_connecting_anew_nor_by_a_change_of_other_rules() -> None:
    world = World(SPEAKS_SELDOM, settings=HubSettings(rate_burst_seconds=1.0))
    assert isinstance(world.hub.publish(SENSOR, message(), NOW), Receipt)
    world.hub.open_session(SENSOR, FakeOutlet(), True, 0.0, None, 10, NOW)
    world.rules.change(SPEAKS_SELDOM, HEARS_ALL)
    assert isinstance(world.hub.publish(principal("sensor"), message(), NOW), RateExceeded)


def test_what_is_beyond_the_rate_is_neither_kept_nor_delivered() -> None:
    world = World(SPEAKS_SELDOM, HEARS_ALL, settings=HubSettings(rate_burst_seconds=1.0))
    office = world.opens("office", "#")
    publish(world, "a", b"1", retain=True)
    publish(world, "a", b"2", retain=True)
    assert [d.message.payload for d in office.queue] == [b"1"]
    assert [d.message.payload for d in world.opens("desk", "#").queue] == [b"1"]


def test_to_whom_no_time_is_told_a_rate_gives_a_burst_and_no_more() -> None:
    world = World(SPEAKS_SELDOM, settings=HubSettings(rate_burst_seconds=2.0))
    outcomes = [world.hub.publish(SENSOR, message()) for _ in range(5)]
    assert [isinstance(each, Receipt) for each in outcomes] == [True, True, False, False, False]
