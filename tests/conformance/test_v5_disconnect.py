"""MQTT 5.0 sections 3.14 and 4.13: DISCONNECT, and how errors end a connection."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5, Connack, Disconnect, Will, text, two
from tests.conformance.marks import statement

# fmt: off
SERVER_CODES = {
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
}
"""The reason codes that a server may put into a DISCONNECT (table 3-13)."""
# fmt: on
MALFORMED = {
    "both QoS bits": codec.frame(codec.PUBLISH, text("a") + two(1) + b"\0", 0b0110),
    "packet type 0": b"\x00\x00",
    "a remaining length of five bytes": b"\x30\x80\x80\x80\x80\x01",
    "an unknown property": codec.frame(codec.PUBLISH, text("a") + b"\x02\x7f\x00"),
    "a topic longer than its packet": codec.frame(codec.PUBLISH, two(100) + b"a"),
    "properties longer than their packet": codec.frame(codec.PUBLISH, text("a") + b"\x09\x01"),
    "a PUBACK without an identifier": codec.frame(codec.PUBACK, b"\0"),
    "a PINGREQ with flags": codec.frame(codec.PINGREQ, b"", 1),
}
PROTOCOL_ERRORS = {
    "a second CONNECT": codec.connect(V5, "second"),
    "a packet that only servers send": codec.frame(codec.CONNACK, b"\0\0\0"),
    "a payload format indicator twice": codec.frame(codec.PUBLISH, text("a") + b"\x04\x01\x00\x01\x00"),
    "a property of another packet": codec.frame(codec.PUBLISH, text("a") + b"\x03\x13\x00\x01"),
    "a SUBSCRIBE without a filter": codec.frame(codec.SUBSCRIBE, two(1) + b"\0", 2),
    "a subscription identifier of 0": codec.frame(codec.SUBSCRIBE, two(1) + b"\x02\x0b\x00" + text("a") + b"\0", 2),
    "retain handling 3": codec.subscribe(V5, 1, [("a", 0x30)]),
    "QoS 3 in a SUBSCRIBE": codec.subscribe(V5, 1, [("a", 3)]),
    "no topic and no alias": codec.publish(V5, ""),
    "a topic alias of 0": codec.publish(V5, "a", properties={"topic_alias": 0}),
    "a subscription identifier in a client's PUBLISH": codec.publish(
        V5, "a", properties={"subscription_identifier": [1]}
    ),
}
WRONG = {**MALFORMED, **PROTOCOL_ERRORS}
LIMIT = 60


@statement("5.0", "MQTT-3.14.0-1")
@pytest.mark.parametrize(
    "packet",
    [
        codec.frame(codec.PINGREQ, b""),
        codec.publish(V5, "a"),
        codec.subscribe(V5, 1, [("a", 0)]),
        codec.auth(0x18, {"authentication_method": "X"}),
        b"\x00\x00",
        codec.connect(V5, "a", name="MQTX"),
        codec.connect(V5, "a", flags=0x03),
        codec.connect(V5, "a", will=Will("a/#")),
    ],
)
def test_no_disconnect_is_sent_before_a_connack_that_accepts(hub: Hub, packet: bytes) -> None:
    peer = hub.open()
    peer.send_raw(packet)
    first = peer.receive()
    if first is not None:
        assert isinstance(first, Connack)
        assert first.code >= 0x80
        peer.expect_closed()


@statement("5.0", "MQTT-3.14.1-1")
@pytest.mark.parametrize("flags", [0b0001, 0b0010, 0b0100, 0b1000])
def test_disconnect_with_a_reserved_flag_is_answered_as_malformed(hub: Hub, flags: int) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.frame(codec.DISCONNECT, b"", flags))
    peer.expect_disconnect(0x81)


@statement("5.0", "MQTT-4.13.1-1")
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_packet_ends_the_connection(hub: Hub, name: str) -> None:
    peer = hub.client("peer")
    peer.send_raw(MALFORMED[name], codec.frame(codec.PINGREQ, b""))
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-4.13.1-1")
@pytest.mark.parametrize("name", PROTOCOL_ERRORS)
def test_a_protocol_error_ends_the_connection(hub: Hub, name: str) -> None:
    peer = hub.client("peer")
    peer.send_raw(PROTOCOL_ERRORS[name], codec.frame(codec.PINGREQ, b""))
    peer.expect_end(0x81, 0x82, 0x94)


@statement("5.0", "MQTT-3.14.2-1", "MQTT-3.14.2-2", "MQTT-3.14.4-1", "MQTT-3.14.4-2", "MQTT-4.13.2-1")
def test_a_disconnect_has_a_listed_code_and_no_expiry_and_is_the_last_packet(hub: Hub) -> None:
    goodbyes = 0
    for wrong in WRONG.values():
        peer = hub.client("peer")
        peer.send_raw(wrong, codec.frame(codec.PINGREQ, b""))
        packet = peer.receive()
        if not isinstance(packet, Disconnect):  # whether it should have ended is for other tests to judge
            continue
        assert packet.code in SERVER_CODES
        assert "session_expiry_interval" not in packet.properties
        peer.expect_closed()
        goodbyes += 1
    assert goodbyes, "the server never says why it closes; then there is nothing to judge here"


@statement("5.0", "MQTT-3.14.2-1", "MQTT-3.14.4-2")
def test_a_connection_whose_session_is_taken_over_ends_with_that_code(hub: Hub) -> None:
    first = hub.client("same")
    hub.client("same")
    first.expect_end(0x8E)


@statement("5.0", "MQTT-3.14.2-3", "MQTT-3.14.2-4")
@pytest.mark.parametrize("limit", [LIMIT, 40])
def test_no_disconnect_is_larger_than_the_client_takes(hub: Hub, limit: int) -> None:
    for wrong in WRONG.values():
        peer = hub.client("peer", properties={"maximum_packet_size": limit})
        peer.send_raw(wrong, codec.frame(codec.PINGREQ, b""))
        peer.receive()  # the peer judges the size of what comes


@statement("5.0", "MQTT-4.13.2-1")
def test_a_connack_that_refuses_is_followed_by_the_end_of_the_connection(hub: Hub) -> None:
    peer = hub.open()
    peer.send_connect("peer", properties={"authentication_method": "NONE SUCH"})
    peer.expect_end(0x8C, 0x87)


@statement("5.0", "MQTT-3.14.4-3")
def test_a_disconnect_with_code_0_discards_the_will(hub: Hub) -> None:
    watcher = hub.client("watcher")
    watcher.subscribe(hub.topic(), qos=1)
    hub.client("mortal", will=Will(hub.topic(), b"gone", qos=1)).disconnect(0x00)
    hub.client("mortal").disconnect()  # it has ended: the will would be out
    watcher.expect_silence(qos=1)


@statement("5.0", "MQTT-3.14.4-3")
def test_a_disconnect_with_code_4_sends_the_will(hub: Hub) -> None:
    watcher = hub.client("watcher")
    watcher.subscribe(hub.topic(), qos=1)
    hub.client("mortal", will=Will(hub.topic(), b"gone", qos=1)).disconnect(0x04)
    watcher.expect_message(payload=b"gone")
