"""What all packets share: section 2."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import (
    V5,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Unsuback,
)
from tests.conformance.marks import statement


@statement("5.0", "MQTT-2.1.3-1")
@pytest.mark.parametrize(
    ("kind", "right"),
    [
        (codec.PUBACK, 0),
        (codec.PUBREC, 0),
        (codec.PUBREL, 2),
        (codec.PUBCOMP, 0),
        (codec.SUBSCRIBE, 2),
        (codec.UNSUBSCRIBE, 2),
        (codec.PINGREQ, 0),
        (codec.DISCONNECT, 0),
    ],
)
def test_reserved_flags_that_are_wrong_end_the_connection(hub: Hub, kind: int, right: int) -> None:
    bodies = {
        codec.SUBSCRIBE: codec.two(1) + b"\0" + codec.text(hub.topic()) + b"\0",
        codec.UNSUBSCRIBE: codec.two(1) + b"\0" + codec.text(hub.topic()),
        codec.PINGREQ: b"",
        codec.DISCONNECT: b"\x04",  # with a will: if it were taken, the end would not tell
    }
    for flags in {0, 1, 2, 4, 8, 15} - {right}:
        peer = hub.client("peer")
        peer.send_raw(codec.frame(kind, bodies.get(kind, codec.two(1)), flags))
        peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-2.1.3-1")
def test_a_connect_with_reserved_flags_in_its_fixed_header_is_refused(hub: Hub) -> None:
    for flags in (1, 2, 4, 8):
        peer = hub.open()
        packet = codec.connect(V5, hub.client_id("peer"))
        peer.send_raw(bytes([packet[0] | flags]) + packet[1:])
        peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-2.2.1-2")
def test_a_message_at_qos_0_has_no_packet_identifier(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic(), qos=2)
    heard = peer.publish_and_hear(hub.topic(), b"\0\1payload")
    assert heard.payload == b"\0\1payload"  # an identifier would stand before it


@statement("5.0", "MQTT-2.2.1-3")
def test_a_packet_identifier_of_0_ends_the_connection(hub: Hub) -> None:
    topic = hub.topic()
    for packet in (
        codec.publish(V5, topic, b"x", qos=1, packet_id=0),
        codec.publish(V5, topic, b"x", qos=2, packet_id=0),
        codec.subscribe(V5, 0, [(topic, 0)]),
        codec.unsubscribe(V5, 0, [topic]),
    ):
        peer = hub.client("peer")
        peer.send_raw(packet)
        peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-2.2.1-4")
def test_messages_in_flight_have_identifiers_of_their_own(hub: Hub) -> None:
    reader, writer = hub.client("reader"), hub.client("writer")
    reader.subscribe(hub.topic(), qos=2)
    for number in range(12):
        writer.publish(hub.topic(), b"%d" % number, qos=1 + number % 2)
    heard = [reader.expect(Publish) for _ in range(12)]
    assert len({packet.packet_id for packet in heard}) == 12
    # One that was given back may be used again; those that were not stay taken.
    for packet in heard[::4]:
        assert packet.qos == 1
        reader.send_ack(Puback, packet.packet_id)
    taken = {packet.packet_id for index, packet in enumerate(heard) if index % 4}
    for _ in range(3):
        writer.publish(hub.topic(), b"more", qos=1)
        assert reader.expect(Publish).packet_id not in taken


@statement("5.0", "MQTT-2.2.1-5", "MQTT-3.3.4-1")
@pytest.mark.parametrize("packet_id", [1, 77, 0x0100, 0xFFFF])
def test_answers_carry_the_identifier_of_their_publish(hub: Hub, packet_id: int) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic(), b"x", qos=1, packet_id=packet_id)
    assert peer.expect(Puback).packet_id == packet_id
    peer.send_publish(hub.topic(), b"x", qos=2, packet_id=packet_id)
    assert peer.expect(Pubrec).packet_id == packet_id
    peer.send_ack(Pubrel, packet_id)
    assert peer.expect(Pubcomp).packet_id == packet_id


@statement("5.0", "MQTT-2.2.1-5")
def test_a_pubrel_carries_the_identifier_of_its_publish(hub: Hub) -> None:
    reader = hub.client("reader")
    reader.subscribe(hub.topic(), qos=2)
    hub.client("writer").publish(hub.topic(), b"x", qos=2)
    tag = reader.expect(Publish, qos=2).packet_id
    reader.send_ack(Pubrec, tag)
    assert reader.expect(Pubrel).packet_id == tag
    reader.send_ack(Pubcomp, tag)


@statement("5.0", "MQTT-2.2.1-6")
@pytest.mark.parametrize("packet_id", [1, 0x1234, 0xFFFF])
def test_suback_and_unsuback_carry_the_identifier_that_they_answer(hub: Hub, packet_id: int) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.subscribe(V5, packet_id, [(hub.topic(), 0)]))
    assert peer.expect(Suback).packet_id == packet_id
    peer.send_raw(codec.unsubscribe(V5, packet_id, [hub.topic()]))
    assert peer.expect(Unsuback).packet_id == packet_id


@statement("5.0", "MQTT-2.2.2-1")
def test_packets_without_properties_say_so_with_a_length_of_0(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic(), qos=1)
    # The decoder takes the first byte after the identifier for the length: were it missing, "x" would be one.
    heard = peer.publish_and_hear(hub.topic(), b"xyz", qos=1)
    assert (heard.payload, heard.properties) == (b"xyz", {})


@statement("5.0", "MQTT-2.2.2-1")
def test_packets_whose_property_length_is_missing_end_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.frame(codec.PUBLISH, codec.text(hub.topic())))
    peer.expect_end(0x81, 0x82)
    peer = hub.open()
    peer.send_raw(codec.frame(codec.CONNECT, codec.text("MQTT") + b"\x05\x02" + codec.two(60)))
    peer.expect_end(0x81, 0x82)
