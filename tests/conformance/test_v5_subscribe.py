"""MQTT 5.0 sections 3.8 and 3.9: SUBSCRIBE and SUBACK."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5, Puback, Publish, Suback
from tests.conformance.marks import statement

SUBACK_CODES = {0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2}
NO_LOCAL = 0x04
BAD_UTF8 = [b"\xff", b"a/\xc3", b"\xc0\xaf", b"\xed\xa0\x80"]
LIMIT = 60


def deep(hub: Hub) -> str:
    """Give a filter with more levels than most servers allow; one that allows them may grant it."""
    return hub.topic("x/" * 100 + "x")


@statement("5.0", "MQTT-3.8.1-1")
@pytest.mark.parametrize("flags", [0b0000, 0b0001, 0b0011, 0b0110, 0b1010])
def test_subscribe_with_other_flags_ends_the_connection(hub: Hub, flags: int) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.subscribe(V5, 1, [(hub.topic(), 0)], flags=flags))
    peer.expect_end(0x81)


@statement("5.0", "MQTT-3.8.3-1")
@pytest.mark.parametrize("name", BAD_UTF8)
def test_subscribe_to_a_filter_that_is_no_utf8_ends_the_connection(hub: Hub, name: bytes) -> None:
    peer = hub.client("peer")
    peer.send_subscribe((name, 0))
    peer.expect_end(0x81)


@statement("5.0", "MQTT-3.8.3-2")
@pytest.mark.parametrize("payload", [b"", codec.text("a")], ids=["no filter", "no options"])
def test_subscribe_without_a_filter_and_its_options_ends_the_connection(hub: Hub, payload: bytes) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.frame(codec.SUBSCRIBE, codec.two(1) + b"\0" + payload, 2))
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.8.3-3")
def test_no_local_keeps_away_a_clients_own_messages_and_no_others(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic(), options=NO_LOCAL, qos=1)
    peer.publish(hub.topic(), b"own", qos=1)
    hub.client("other").publish(hub.topic(), b"another's", qos=1)
    peer.expect_message(payload=b"another's")


@statement("5.0", "MQTT-3.8.3-3")
def test_without_no_local_a_client_gets_its_own_messages(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic())
    peer.send_publish(hub.topic(), b"own")
    peer.expect_message(payload=b"own")


@statement("5.0", "MQTT-3.8.3-4")
def test_no_local_on_a_shared_subscription_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_subscribe((f"$share/us/{hub.topic()}", NO_LOCAL))
    peer.expect_end(0x82)


@statement("5.0", "MQTT-3.8.3-5")
@pytest.mark.parametrize("bit", [0x40, 0x80])
def test_a_reserved_subscription_option_ends_the_connection(hub: Hub, bit: int) -> None:
    peer = hub.client("peer")
    peer.send_subscribe((hub.topic(), bit))
    peer.expect_end(0x81)


@statement("5.0", "MQTT-3.8.4-1", "MQTT-3.8.4-2")
def test_each_subscribe_is_answered_by_a_suback_with_its_identifier(hub: Hub) -> None:
    peer = hub.client("peer")
    identifiers = [1, 256, 65_535, 1]
    peer.send_raw(*(codec.subscribe(V5, number, [(hub.topic(), 0)]) for number in identifiers))
    assert [peer.expect(Suback).packet_id for _ in identifiers] == identifiers


@statement("5.0", "MQTT-3.8.4-3")
def test_the_same_filter_again_replaces_its_subscription(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic(), properties={"subscription_identifier": 1})
    peer.subscribe(hub.topic(), qos=1, properties={"subscription_identifier": 2})
    publisher.publish(hub.topic(), b"once", qos=1)
    publisher.publish(hub.topic(), b"end", qos=1)
    peer.expect_message(payload=b"once", qos=1, properties={"subscription_identifier": [2]})
    peer.expect_message(payload=b"end")


@statement("5.0", "MQTT-3.8.4-4")
def test_retained_messages_come_again_when_retain_handling_is_0(hub: Hub) -> None:
    hub.client("publisher").publish(hub.topic(), b"kept", qos=1, retain=True)
    peer = hub.client("peer")
    for _ in range(2):
        peer.subscribe(hub.topic())
        peer.expect_message(payload=b"kept", retain=True)


@statement("5.0", "MQTT-3.8.4-4")
def test_replacing_a_subscription_loses_no_message(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=1)
    for number in range(40):
        publisher.send_publish(hub.topic(), b"%d" % number, qos=1)
        peer.send_subscribe((hub.topic(), number % 2))
    payloads: list[bytes] = []
    answers = 0
    while len(payloads) < 40 or answers < 40:
        packet = peer.receive()
        if isinstance(packet, Publish):
            payloads.append(packet.payload)
            if packet.qos:
                peer.send_ack(Puback, packet.packet_id)
        else:
            assert isinstance(packet, Suback)
            answers += 1
    assert sorted(payloads, key=int) == [b"%d" % number for number in range(40)]


@statement("5.0", "MQTT-3.8.4-5", "MQTT-3.8.4-6", "MQTT-3.8.4-7", "MQTT-3.9.3-1")
def test_several_filters_get_one_suback_with_a_code_for_each_in_their_order(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    packet_id = peer.send_subscribe(
        (hub.topic("a"), 2), (hub.topic("b"), 0), (hub.topic("+/c"), 1), (hub.topic("a"), 1)
    )
    peer.expect(Suback, packet_id=packet_id, codes=(2, 0, 1, 1))
    for name, qos in (("a", 1), ("b", 0), ("x/c", 1)):  # of the two for a the second holds
        publisher.publish(hub.topic(name), qos=2)
        peer.expect_message(topic=hub.topic(name), qos=qos)


@statement("5.0", "MQTT-3.8.4-6", "MQTT-3.8.4-7", "MQTT-3.9.3-1", "MQTT-3.9.3-2")
def test_a_filter_that_fails_has_its_code_in_its_place(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_subscribe((hub.topic("a"), 2), (deep(hub), 1), (hub.topic("b"), 0))
    codes = peer.expect(Suback).codes
    assert len(codes) == 3
    assert set(codes) <= SUBACK_CODES
    assert (codes[0], codes[2]) == (2, 0)
    assert codes[1] == 1 or codes[1] >= 0x80


@statement("5.0", "MQTT-3.8.4-8")
def test_a_message_arrives_at_the_lower_of_its_qos_and_the_granted_qos(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    for granted in (0, 1, 2):
        peer.subscribe(hub.topic(f"{granted}/+"), qos=granted)
        for qos in (0, 1, 2):
            publisher.publish(hub.topic(f"{granted}/{qos}"), qos=qos)
            peer.expect_message(topic=hub.topic(f"{granted}/{qos}"), qos=min(qos, granted))


@statement("5.0", "MQTT-3.9.2-1", "MQTT-3.9.2-2")
def test_suback_leaves_out_what_would_make_it_larger_than_the_client_takes(hub: Hub) -> None:
    peer = hub.client("peer", properties={"maximum_packet_size": LIMIT})
    peer.send_subscribe((hub.topic("a"), 0), (deep(hub), 0), (hub.topic("b"), 1))
    codes = peer.expect(Suback).codes  # the peer judges its size
    assert (codes[0], codes[2]) == (0, 1)
