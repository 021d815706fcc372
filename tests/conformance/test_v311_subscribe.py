"""MQTT 3.1.1 sections 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V311, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Unsuback
from tests.conformance.hearing import hear
from tests.conformance.marks import statement

FAILURE = 0x80


@statement("3.1.1", "MQTT-3.8.3-2")
@pytest.mark.parametrize("name", ["#", "+", "a/+/b", "a/#"])
def test_a_filter_with_wildcards_works_or_is_refused(hub: Hub, name: str) -> None:
    peer = hub.client("peer", V311)
    suback = peer.expect(Suback, packet_id=peer.send_subscribe((hub.topic(name), 1)))
    if suback.codes == (FAILURE,):
        assert not hub.is_ours
        return
    assert suback.codes == (1,)
    topic = hub.topic(name.replace("+", "level").replace("#", "more"))
    hub.client("publisher", V311).publish(topic, qos=1)
    peer.expect_message(topic=topic)


@statement("3.1.1", "MQTT-3.8.3-3")
@pytest.mark.parametrize("payload", [b"", b"\0\1a", b"\0\1a\0\0\1b"], ids=["no filter", "no QoS", "no second QoS"])
def test_a_subscribe_without_a_filter_and_its_qos_ends_the_connection(hub: Hub, payload: bytes) -> None:
    peer = hub.client("peer", V311)
    peer.send_raw(codec.frame(codec.SUBSCRIBE, codec.two(1) + payload, 2))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.8.3-4")
@pytest.mark.parametrize("options", [3, 4, 5, 8, 16, 32, 64, 128, 255])
def test_a_qos_above_2_or_a_reserved_bit_ends_the_connection(hub: Hub, options: int) -> None:
    peer = hub.client("peer", V311)
    peer.send_subscribe((hub.topic("right"), 0), (hub.topic("wrong"), options))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-2.3.1-7")
def test_each_subscribe_is_answered_by_a_suback_with_its_identifier(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    identifiers = [1, 256, 65_535, 1]
    peer.send_raw(*(codec.subscribe(V311, number, [(hub.topic(), 0)]) for number in identifiers))
    assert [peer.expect(Suback).packet_id for _ in identifiers] == identifiers


@statement("3.1.1", "MQTT-3.8.4-3")
def test_the_same_filter_again_replaces_its_subscription(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    publisher.publish(hub.topic("kept"), b"kept", qos=1, retain=True)
    for qos in (1, 0, 2):
        peer.subscribe(hub.topic("+"), qos=qos)
        peer.expect_message(payload=b"kept", retain=True, qos=min(qos, 1))  # again each time
        publisher.publish(hub.topic("new"), b"new", qos=2)
        peer.expect_message(payload=b"new", qos=qos)  # with the new QoS
        peer.expect_silence(qos=2)  # and once


@statement("3.1.1", "MQTT-3.8.4-3")
def test_no_message_is_missed_while_a_subscription_is_replaced(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=1)
    count = 12
    for number in range(count):
        publisher.send_publish(hub.topic(), b"%d" % number, qos=1)
        peer.send_subscribe((hub.topic(), 1))
    heard: list[bytes] = []
    answers = 0
    while len(heard) < count or answers < count:
        packet = peer.receive()
        if isinstance(packet, Publish):
            heard.append(packet.payload)
            peer.send_ack(Puback, packet.packet_id)
        else:
            assert isinstance(packet, Suback)
            answers += 1
    assert heard == [b"%d" % number for number in range(count)]


@statement("3.1.1", "MQTT-3.8.4-4", "MQTT-3.8.4-5", "MQTT-3.9.3-1")
def test_several_filters_count_as_several_subscribes_with_one_answer(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    publisher.publish(hub.topic("b"), b"kept", qos=2, retain=True)
    wanted = [("a", 2), ("b", 0), ("c/#", 1), ("d", 2), ("a", 1)]  # the last replaces the first
    packet_id = peer.send_subscribe(*((hub.topic(name), qos) for name, qos in wanted))
    first, second = peer.receive(), peer.receive()
    suback, kept = (first, second) if isinstance(first, Suback) else (second, first)
    assert suback == Suback(packet_id, (2, 0, 1, 2, 1))
    assert isinstance(kept, Publish)
    assert (kept.payload, kept.qos, kept.retain) == (b"kept", 0, True)
    for name, qos in (("a", 1), ("b", 0), ("c/x", 1), ("d", 2)):
        publisher.publish(hub.topic(name), qos=2)
        peer.expect_message(topic=hub.topic(name), qos=qos)
    peer.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.8.4-6", "MQTT-3.3.2-3")
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_message_is_sent_with_the_lower_of_both_qos(hub: Hub, granted: int) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic("+"), qos=granted)
    for qos in (0, 1, 2):
        publisher.publish(hub.topic(str(qos)), b"%d" % qos, qos=qos)
    heard = sorted((message.payload, message.topic, message.qos) for message in hear(peer, 3))
    assert heard == [(b"%d" % qos, hub.topic(str(qos)), min(qos, granted)) for qos in (0, 1, 2)]


@statement("3.1.1", "MQTT-3.9.3-1", "MQTT-3.9.3-2", "MQTT-3.8.4-5")
def test_a_failure_stands_in_its_place_and_is_128(hub: Hub) -> None:
    """Filters that a server may well refuse, between others; closing the connection instead is allowed for bad ones."""
    deep = hub.topic("x/" * 150 + "x")
    peer = hub.client("peer", V311)
    peer.send_subscribe((hub.topic("a"), 1), (deep, 1), (hub.topic("b"), 2))
    codes = peer.expect(Suback).codes
    assert (codes[0], codes[2]) == (1, 2)
    assert codes[1] in (0, 1, FAILURE)
    hub.client("publisher", V311).publish(hub.topic("b"), qos=2)
    peer.expect_message(topic=hub.topic("b"), qos=2)


@statement("3.1.1", "MQTT-3.10.3-1")
def test_filters_of_an_unsubscribe_that_are_cut_off_end_the_connection(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    peer.send_raw(codec.frame(codec.UNSUBSCRIBE, codec.two(1) + codec.text("a") + b"\0\4abc", 2))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.10.3-2")
def test_an_unsubscribe_without_a_filter_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    peer.send_raw(codec.unsubscribe(V311, 1, []))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.10.4-1", "MQTT-3.10.4-2")
def test_a_filter_is_removed_character_by_character_and_no_other(hub: Hub) -> None:
    names = ["a/b", "a/+", "a/#", "A/b", "a/b/", "+/b"]
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    for gone in names:
        peer.subscribe(hub.topic(gone), qos=1)
        for other in names:
            if other != gone:
                peer.unsubscribe(hub.topic(other))
        publisher.publish(hub.topic(gone.replace("+", "x").replace("#", "x")), qos=1)
        peer.expect_message()
        peer.unsubscribe(hub.topic(gone))
        publisher.publish(hub.topic(gone.replace("+", "x").replace("#", "x")), qos=1)
        peer.expect_silence(qos=1)


@statement("3.1.1", "MQTT-3.10.4-2")
def test_after_unsuback_no_message_is_added_for_a_client_that_is_away(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311, clean=False), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=1)
    peer.unsubscribe(hub.topic())
    peer.cut()
    publisher.publish(hub.topic(), qos=1)
    hub.client("peer", V311, clean=False).expect_silence(qos=1)


@statement("3.1.1", "MQTT-3.10.4-3")
def test_a_delivery_that_has_begun_is_completed_after_the_subscription_is_gone(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311, clean=False), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    publisher.publish(hub.topic(), b"one", qos=1)
    publisher.publish(hub.topic(), b"two", qos=2)
    one, two = peer.expect(Publish, qos=1), peer.expect(Publish, qos=2)
    peer.unsubscribe(hub.topic())
    peer.send_ack(Pubrec, two.packet_id)
    peer.expect(Pubrel, packet_id=two.packet_id)
    peer.cut()
    peer = hub.client("peer", V311, clean=False)
    again = {type(packet): packet for packet in (peer.receive(), peer.receive())}
    assert again[Publish] == Publish(one.topic, b"one", 1, dup=True, packet_id=one.packet_id)
    assert again[Pubrel] == Pubrel(two.packet_id)
    peer.send_ack(Puback, one.packet_id)
    peer.send_ack(Pubcomp, two.packet_id)
    peer.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.10.4-4", "MQTT-3.10.4-5", "MQTT-2.3.1-7")
def test_each_unsubscribe_is_answered_by_an_unsuback_with_its_identifier(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    peer.subscribe(hub.topic("there"))
    for packet_id, name in ((1, "there"), (256, "there"), (65_535, "never there"), (1, "#")):
        peer.send_raw(codec.unsubscribe(V311, packet_id, [hub.topic(name)]))
        assert peer.expect(Unsuback) == Unsuback(packet_id)


@statement("3.1.1", "MQTT-3.10.4-6")
def test_several_filters_are_all_removed_with_one_answer(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(*(hub.topic(name) for name in "abcd"), qos=1)
    packet_id = peer.next_id()
    removed = [hub.topic(name) for name in ("a", "never there", "c", "c")]
    peer.send_raw(codec.unsubscribe(V311, packet_id, removed))
    assert peer.expect(Unsuback) == Unsuback(packet_id)
    for name in "acbd":
        publisher.publish(hub.topic(name), qos=1)
    assert [message.topic for message in hear(peer, 2)] == [hub.topic("b"), hub.topic("d")]
    peer.expect_silence(qos=1)
