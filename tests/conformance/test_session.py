"""Sessions: sections 3.1.2.4, 3.1.2.11.2, 3.2.2.1 and 3.2.2.2."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5, Connack, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will
from tests.conformance.conftest import Own
from tests.conformance.marks import needs_lockgate, statement
from tests.conformance.test_connect import UNKNOWN_METHOD

KEPT = 300
CONNACK_CODES = {
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A,
    0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
}  # fmt: skip


@statement("5.0", "MQTT-3.1.2-4", "MQTT-3.1.4-4", "MQTT-3.2.2-2")
def test_clean_start_ends_the_older_session(hub: Hub) -> None:
    first = hub.client("peer", expiry=KEPT)
    first.subscribe(hub.topic(), qos=1)
    first.disconnect()
    hub.client("writer").publish(hub.topic(), b"waits", qos=1)
    second = hub.client("peer", clean=True, expiry=KEPT)
    assert not second.connack.session_present
    hub.client("writer").publish(hub.topic(), b"for nobody", qos=1)
    second.expect_silence(qos=1)


@statement("5.0", "MQTT-3.1.2-5", "MQTT-3.1.2-23", "MQTT-3.1.4-4", "MQTT-3.2.2-3")
def test_a_session_goes_on_where_it_was(hub: Hub) -> None:
    first = hub.client("peer", expiry=KEPT)
    first.subscribe(hub.topic("a"), qos=1)
    first.subscribe(hub.topic("b"), qos=2, properties={"subscription_identifier": 7})
    first.disconnect()
    writer = hub.client("writer")
    writer.publish(hub.topic("a"), b"1", qos=1)
    writer.publish(hub.topic("b"), b"2", qos=2)
    second = hub.client("peer", clean=False, expiry=KEPT)
    assert second.connack.session_present
    second.expect_message(payload=b"1", qos=1)
    assert second.expect_message(payload=b"2", qos=2).properties["subscription_identifier"] == [7]
    writer.publish(hub.topic("a"), b"3", qos=1)
    second.expect_message(payload=b"3")


@statement("5.0", "MQTT-3.1.2-5", "MQTT-3.1.2-23")
def test_what_is_in_flight_in_both_directions_is_part_of_the_session(hub: Hub) -> None:
    first = hub.client("peer", expiry=KEPT)
    first.subscribe(hub.topic("in"), qos=2)
    hub.client("writer").publish(hub.topic("in"), b"towards it", qos=2)
    coming = first.expect(Publish, qos=2).packet_id
    first.send_ack(Pubrec, coming)
    first.expect(Pubrel, packet_id=coming)
    going = first.send_publish(hub.topic("in"), b"from it", qos=2, packet_id=99)
    first.expect_with_messages(Pubrec, packet_id=going)
    first.cut()
    second = hub.client("peer", clean=False, expiry=KEPT)
    assert second.connack.session_present
    # PUBREL comes again; our own PUBLISH, sent again, is known and not published twice. When it goes out is open:
    # with the PUBLISH or with the PUBREL (section 4.3.3).
    second.send_publish(hub.topic("in"), b"from it", qos=2, packet_id=going, dup=True)
    packets = second.receive_until(Pubrec)
    second.send_ack(Pubrel, going)
    packets += second.receive_until(Pubcomp)
    assert [packet.packet_id for packet in packets if isinstance(packet, Pubrel)] == [coming]
    heard = [packet for packet in packets if isinstance(packet, Publish)] + second.gather(qos=2)
    assert {packet.payload for packet in heard} == {b"from it"}
    assert len({packet.packet_id for packet in heard}) == 1


@statement("5.0", "MQTT-3.1.2-6", "MQTT-3.2.2-3")
def test_without_a_session_a_new_one_is_made(hub: Hub) -> None:
    first = hub.client("peer", clean=False, expiry=KEPT)
    assert not first.connack.session_present
    first.subscribe(hub.topic())
    first.disconnect()
    assert hub.client("peer", clean=False).connack.session_present


@statement("5.0", "MQTT-3.1.2-23", "MQTT-3.2.2-3")
def test_without_an_expiry_interval_a_session_ends_with_its_connection(hub: Hub) -> None:
    first = hub.client("peer")
    first.subscribe(hub.topic(), qos=1)
    first.disconnect()
    second = hub.client("peer", clean=False)
    assert not second.connack.session_present
    hub.client("writer").publish(hub.topic(), b"x", qos=1)
    second.expect_silence(qos=1)


@statement("5.0", "MQTT-3.1.3-2")
def test_sessions_are_told_apart_by_client_id(hub: Hub) -> None:
    one, other = hub.client("one", expiry=KEPT), hub.client("One", expiry=KEPT)
    one.subscribe(hub.topic("one"), qos=1)
    other.subscribe(hub.topic("other"), qos=1)
    one.disconnect()
    other.disconnect()
    assert not hub.client("o", clean=False).connack.session_present
    one = hub.client("one", clean=False)
    assert one.connack.session_present
    writer = hub.client("writer")
    writer.publish(hub.topic("other"), b"x", qos=1)
    one.expect_silence(qos=1)
    hub.client("One", clean=False).expect_message(topic=hub.topic("other"))


@statement("5.0", "MQTT-3.2.0-1")
def test_nothing_comes_before_the_connack(hub: Hub) -> None:
    first = hub.client("peer", expiry=KEPT)
    first.subscribe(hub.topic(), qos=1)
    first.disconnect()
    hub.client("writer").publish(hub.topic(), b"waits", qos=1)
    second = hub.open()
    second.send_raw(
        codec.connect(V5, hub.client_id("peer"), clean=False, user=hub.address.user, password=hub.address.password),
        codec.frame(codec.PINGREQ, b""),
        codec.publish(V5, hub.topic("other"), b"at once", qos=1, packet_id=1),
    )
    assert isinstance(second.receive(), Connack)
    rest = {type(second.receive()).__name__ for _ in range(3)}
    assert rest == {"Pingresp", "Publish", "Puback"}


@statement("5.0", "MQTT-3.2.0-2")
def test_one_connack_comes_and_no_other(hub: Hub) -> None:
    peer = hub.client("peer")
    for _ in range(3):
        peer.ping()
    assert peer.subscribe(hub.topic()).codes == (0,)
    peer.expect_silence()
    peer.disconnect()


@statement("5.0", "MQTT-3.2.2-1")
def test_the_reserved_acknowledge_flags_are_0(hub: Hub) -> None:
    for clean in (True, False):  # the decoder refuses any other bit
        assert hub.client("peer", clean=clean, expiry=KEPT).connack.session_present is not clean


@statement("5.0", "MQTT-3.2.2-6", "MQTT-3.2.2-7", "MQTT-3.2.2-8")
def test_a_refusal_denies_the_session_gives_a_listed_code_and_closes(hub: Hub) -> None:
    hub.client("peer", expiry=KEPT).disconnect()
    for words in ({"properties": UNKNOWN_METHOD}, {"will": Will(b"a/#")}, {"will": Will(b"bad\xff")}):
        peer = hub.open()
        peer.send_connect(hub.client_id("peer"), clean=False, **words)
        answer = peer.receive()
        if answer is not None:  # closing without a word is allowed
            assert isinstance(answer, Connack)
            assert answer.code in CONNACK_CODES - {0}
            assert not answer.session_present
            peer.expect_closed()
    assert hub.client("peer", clean=False).connack.session_present


@statement("5.0", "MQTT-3.2.2-6", "MQTT-3.2.2-7", "MQTT-3.2.2-8")
@needs_lockgate
def test_a_wrong_password_is_told_by_its_code(own: Own) -> None:
    with Hub(own.address) as hub:
        peer = hub.open()
        peer.connect(own.user, user=own.user, password="wrong", code=0x86)
        assert not peer.connack.session_present
        peer.expect_closed()


@statement("5.0", "MQTT-3.2.2-9", "MQTT-3.2.2-10", "MQTT-3.2.2-12")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_qos_is_offered_or_its_absence_is_said(hub: Hub, qos: int) -> None:
    peer = hub.client("peer")
    most = peer.connack.properties.get("maximum_qos", 2)
    assert most in (0, 1, 2)
    assert isinstance(most, int)
    suback_id = peer.send_subscribe((hub.topic(), qos))
    assert peer.expect(codec.Suback, packet_id=suback_id).codes[0] <= qos
    if qos <= most:
        peer.publish_and_hear(hub.topic(), b"x", qos=qos)
    with_will = hub.open()
    with_will.send_connect(hub.client_id("willed"), will=Will(hub.topic("will"), qos=qos))
    if qos <= most:
        with_will.expect_connack(0)
    else:
        with_will.expect_end(0x9B)


@statement("5.0", "MQTT-3.2.2-13")
def test_retained_wills_are_taken_unless_retaining_was_denied(hub: Hub) -> None:
    available = hub.client("peer").connack.properties.get("retain_available", 1)
    peer = hub.open()
    peer.send_connect(hub.client_id("willed"), will=Will(hub.topic("will"), retain=True))
    if available:
        peer.expect_connack(0)
        peer.disconnect()
    else:
        peer.expect_end(0x9A)


@statement("5.0", "MQTT-3.3.1-1", "MQTT-3.3.1-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_is_set_when_a_message_is_sent_again_and_only_then(hub: Hub, qos: int) -> None:
    first = hub.client("peer", expiry=KEPT)
    first.subscribe(hub.topic(), qos=qos)
    writer = hub.client("writer")
    packet_id = writer.send_publish(hub.topic(), b"x", qos=qos, dup=True)  # as a writer does that sends again
    writer.expect(Puback if qos == 1 else Pubrec, packet_id=packet_id)
    if qos == 2:
        writer.send_ack(Pubrel, packet_id)
        writer.expect(Pubcomp, packet_id=packet_id)
    sent = first.expect(Publish, qos=qos, dup=False)
    first.cut()
    second = hub.client("peer", clean=False, expiry=KEPT)
    second.expect_message(packet_id=sent.packet_id, dup=True, payload=b"x", qos=qos)
    second.expect_silence(qos)


@statement("5.0", "MQTT-3.3.1-2")
def test_no_qos_0_message_comes_with_dup_even_if_one_was_sent(hub: Hub) -> None:
    reader = hub.client("reader")
    reader.subscribe(hub.topic())
    hub.client("peer").send_publish(hub.topic(), b"x", dup=True)  # whether that ends the connection is not said
    hub.client("writer").publish(hub.topic(), b"y")
    assert [message.dup for message in reader.gather()] in ([False], [False, False])


@statement("5.0", "MQTT-3.3.1-4")
def test_qos_3_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic(), b"x", qos=3)
    peer.expect_end(0x81, 0x82)
