"""MQTT 3.1.1 sections 4.3, 4.5 and 4.6: the delivery protocols of QoS 1 and 2, and order."""

from __future__ import annotations

import pytest

from tests.conformance.client import Hub
from tests.conformance.codec import V311, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.conformance.hearing import hear
from tests.conformance.marks import statement


@statement("3.1.1", "MQTT-4.3.2-1")
def test_a_qos_1_delivery_comes_again_without_puback_and_not_with_it(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311, clean=False), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=1)
    for payload in (b"acknowledged", b"not acknowledged"):
        publisher.publish(hub.topic(), payload, qos=1)
    first, second = peer.expect(Publish, dup=False), peer.expect(Publish, dup=False)
    peer.send_ack(Puback, first.packet_id)
    peer.ping()
    peer.cut()
    peer = hub.client("peer", V311, clean=False)
    peer.expect_message(payload=b"not acknowledged", packet_id=second.packet_id, dup=True)
    peer.expect_silence(qos=1)


@statement("3.1.1", "MQTT-4.3.2-2")
def test_after_puback_the_same_identifier_is_a_new_message_even_with_dup(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=1)
    for payload, dup in ((b"one", False), (b"two", False), (b"three", True)):
        publisher.publish(hub.topic(), payload, qos=1, packet_id=7, dup=dup)
        peer.expect_message(payload=payload, dup=False)


@statement("3.1.1", "MQTT-4.3.3-1")
def test_a_qos_2_delivery_goes_through_all_its_steps_whatever_the_network_does(hub: Hub) -> None:
    peer = hub.client("peer", V311, clean=False)
    peer.subscribe(hub.topic(), qos=2)
    hub.client("publisher", V311).publish(hub.topic(), b"once", qos=2)
    packet_id = peer.expect(Publish, dup=False).packet_id
    for _ in range(2):
        peer.cut()
        peer = hub.client("peer", V311, clean=False)
        peer.expect(Publish, payload=b"once", packet_id=packet_id, dup=True)
    peer.send_ack(Pubrec, packet_id)
    peer.expect(Pubrel, packet_id=packet_id)
    for _ in range(2):
        peer.cut()
        peer = hub.client("peer", V311, clean=False)
        peer.expect(Pubrel, packet_id=packet_id)
        peer.ping()
    peer.send_ack(Pubcomp, packet_id)
    peer.ping()
    peer.cut()
    hub.client("peer", V311, clean=False).expect_silence(qos=2)


