"""MQTT 5.0 sections 4.1, 4.2 and 4.4 to 4.6: session state, what is sent again, and order."""

from __future__ import annotations

import time

import pytest

from tests.conformance.client import Hub, Peer
from tests.conformance.codec import Pingresp, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.conformance.marks import statement

EXPIRY_SECONDS = 1


@statement("5.0", "MQTT-4.1.0-1")
def test_session_state_is_kept_while_the_connection_is_open(hub: Hub) -> None:
    """Also beyond the session expiry interval: that begins when the connection ends."""
    peer, publisher = hub.client("peer", expiry=0), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    publisher.publish(hub.topic(), b"one", qos=2)
    packet_id = peer.expect(Publish).packet_id
    for number in range(20):
        publisher.publish(hub.topic("other"), b"%d" % number, qos=1)
    publisher.publish(hub.topic(), b"two", qos=1)
    assert peer.expect(Publish, payload=b"two").packet_id != packet_id
    peer.send_ack(Pubrec, packet_id)
    peer.expect(Pubrel, packet_id=packet_id)


@statement("5.0", "MQTT-4.1.0-2")
def test_session_state_is_gone_when_its_expiry_interval_is_over(hub: Hub) -> None:
    for expiry in (0, EXPIRY_SECONDS):
        peer = hub.client("peer", expiry=expiry)
        peer.subscribe(hub.topic(), qos=1)
        peer.disconnect()
        if expiry:
            time.sleep(EXPIRY_SECONDS + 0.2)
        peer = hub.client("peer", clean=False, expiry=300)
        assert not peer.connack.session_present, f"after {expiry} s"
        hub.client("publisher").publish(hub.topic(), qos=1)
        peer.expect_silence(qos=1)
        peer.disconnect(0, {"session_expiry_interval": 0})


@statement("5.0", "MQTT-4.1.0-2")
def test_session_state_that_has_not_expired_is_there(hub: Hub) -> None:
    peer = hub.client("peer", expiry=300)
    peer.subscribe(hub.topic(), qos=1)
    peer.disconnect()
    hub.client("publisher").publish(hub.topic(), b"meanwhile", qos=1)
    peer = hub.client("peer", clean=False)
    assert peer.connack.session_present
    peer.expect_message(payload=b"meanwhile")


@statement("5.0", "MQTT-4.2.0-1")
def test_bytes_arrive_all_and_in_their_order_both_ways(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic())
    payload = bytes(range(256)) * 400
    for number in range(3):
        peer.send_publish(hub.topic(), payload + b"%d" % number)
    for number in range(3):
        assert peer.expect_message().payload == payload + b"%d" % number


@statement("5.0", "MQTT-4.4.0-1")
def test_what_is_unacknowledged_comes_again_after_a_reconnect_with_its_identifiers(hub: Hub) -> None:
    peer, publisher = hub.client("peer", expiry=300), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    sent: list[Publish] = []
    for qos in (1, 2, 2):
        publisher.publish(hub.topic(), b"%d" % len(sent), qos=qos)
        sent.append(peer.expect(Publish))
    peer.send_ack(Pubrec, sent[2].packet_id)
    peer.expect(Pubrel)
    peer.cut()
    peer = hub.client("peer", clean=False, expiry=300)
    again = [peer.receive() for _ in range(3)]
    publishes = [packet for packet in again if isinstance(packet, Publish)]
    assert [(one.payload, one.packet_id, one.qos, one.dup) for one in publishes] == [
        (one.payload, one.packet_id, one.qos, True) for one in sent[:2]
    ]
    assert [packet.packet_id for packet in again if isinstance(packet, Pubrel)] == [sent[2].packet_id]
    peer.expect_silence()


@statement("5.0", "MQTT-4.4.0-1")
def test_nothing_is_sent_again_while_the_connection_lasts(hub: Hub) -> None:
    peer, publisher = hub.client("peer", expiry=300), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    for qos in (1, 2):
        publisher.publish(hub.topic(), qos=qos)
    peer.expect(Publish, qos=1)
    packet_id = peer.expect(Publish, qos=2).packet_id
    peer.send_ack(Pubrec, packet_id)
    peer.expect(Pubrel, packet_id=packet_id)
    time.sleep(1.2)  # servers of old repeated after some seconds; those that still do seldom wait less than one
    peer.expect_silence()


