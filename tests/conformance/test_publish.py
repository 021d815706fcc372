"""PUBLISH: its properties and who gets it, sections 3.3.2.3 to 3.3.4."""

from __future__ import annotations

import time

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.conformance.marks import statement

PAIRS = [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("a", "\u20ac"), ("z", "x" * 1000)]
EVERYTHING = {
    "payload_format_indicator": 1,
    "content_type": "text/plain; charset=UTF-8",
    "response_topic": "answers/here",
    "correlation_data": b"\0\xff correlation",
    "user_property": PAIRS,
}


@statement("5.0", "MQTT-3.3.2-3")
def test_the_topic_name_matches_the_filter(hub: Hub) -> None:
    reader, writer = hub.client("reader"), hub.client("writer")
    reader.subscribe(hub.topic("a/+/c"), hub.topic("x/#"))
    names = ["a/b/c", "a//c", "a/b", "a/b/c/d", "A/b/c", "x", "x/y", "x/y/z", "xx", "a/c"]
    for name in names:
        writer.publish(hub.topic(name), b"x")
    heard = [message.topic for message in reader.gather()]
    assert heard == [hub.topic(name) for name in ("a/b/c", "a//c", "x", "x/y", "x/y/z")]


@statement("5.0", "MQTT-3.3.2-4")
@pytest.mark.parametrize("properties", [{}, {"payload_format_indicator": 0}, {"payload_format_indicator": 1}])
def test_the_payload_format_comes_through_unaltered(hub: Hub, properties: dict[str, int]) -> None:
    reader = hub.client("reader")
    reader.subscribe(hub.topic())
    hub.client("writer").publish(hub.topic(), b"text", properties=properties)
    assert reader.expect_message().properties == properties


@statement(
    "5.0",
    "MQTT-3.3.2-4",
    "MQTT-3.3.2-15",
    "MQTT-3.3.2-16",
    "MQTT-3.3.2-17",
    "MQTT-3.3.2-18",
    "MQTT-3.3.2-20",
)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_come_through_unaltered_and_in_their_order(hub: Hub, qos: int) -> None:
    live, kept = hub.client("live"), hub.client("kept", expiry=300)
    for reader in (live, kept):
        reader.subscribe(hub.topic(), qos=qos)
    kept.disconnect()
    hub.client("writer").publish(hub.topic(), b"text", qos=qos, retain=True, properties=EVERYTHING)
    assert live.expect_message().properties == EVERYTHING
    late = hub.client("late")
    late.subscribe(hub.topic(), qos=qos)
    assert late.expect_message(retain=True).properties == EVERYTHING
    if qos:
        assert hub.client("kept", clean=False).expect_message().properties == EVERYTHING


@statement("5.0", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-20")
@pytest.mark.parametrize(
    "properties",
    [
        {"response_topic": "a"},
        {"response_topic": "/", "correlation_data": b""},
        {"content_type": ""},
        {"correlation_data": bytes(range(256))},
        {"content_type": "x" * 3000},
    ],
)
def test_each_property_comes_through_alone(hub: Hub, properties: dict[str, object]) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic())
    assert peer.publish_and_hear(hub.topic(), b"x", properties=properties).properties == properties


@statement("5.0", "MQTT-3.3.2-5", "MQTT-3.3.2-6")
def test_a_message_waits_no_longer_than_its_expiry_and_the_rest_is_passed_on(hub: Hub) -> None:
    first = hub.client("reader", expiry=300)
    first.subscribe(hub.topic("#"), qos=1)
    first.disconnect()
    writer = hub.client("writer")
    for name, seconds in (("short", 1), ("long", 100)):
        words = {"properties": {"message_expiry_interval": seconds}, "qos": 1, "retain": True}
        writer.publish(hub.topic(name), b"x", **words)
    begin = time.monotonic()
    time.sleep(2.1)  # it expires: the statement is about time
    readers = [hub.client("reader", clean=False), hub.client("late")]  # by the queue, and by the retained message
    readers[1].subscribe(hub.topic("#"), qos=1)
    for reader in readers:
        found = reader.gather(qos=1)
        assert len(found) == 1, found
        heard = found[0]
        assert heard.topic == hub.topic("long")
        left = heard.properties["message_expiry_interval"]
        assert isinstance(left, int)
        assert 100 - (time.monotonic() - begin) - 1 <= left <= 98