@statement("3.1.1", "MQTT-4.3.3-1", "MQTT-2.3.1-6")
def test_a_repeated_pubrec_gets_its_pubrel_again(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    peer.subscribe(hub.topic(), qos=2)
    hub.client("publisher", V311).publish(hub.topic(), qos=2)
    packet_id = peer.expect(Publish).packet_id
    for _ in range(2):
        peer.send_ack(Pubrec, packet_id)
        peer.expect(Pubrel, packet_id=packet_id)
    peer.send_ack(Pubcomp, packet_id)
    peer.expect_silence(qos=2)


@statement("3.1.1", "MQTT-4.3.3-2", "MQTT-2.3.1-6")
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_qos_2_publish_that_is_repeated_before_its_pubrel_is_delivered_once(hub: Hub, repeats: int) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    for dup in [False] + [True] * repeats:
        publisher.send_publish(hub.topic(), b"once", qos=2, packet_id=7, dup=dup)
        publisher.expect(Pubrec, packet_id=7)
    publisher.send_ack(Pubrel, 7)
    publisher.expect(Pubcomp, packet_id=7)
    peer.expect_message(payload=b"once")
    peer.expect_silence(qos=2)


@statement("3.1.1", "MQTT-4.3.3-2")
def test_after_pubcomp_the_same_identifier_is_a_new_message(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    for payload, dup in ((b"one", False), (b"two", False), (b"three", True)):
        publisher.publish(hub.topic(), payload, qos=2, packet_id=7, dup=dup)
        peer.expect_message(payload=payload)


@statement("3.1.1", "MQTT-4.3.3-2")
def test_a_pubrel_that_is_repeated_gets_its_pubcomp_again(hub: Hub) -> None:
    """The first PUBCOMP may have been lost with its connection."""
    peer = hub.client("peer", V311, clean=False)
    peer.publish(hub.topic(), qos=2, packet_id=9)
    peer.cut()
    peer = hub.client("peer", V311, clean=False)
    peer.send_ack(Pubrel, 9)
    peer.expect(Pubcomp, packet_id=9)


@statement("3.1.1", "MQTT-4.5.0-1")
def test_an_accepted_message_goes_into_each_session_that_has_a_matching_subscription(hub: Hub) -> None:
    filters = {"here": hub.topic("a"), "away": hub.topic("a"), "wild": hub.topic("+"), "other": hub.topic("b")}
    for name, topic_filter in filters.items():
        peer = hub.client(name, V311, clean=False)
        peer.subscribe(topic_filter, qos=1)
        if name != "here":
            peer.disconnect()
    hub.client("publisher", V311).publish(hub.topic("a"), b"for all", qos=1)
    for name in ("here", "away", "wild"):
        hub.client(name, V311, clean=False).expect_message(payload=b"for all")
    hub.client("other", V311, clean=False).expect_silence(qos=1)


@statement("3.1.1", "MQTT-4.6.0-1", "MQTT-4.6.0-6")
def test_what_is_sent_again_comes_in_its_first_order(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311, clean=False), hub.client("publisher", V311)
    peer.subscribe(hub.topic("+"), qos=2)
    sent = []
    for number in range(12):
        publisher.publish(hub.topic(str(number % 2)), b"%d" % number, qos=1 + number % 3 % 2)
        sent.append(peer.expect(Publish))
    for index in (3, 6):  # settled out of order: the rest stays in it
        assert sent[index].qos == 1
        peer.send_ack(Puback, sent[index].packet_id)
    peer.ping()
    kept = [message.packet_id for index, message in enumerate(sent) if index not in (3, 6)]
    for _ in range(2):
        peer.cut()
        peer = hub.client("peer", V311, clean=False)
        assert [peer.expect(Publish, dup=True).packet_id for _ in kept] == kept


@statement("3.1.1", "MQTT-4.6.0-4", "MQTT-4.6.0-6")
def test_pubrels_come_in_the_order_of_the_pubrecs(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311, clean=False), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    for _ in range(6):
        publisher.publish(hub.topic(), qos=2)
    identifiers = [peer.expect(Publish).packet_id for _ in range(6)]
    order = [identifiers[index] for index in (0, 3, 1, 5, 4, 2)]
    for packet_id in order:
        peer.send_ack(Pubrec, packet_id)
    assert [peer.expect(Pubrel).packet_id for _ in order] == order


@statement("3.1.1", "MQTT-4.6.0-5", "MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_one_publisher_arrive_in_their_order(hub: Hub, qos: int) -> None:
    peer, publishers = hub.client("peer", V311), [hub.client("one", V311), hub.client("two", V311)]
    peer.subscribe(hub.topic("+"), qos=qos)
    count = 9  # servers that take no more than 20 in flight are in the wild
    for number in range(count):
        for index, publisher in enumerate(publishers):
            publisher.send_publish(hub.topic("same"), b"%d %d" % (index, number), qos=qos)
    for publisher in publishers if qos == 2 else ():
        for packet_id in [publisher.expect(Pubrec).packet_id for _ in range(count)]:
            publisher.send_ack(Pubrel, packet_id)
    heard: list[list[int]] = [[], []]
    for message in hear(peer, 2 * count):
        index, number = map(int, message.payload.split())
        heard[index].append(number)
    assert heard == [list(range(count))] * 2


@statement("3.1.1", "MQTT-4.6.0-6")
def test_messages_that_waited_come_in_their_order_and_before_new_ones(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311, clean=False), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=1)
    numbers = [b"%d" % number for number in range(18)]
    for payload in numbers[:6]:
        publisher.publish(hub.topic(), payload, qos=1)
    for payload in numbers[:6]:
        peer.expect(Publish, payload=payload)
    peer.cut()
    for payload in numbers[6:12]:
        publisher.publish(hub.topic(), payload, qos=1)
    peer = hub.client("peer", V311, clean=False)
    for payload in numbers[12:]:
        publisher.publish(hub.topic(), payload, qos=1)
    assert [message.payload for message in hear(peer, 18)] == numbers
