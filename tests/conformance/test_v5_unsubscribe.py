"""MQTT 5.0 sections 3.10 to 3.12: UNSUBSCRIBE, UNSUBACK and PINGREQ."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5, Pingresp, Pubcomp, Publish, Pubrec, Pubrel, Unsuback
from tests.conformance.marks import statement

UNSUBACK_CODES = {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91}
BAD_UTF8 = [b"\xff", b"a/\xc3", b"\xc0\xaf", b"\xed\xa0\x80"]
LIMIT = 60


def deep(hub: Hub) -> str:
    """Give a filter with more levels than most servers allow."""
    return hub.topic("x/" * 100 + "x")


@statement("5.0", "MQTT-3.10.1-1")
@pytest.mark.parametrize("flags", [0b0000, 0b0001, 0b0011, 0b0110, 0b1010])
def test_unsubscribe_with_other_flags_ends_the_connection(hub: Hub, flags: int) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.unsubscribe(V5, 1, [hub.topic()], flags=flags))
    peer.expect_end(0x81)


@statement("5.0", "MQTT-3.10.3-1")
@pytest.mark.parametrize("name", BAD_UTF8)
def test_unsubscribe_from_a_filter_that_is_no_utf8_ends_the_connection(hub: Hub, name: bytes) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.unsubscribe(V5, 1, [name]))
    peer.expect_end(0x81)


@statement("5.0", "MQTT-3.10.3-2")
def test_unsubscribe_without_a_filter_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.unsubscribe(V5, 1, []))
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.10.4-1")
def test_unsubscribe_removes_the_filter_that_is_the_same_and_no_other(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic("+"), hub.topic("a/#"))
    others = [hub.topic(name) for name in ("a", "A/#", "#", "a/", "+/")]
    assert peer.unsubscribe(*others).codes == (0x11,) * len(others)
    for name in ("b", "a/b"):
        publisher.publish(hub.topic(name))
        peer.expect_message(topic=hub.topic(name))
    assert peer.unsubscribe(hub.topic("+")).codes == (0x00,)
    publisher.publish(hub.topic("b"))
    publisher.publish(hub.topic("a/b"))
    peer.expect_message(topic=hub.topic("a/b"))


@statement("5.0", "MQTT-3.10.4-2")
def test_after_unsubscribe_nothing_new_is_put_in_line(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=1)
    peer.unsubscribe(hub.topic())
    publisher.publish(hub.topic(), qos=1)
    peer.expect_silence(qos=1)


@statement("5.0", "MQTT-3.10.4-3")
def test_a_qos_2_delivery_that_had_begun_is_completed_after_unsubscribe(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic(), qos=2)
    hub.client("publisher").publish(hub.topic(), qos=2)
    packet_id = peer.expect(Publish).packet_id
    peer.unsubscribe(hub.topic())
    peer.send_ack(Pubrec, packet_id)
    peer.expect(Pubrel, packet_id=packet_id)
    peer.send_ack(Pubcomp, packet_id)
    peer.ping()


@statement("5.0", "MQTT-3.10.4-3")
def test_a_qos_1_delivery_that_had_begun_is_sent_again_after_unsubscribe_and_reconnect(hub: Hub) -> None:
    peer = hub.client("peer", expiry=300)
    peer.subscribe(hub.topic(), qos=1)
    hub.client("publisher").publish(hub.topic(), b"begun", qos=1)
    packet_id = peer.expect(Publish).packet_id
    peer.unsubscribe(hub.topic())
    peer.cut()
    peer = hub.client("peer", clean=False, expiry=300)
    peer.expect(Publish, payload=b"begun", packet_id=packet_id, dup=True)


@statement("5.0", "MQTT-3.10.4-4", "MQTT-3.10.4-5")
def test_each_unsubscribe_is_answered_by_an_unsuback_with_its_identifier(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic())
    identifiers = [1, 256, 65_535, 1]
    peer.send_raw(*(codec.unsubscribe(V5, number, [hub.topic()]) for number in identifiers))
    answers = [peer.expect(Unsuback) for _ in identifiers]
    assert [answer.packet_id for answer in answers] == identifiers
    assert [answer.codes for answer in answers] == [(0x00,), (0x11,), (0x11,), (0x11,)]


@statement("5.0", "MQTT-3.10.4-6", "MQTT-3.11.3-1", "MQTT-3.11.3-2")
def test_several_filters_get_one_unsuback_with_a_code_for_each_in_their_order(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic("b"))
    answer = peer.unsubscribe(hub.topic("a"), hub.topic("b"), hub.topic("c"), hub.topic("b"))
    assert answer.codes == (0x11, 0x00, 0x11, 0x11)


@statement("5.0", "MQTT-3.11.2-1", "MQTT-3.11.2-2", "MQTT-3.11.3-2")
def test_each_filter_gets_a_listed_code_and_the_unsuback_is_no_larger_than_the_client_takes(hub: Hub) -> None:
    peer = hub.client("peer", properties={"maximum_packet_size": LIMIT})
    codes = peer.unsubscribe(hub.topic(), deep(hub), f"$share/us/{hub.topic()}").codes  # the peer judges its size
    assert len(codes) == 3
    assert set(codes) <= UNSUBACK_CODES


@statement("5.0", "MQTT-3.12.4-1")
def test_each_pingreq_is_answered_by_a_pingresp(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_raw(codec.frame(codec.PINGREQ, b"") * 3)
    for _ in range(3):
        peer.expect(Pingresp)