@statement("5.0", "MQTT-4.4.0-1")
def test_a_clean_start_is_sent_nothing_again(hub: Hub) -> None:
    peer = hub.client("peer", expiry=300)
    peer.subscribe(hub.topic(), qos=1)
    hub.client("publisher").publish(hub.topic(), qos=1)
    peer.expect(Publish)
    peer.cut()
    hub.client("peer", expiry=300).expect_silence(qos=1)


@statement("5.0", "MQTT-4.4.0-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_was_refused_is_settled_and_not_sent_again(hub: Hub, qos: int) -> None:
    peer = hub.client("peer", properties={"session_expiry_interval": 300, "receive_maximum": 1})
    publisher = hub.client("publisher")
    peer.subscribe(hub.topic(), qos=qos)
    publisher.publish(hub.topic(), b"refused", qos=qos)
    publisher.publish(hub.topic(), b"next", qos=qos)
    message = peer.expect(Publish, payload=b"refused")
    peer.send_ack(Puback if qos == 1 else Pubrec, message.packet_id, 0x83)
    peer.expect_message(payload=b"next")  # it makes room in the window, and no PUBREL comes first
    peer.ping()
    peer.cut()
    hub.client("peer", clean=False, expiry=300).expect_silence(qos=qos)


@statement("5.0", "MQTT-4.5.0-1")
def test_an_accepted_message_goes_into_each_session_that_has_a_matching_subscription(hub: Hub) -> None:
    names = ("connected", "away", "by wildcard")
    filters = (hub.topic("a"), hub.topic("a"), hub.topic("+"))
    for name, topic_filter in zip(names, filters, strict=True):
        peer = hub.client(name.replace(" ", ""), expiry=300)
        peer.subscribe(topic_filter, qos=1)
        if name != "connected":
            peer.disconnect()
    hub.client("publisher").publish(hub.topic("a"), b"for all", qos=1)
    for name in names:
        hub.client(name.replace(" ", ""), clean=False, expiry=300).expect_message(payload=b"for all")


@statement("5.0", "MQTT-4.6.0-5", "MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_one_publisher_arrive_in_their_order(hub: Hub, qos: int) -> None:
    peer, publishers = hub.client("peer"), [hub.client("one"), hub.client("two")]
    peer.subscribe(hub.topic("+"), qos=qos)
    count = 15  # servers that take no more than 20 in flight are in the wild
    for number in range(count):
        for index, publisher in enumerate(publishers):
            publisher.send_publish(hub.topic("same"), b"%d %d" % (index, number), qos=qos)
    for publisher in publishers if qos == 2 else ():
        for packet_id in [publisher.expect(Pubrec).packet_id for _ in range(count)]:
            publisher.send_ack(Pubrel, packet_id)
    heard: list[list[int]] = [[], []]
    for payload in _payloads(peer, 2 * count):
        index, number = map(int, payload.split())
        heard[index].append(number)
    assert heard == [list(range(count))] * 2


@statement("5.0", "MQTT-4.6.0-5")
def test_order_holds_through_a_reconnect(hub: Hub) -> None:
    peer, publisher = hub.client("peer", expiry=300), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=1)
    numbers = [b"%d" % number for number in range(20)]
    for payload in numbers[:10]:
        publisher.publish(hub.topic(), payload, qos=1)
    for payload in numbers:
        message = peer.expect(Publish, payload=payload)
        if payload in numbers[:4]:
            peer.send_ack(Puback, message.packet_id)
        if payload == numbers[9]:
            break
    peer.ping()
    peer.cut()
    for payload in numbers[10:]:
        publisher.publish(hub.topic(), payload, qos=1)
    peer = hub.client("peer", clean=False, expiry=300)
    assert _payloads(peer, 16) == numbers[4:]


def _payloads(peer: Peer, count: int) -> list[bytes]:
    """Give the payloads of the next messages, each acknowledged, whatever comes between them."""
    payloads: list[bytes] = []
    while len(payloads) < count:
        packet = peer.receive()
        if isinstance(packet, Publish):
            payloads.append(packet.payload)
            if packet.qos:
                peer.send_ack(Puback if packet.qos == 1 else Pubrec, packet.packet_id)
        elif isinstance(packet, Pubrel):
            peer.send_ack(Pubcomp, packet.packet_id)
        else:
            assert isinstance(packet, Pingresp), f"expected messages, got {packet}"
    return payloads
