"""Text and numbers on the wire: section 1.5, and the strings of CONNECT and PUBLISH."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5, Properties, Text, Will
from tests.conformance.marks import statement

NO_UTF8 = (b"bad\xff", b"bad\xed\xa0\x80", b"bad\xc0\xaf", b"bad\xe2\x82")
"""A byte that is none, a surrogate, a slash that is too long, a character cut short."""


@statement("5.0", "MQTT-1.5.4-1", "MQTT-3.3.2-1")
@pytest.mark.parametrize("topic", NO_UTF8)
def test_a_topic_name_that_is_no_utf8_ends_the_connection(hub: Hub, topic: bytes) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic().encode() + topic, b"x")
    peer.expect_end(0x81, 0x82, 0x90)


@statement("5.0", "MQTT-1.5.4-1")
def test_every_character_may_come_through(hub: Hub) -> None:
    peer = hub.client("peer")
    topic = hub.topic("Ã¤Ã¶ äö \u20ac \U0001f680 \ud7ff \ue000 \U0010fffd")
    peer.subscribe(topic)
    peer.publish_and_hear(topic, b"x")


@statement("5.0", "MQTT-1.5.4-2")
def test_a_null_character_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic("nul\0l"), b"x")
    peer.expect_end(0x81, 0x82, 0x90)
    peer = hub.client("peer")
    peer.send_subscribe((hub.topic("nul\0l"), 0))
    peer.expect_end(0x81, 0x82, 0x8F)


@statement("5.0", "MQTT-1.5.4-3")
def test_a_byte_order_mark_is_a_character_like_others(hub: Hub) -> None:
    peer = hub.client("peer")
    topic = hub.topic("\ufeffmarked\ufeff")
    peer.subscribe(topic, hub.topic("marked"))
    properties = {"content_type": "\ufefftext", "user_property": [("\ufeffkey", "\ufeffvalue\ufeff")]}
    assert peer.publish_and_hear(topic, b"x", properties=properties).properties == properties
    peer.expect_silence()


@statement("5.0", "MQTT-1.5.5-1")
@pytest.mark.parametrize("size", [0, 127, 128, 129, 16_383, 16_384, 20_000])
def test_lengths_are_as_short_as_they_can_be(hub: Hub, size: int) -> None:
    peer = hub.client("peer")
    topic = hub.topic("length")
    peer.subscribe(topic, properties={"subscription_identifier": 128})
    # The decoder refuses a length with a needless byte: here Remaining Length, Property Length and identifier.
    heard = peer.publish_and_hear(topic, b"x" * size, properties={"correlation_data": b"y" * size})
    assert len(heard.payload) == size
    assert heard.properties["subscription_identifier"] == [128]


@statement("5.0", "MQTT-1.5.7-1")
@pytest.mark.parametrize("pair", [(b"bad\xff", b"v"), (b"k", b"bad\xff"), (b"k\0", b"v"), (b"k", b"\xed\xbf\xbf")])
def test_a_user_property_that_is_no_text_ends_the_connection(hub: Hub, pair: tuple[bytes, bytes]) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic(), b"x", properties={"user_property": [pair]})
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.3-4", "MQTT-3.1.4-1")
@pytest.mark.parametrize("client_id", [*NO_UTF8, b"nul\0l"])
def test_a_client_id_that_is_no_text_ends_the_connection(hub: Hub, client_id: bytes) -> None:
    peer = hub.open()
    peer.send_connect(client_id)
    peer.expect_end(0x81, 0x82, 0x85)


@statement("5.0", "MQTT-3.1.3-11", "MQTT-3.1.4-1")
@pytest.mark.parametrize("topic", NO_UTF8)
def test_a_will_topic_that_is_no_text_ends_the_connection(hub: Hub, topic: bytes) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), will=Will(topic))
    peer.expect_end(0x81, 0x82, 0x90)


@statement("5.0", "MQTT-3.1.3-12", "MQTT-3.1.4-1")
@pytest.mark.parametrize("user", NO_UTF8)
def test_a_user_name_that_is_no_text_ends_the_connection(hub: Hub, user: bytes) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), user=user, password=b"x")
    peer.expect_end(0x81, 0x82, 0x86)


@statement("5.0", "MQTT-3.3.2-13", "MQTT-3.3.2-19")
@pytest.mark.parametrize("name", ["response_topic", "content_type"])
@pytest.mark.parametrize("value", [*NO_UTF8, b"nul\0l"])
def test_a_property_that_is_no_text_ends_the_connection(hub: Hub, name: str, value: Text) -> None:
    peer = hub.client("peer")
    properties: Properties = {name: value}
    peer.send_publish(hub.topic(), b"x", properties=properties)
    peer.expect_end(0x81, 0x82, 0x90)


@statement("5.0", "MQTT-3.3.2-14")
@pytest.mark.parametrize("topic", ["a/+", "#", "a/#", "+/b"])
def test_a_response_topic_with_wildcards_ends_the_connection(hub: Hub, topic: str) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic(), b"x", properties={"response_topic": topic})
    peer.expect_end(0x81, 0x82, 0x90)


@statement("5.0", "MQTT-3.3.2-2")
@pytest.mark.parametrize("name", ["a/+", "#", "+"])
def test_a_topic_name_with_wildcards_ends_the_connection(hub: Hub, name: str) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic(name), b"x")
    peer.expect_end(0x81, 0x82, 0x90)


@statement("5.0", "MQTT-3.3.2-1")
def test_a_publish_without_topic_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_publish("", b"x")
    peer.expect_end(0x81, 0x82, 0x90)
    peer = hub.client("peer")
    peer.send_raw(codec.frame(codec.PUBLISH, b""))
    peer.expect_end(0x81, 0x82, 0x90)
    assert hub.client("peer", V5).connack.code == 0
