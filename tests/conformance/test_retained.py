"""RETAIN: section 3.3.1.3, and the subscription options that are about it."""

from __future__ import annotations

import pytest

from tests.conformance.client import Hub
from tests.conformance.marks import statement

RETAIN_AS_PUBLISHED = 0x08
ONLY_IF_NEW, NEVER = 0x10, 0x20


@statement("5.0", "MQTT-3.3.1-5", "MQTT-3.3.1-9")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_replaces_the_one_before(hub: Hub, qos: int) -> None:
    writer = hub.client("writer")
    properties = {"content_type": "t", "user_property": [("k", "v")]}
    writer.publish(hub.topic(), b"first", retain=True, qos=qos)
    writer.publish(hub.topic(), b"second", retain=True, qos=qos, properties=properties)
    late = hub.client("late")
    late.subscribe(hub.topic(), qos=2)
    late.expect_message(topic=hub.topic(), payload=b"second", retain=True, qos=qos, properties=properties)
    late.expect_silence(qos=2)


@statement("5.0", "MQTT-3.3.1-6", "MQTT-3.3.1-7")
def test_a_message_without_payload_removes_the_retained_one(hub: Hub) -> None:
    writer, reader = hub.client("writer"), hub.client("reader")
    writer.publish(hub.topic(), b"kept", retain=True, qos=1)
    reader.subscribe(hub.topic(), qos=1, options=NEVER)
    writer.publish(hub.topic(), b"", retain=True, qos=1)
    reader.expect_message(payload=b"", retain=False)  # it goes out as any other
    late = hub.client("late")
    late.subscribe(hub.topic(), qos=1)
    late.expect_silence(qos=1)  # and is not kept itself


@statement("5.0", "MQTT-3.3.1-8")
def test_a_message_that_is_not_retained_leaves_the_retained_one_alone(hub: Hub) -> None:
    writer = hub.client("writer")
    writer.publish(hub.topic("never"), b"passes", qos=1)
    writer.publish(hub.topic("kept"), b"kept", retain=True, qos=1)
    writer.publish(hub.topic("kept"), b"passes", qos=1)
    writer.publish(hub.topic("kept"), b"", qos=1)
    late = hub.client("late")
    late.subscribe(hub.topic("+"), qos=1)
    assert [message.payload for message in late.gather(qos=1)] == [b"kept"]


@statement("5.0", "MQTT-3.3.1-9")
def test_all_matching_retained_messages_come_at_each_subscribing(hub: Hub) -> None:
    writer, reader = hub.client("writer"), hub.client("reader")
    for name in ("a", "b", "c/d"):
        writer.publish(hub.topic(name), name.encode(), retain=True, qos=1)
    for topic_filter, names in (("#", {b"a", b"b", b"c/d"}), ("+", {b"a", b"b"}), ("#", {b"a", b"b", b"c/d"})):
        reader.subscribe(hub.topic(topic_filter), qos=1)
        found = reader.gather(qos=1)
        assert sorted(message.payload for message in found) == sorted(names)
        assert all(message.retain for message in found)


@statement("5.0", "MQTT-3.3.1-10")
def test_retain_handling_1_is_for_new_subscriptions(hub: Hub) -> None:
    hub.client("writer").publish(hub.topic(), b"kept", retain=True, qos=1)
    reader = hub.client("reader")
    reader.subscribe(hub.topic(), qos=1, options=ONLY_IF_NEW)
    reader.expect_message(payload=b"kept", retain=True)
    for qos in (1, 0):  # another QoS makes no new subscription of it
        reader.subscribe(hub.topic(), qos=qos, options=ONLY_IF_NEW)
        reader.expect_silence(qos=1)
    reader.unsubscribe(hub.topic())
    reader.subscribe(hub.topic(), qos=1, options=ONLY_IF_NEW)
    reader.expect_message(payload=b"kept", retain=True)


@statement("5.0", "MQTT-3.3.1-10")
def test_retain_handling_1_knows_the_subscriptions_of_a_session_that_goes_on(hub: Hub) -> None:
    hub.client("writer").publish(hub.topic(), b"kept", retain=True, qos=1)
    first = hub.client("reader", expiry=300)
    first.subscribe(hub.topic(), qos=1, options=ONLY_IF_NEW)
    first.expect_message(payload=b"kept")
    first.disconnect()
    second = hub.client("reader", clean=False, expiry=300)
    second.subscribe(hub.topic(), qos=1, options=ONLY_IF_NEW)
    second.expect_silence(qos=1)


@statement("5.0", "MQTT-3.3.1-11")
def test_retain_handling_2_brings_no_retained_messages(hub: Hub) -> None:
    writer, reader = hub.client("writer"), hub.client("reader")
    writer.publish(hub.topic(), b"kept", retain=True, qos=1)
    reader.subscribe(hub.topic(), qos=1, options=NEVER)
    reader.expect_silence(qos=1)
    writer.publish(hub.topic(), b"live", retain=True, qos=1)
    reader.expect_message(payload=b"live")


@statement("5.0", "MQTT-3.3.1-12")
@pytest.mark.parametrize("retain", [False, True])
def test_without_retain_as_published_the_flag_is_0(hub: Hub, retain: bool) -> None:
    reader = hub.client("reader")
    reader.subscribe(hub.topic(), qos=1)
    hub.client("writer").publish(hub.topic(), b"x", retain=retain, qos=1)
    reader.expect_message(payload=b"x", retain=False)


@statement("5.0", "MQTT-3.3.1-13")
@pytest.mark.parametrize("retain", [False, True])
def test_with_retain_as_published_the_flag_is_as_it_came(hub: Hub, retain: bool) -> None:
    reader = hub.client("reader")
    reader.subscribe(hub.topic(), qos=1, options=RETAIN_AS_PUBLISHED)
    hub.client("writer").publish(hub.topic(), b"x", retain=retain, qos=1)
    reader.expect_message(payload=b"x", retain=retain)


@statement("5.0", "MQTT-3.3.1-12", "MQTT-3.3.1-13")
def test_the_flag_is_each_subscribers_own(hub: Hub) -> None:
    plain, exact = hub.client("plain"), hub.client("exact")
    plain.subscribe(hub.topic())
    exact.subscribe(hub.topic(), options=RETAIN_AS_PUBLISHED)
    writer = hub.client("writer")
    for retain in (True, False, True):
        writer.publish(hub.topic(), b"x", retain=retain)
        plain.expect_message(retain=False)
        exact.expect_message(retain=retain)