@statement("5.0", "MQTT-3.3.2-6")
def test_a_message_that_did_not_wait_has_all_of_its_expiry(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic())
    heard = peer.publish_and_hear(hub.topic(), b"x", properties={"message_expiry_interval": 0xFFFF_FFFF})
    left = heard.properties["message_expiry_interval"]
    assert isinstance(left, int)
    assert 0xFFFF_FFFF - 20 <= left <= 0xFFFF_FFFF
    assert peer.publish_and_hear(hub.topic(), b"x").properties == {}


@statement("5.0", "MQTT-3.3.4-1")
def test_each_qos_has_its_answers(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic("nobody"), b"x")
    peer.ping()  # nothing else comes for QoS 0
    first = peer.send_publish(hub.topic("nobody"), b"x", qos=1)
    peer.expect(Puback, packet_id=first)
    second = peer.send_publish(hub.topic("nobody"), b"x", qos=2)
    peer.expect(Pubrec, packet_id=second)
    peer.ping()  # the second half waits for PUBREL
    peer.send_ack(Pubrel, second)
    peer.expect(Pubcomp, packet_id=second)


@statement("5.0", "MQTT-3.3.4-2")
@pytest.mark.parametrize(("qos", "highest"), [(0, 0), (1, 1), (2, 2)])
def test_overlapping_subscriptions_give_the_highest_of_their_qos(hub: Hub, qos: int, highest: int) -> None:
    reader = hub.client("reader")
    for topic_filter, granted in (("a/+", 0), ("a/#", 2), ("+/b", 1)):
        reader.subscribe(hub.topic(topic_filter), qos=granted)
    hub.client("writer").publish(hub.topic("a/b"), b"x", qos=qos)
    copies = reader.gather(qos=2)
    assert max(message.qos for message in copies) == highest
    assert len(copies) in (1, 3)  # one for all, or one for each


@statement("5.0", "MQTT-3.3.4-3", "MQTT-3.3.4-4", "MQTT-3.3.4-5")
def test_overlapping_subscriptions_name_their_identifiers(hub: Hub) -> None:
    reader = hub.client("reader")
    reader.subscribe(hub.topic("a/+"), qos=1, properties={"subscription_identifier": 1})
    reader.subscribe(hub.topic("a/#"), qos=1, properties={"subscription_identifier": 268_435_455})
    reader.subscribe(hub.topic("+/b"), qos=1)
    reader.subscribe(hub.topic("a/c"), qos=1, properties={"subscription_identifier": 3})
    hub.client("writer").publish(hub.topic("a/b"), b"x", qos=1)
    copies = [message.properties.get("subscription_identifier", []) for message in reader.gather(qos=1)]
    all_named: list[int] = []
    for named in copies:
        assert isinstance(named, list)
        all_named += named
    assert sorted(all_named) == [1, 268_435_455]
    if len(copies) > 1:
        assert sorted(len(named) for named in copies if isinstance(named, list)) == [0, 1, 1]


@statement("5.0", "MQTT-3.3.4-3", "MQTT-3.3.4-4")
def test_retained_and_waiting_messages_name_their_identifiers(hub: Hub) -> None:
    hub.client("writer").publish(hub.topic(), b"kept", qos=1, retain=True)
    reader = hub.client("reader", expiry=300)
    reader.subscribe(hub.topic(), qos=1, properties={"subscription_identifier": 5})
    assert reader.expect_message(retain=True).properties["subscription_identifier"] == [5]
    reader.subscribe(hub.topic(), qos=1, options=0x20, properties={"subscription_identifier": 6})  # the newer counts
    reader.disconnect()
    hub.client("writer").publish(hub.topic(), b"waits", qos=1)
    again = hub.client("reader", clean=False)
    assert again.expect_message(payload=b"waits").properties["subscription_identifier"] == [6]


@statement("5.0", "MQTT-3.3.4-6")
def test_a_publish_with_a_subscription_identifier_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.publish(V5, hub.topic(), b"x", properties={"subscription_identifier": [1]}))
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.3.1-3")
def test_dup_on_the_way_in_says_nothing_about_the_way_out(hub: Hub) -> None:
    reader, writer = hub.client("reader"), hub.client("writer")
    reader.subscribe(hub.topic(), qos=1)
    for dup in (True, False):
        packet_id = writer.send_publish(hub.topic(), b"x", qos=1, dup=dup)
        writer.expect(Puback, packet_id=packet_id)
        assert not reader.expect(Publish).dup
