"""MQTT 3.1.1 sections 1.5, 2, 3.12, 3.14, 4.8 and 7: text, fixed headers, identifiers, and what ends a connection."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub, Peer
from tests.conformance.codec import V311, Pingresp, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Unsuback, Will
from tests.conformance.marks import needs_lockgate, statement

BAD_UTF8 = [b"\xff", b"a/\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80"]
PLACES = ["client id", "will topic", "user name", "topic name", "filter", "filter to remove"]
FOUR_BITS = range(16)


def say(hub: Hub, place: str, text: bytes) -> Peer:
    """Give a peer that has said this text in this place of a packet."""
    if place in ("client id", "will topic", "user name"):
        peer = hub.open(V311)
        name = text if place == "client id" else hub.client_id("peer").encode()
        will = Will(text) if place == "will topic" else None
        words = {"user": text, "password": "secret"} if place == "user name" else {}
        peer.send_connect(name, will=will, **words)
        return peer
    peer = hub.client("peer", V311)
    if place == "topic name":
        peer.send_publish(text, qos=1)
    elif place == "filter":
        peer.send_subscribe((text, 0))
    else:
        peer.send_raw(codec.unsubscribe(V311, 1, [text]))
    return peer


@statement("3.1.1", "MQTT-1.5.3-1", "MQTT-3.1.3-4", "MQTT-3.1.3-10", "MQTT-3.1.3-11", "MQTT-3.3.2-1")
@statement("3.1.1", "MQTT-3.8.3-1", "MQTT-3.10.3-1")
@pytest.mark.parametrize("place", PLACES)
def test_text_that_is_no_utf8_ends_the_connection(hub: Hub, place: str) -> None:
    for text in BAD_UTF8:
        say(hub, place, text).expect_closed()


@statement("3.1.1", "MQTT-1.5.3-2", "MQTT-4.7.3-2")
@pytest.mark.parametrize("place", PLACES)
def test_a_null_character_ends_the_connection(hub: Hub, place: str) -> None:
    for text in (b"a\0b", b"\0"):
        say(hub, place, text).expect_closed()


@statement("3.1.1", "MQTT-1.5.3-3")
def test_a_zero_width_no_break_space_stays_where_it_is(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic("+"), qos=1)
    for name in ("\ufeffa", "a\ufeff", "a\ufeffb", "a"):
        publisher.publish(hub.topic(name), qos=1)
        peer.expect_message(topic=hub.topic(name))
    exact = hub.client("exact", V311)
    exact.subscribe("\ufeff" + hub.topic(), qos=1)
    publisher.publish(hub.topic(), b"without", qos=1)
    publisher.publish("\ufeff" + hub.topic(), b"with", qos=1)
    exact.expect_message(payload=b"with")


@statement("3.1.1", "MQTT-2.2.2-1", "MQTT-2.3.1-6", "MQTT-2.3.1-7", "MQTT-3.3.4-1")
def test_each_packet_has_the_flags_and_the_identifier_that_it_must_have(hub: Hub) -> None:
    """One conversation in which a server sends all packets that it can; the client judges their flags."""
    peer = hub.client("peer", V311)
    peer.expect(Suback, packet_id=peer.send_subscribe((hub.topic(), 2), packet_id=300))
    for number in (256, 65_535):
        peer.send_publish(hub.topic(), b"1", qos=1, packet_id=number)
        ours = {type(packet): packet for packet in (peer.receive(), peer.receive())}
        assert ours[Puback] == Puback(number)
        delivery = ours[Publish]
        assert isinstance(delivery, Publish)
        peer.send_ack(Puback, delivery.packet_id)
    peer.unsubscribe(hub.topic())
    peer.send_publish(hub.topic(), b"2", qos=2, packet_id=4_096)
    peer.expect(Pubrec, packet_id=4_096)
    peer.send_ack(Pubrel, 4_096)
    peer.expect(Pubcomp, packet_id=4_096)
    peer.ping()


@statement("3.1.1", "MQTT-2.2.2-2", "MQTT-2.2.2-1")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (codec.PUBACK, codec.two(1)),
        (codec.PUBREC, codec.two(1)),
        (codec.PUBCOMP, codec.two(1)),
        (codec.PINGREQ, b""),
    ],
    ids=["puback", "pubrec", "pubcomp", "pingreq"],
)
def test_other_flags_in_the_fixed_header_end_the_connection(hub: Hub, kind: int, body: bytes) -> None:
    for flags in (1, 2, 4, 8, 15):
        peer = hub.client("peer", V311)
        peer.send_raw(codec.frame(kind, body, flags))
        peer.expect_closed()


@statement("3.1.1", "MQTT-2.2.2-2", "MQTT-3.1.4-1")
def test_other_flags_in_the_fixed_header_of_connect_end_the_connection(hub: Hub) -> None:
    for flags in (1, 2, 8):
        peer = hub.open(V311)
        right = codec.connect(V311, hub.client_id("peer"), user=hub.address.user, password=hub.address.password)
        peer.send_raw(bytes([right[0] | flags]), right[1:])
        peer.expect_closed()


PACKETS_WITH_IDENTIFIERS: list[tuple[int, int, Callable[[str], bytes]]] = [
    (codec.PUBREL, 2, lambda _: b""),
    (codec.SUBSCRIBE, 2, lambda topic: codec.text(topic) + b"\0"),
    (codec.UNSUBSCRIBE, 2, codec.text),
]


@statement("3.1.1", "MQTT-3.6.1-1", "MQTT-3.8.1-1", "MQTT-3.10.1-1", "MQTT-2.2.2-2")
@pytest.mark.parametrize(
    ("kind", "right", "rest"), PACKETS_WITH_IDENTIFIERS, ids=["pubrel", "subscribe", "unsubscribe"]
)
def test_flags_other_than_0010_end_the_connection(
    hub: Hub, kind: int, right: int, rest: Callable[[str], bytes]
) -> None:
    for flags in FOUR_BITS:
        if flags != right:
            peer = hub.client("peer", V311)
            peer.send_raw(codec.frame(kind, codec.two(1) + rest(hub.topic()), flags))
            peer.expect_closed()


@statement("3.1.1", "MQTT-2.3.1-1")
def test_an_identifier_of_0_ends_the_connection(hub: Hub) -> None:
    for packet in (
        codec.subscribe(V311, 0, [(hub.topic(), 0)]),
        codec.unsubscribe(V311, 0, [hub.topic()]),
        codec.publish(V311, hub.topic(), qos=1, packet_id=0),
        codec.publish(V311, hub.topic(), qos=2, packet_id=0),
    ):
        peer = hub.client("peer", V311)
        peer.send_raw(packet)
        peer.expect_closed()


@statement("3.1.1", "MQTT-2.3.1-1", "MQTT-2.3.1-4", "MQTT-4.3.2-1", "MQTT-4.3.3-1")
def test_what_is_not_acknowledged_keeps_its_identifier_and_the_next_has_another(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    open_ids = set()
    for number in range(10):
        publisher.publish(hub.topic(), qos=1 + number % 2)
        message = peer.expect(Publish, qos=1 + number % 2, dup=False)
        assert message.packet_id not in open_ids
        if number % 5:
            open_ids.add(message.packet_id)
        elif message.qos == 1:
            peer.send_ack(Puback, message.packet_id)
        else:
            peer.send_ack(Pubrec, message.packet_id)  # its PUBCOMP is still to come
            peer.expect(Pubrel, packet_id=message.packet_id)
            open_ids.add(message.packet_id)


@statement("3.1.1", "MQTT-2.3.1-5", "MQTT-3.3.1-2", "MQTT-4.3.1-1")
def test_a_qos_0_delivery_has_no_identifier_and_no_dup_flag(hub: Hub) -> None:
    """An identifier would be heard as the first two bytes of the payload."""
    peer = hub.client("peer", V311)
    peer.subscribe(hub.topic(), qos=2)
    hub.client("publisher", V311).publish(hub.topic(), b"payload")
    peer.expect(Publish, qos=0, dup=False, payload=b"payload")
    late = hub.client("late", V311)
    hub.client("publisher", V311).publish(hub.topic(), b"kept", qos=1, retain=True)
    late.subscribe(hub.topic(), qos=0)
    late.expect(Publish, qos=0, dup=False, payload=b"kept")


@statement("3.1.1", "MQTT-2.3.1-5")
def test_a_qos_0_publish_is_read_as_if_it_had_no_identifier(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    peer.subscribe(hub.topic())
    hub.client("publisher", V311).send_publish(hub.topic(), b"\0\1payload")
    peer.expect_message(payload=b"\0\1payload")


@statement("3.1.1", "MQTT-3.3.1-2", "MQTT-4.8.0-1")
def test_dup_at_qos_0_never_goes_on_to_a_subscriber(hub: Hub) -> None:
    """A server may close the connection, as it must for a violation, or be kind."""
    peer = hub.client("peer", V311)
    peer.subscribe(hub.topic())
    publisher = hub.client("publisher", V311)
    publisher.send_publish(hub.topic(), b"wrong", dup=True)
    publisher.send_raw(codec.frame(codec.PINGREQ, b""))
    if publisher.receive() is None:
        peer.expect_silence()
    else:
        peer.expect_message(payload=b"wrong", dup=False)


@statement("3.1.1", "MQTT-3.12.4-1")
def test_each_pingreq_is_answered_by_a_pingresp(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    peer.send_raw(codec.frame(codec.PINGREQ, b"") * 5)
    for _ in range(5):
        peer.expect(Pingresp)


@statement("3.1.1", "MQTT-3.14.1-1", "MQTT-3.1.2-8")
def test_a_disconnect_with_reserved_bits_ends_the_connection_and_is_no_goodbye(hub: Hub) -> None:
    watcher = hub.client("watcher", V311)
    watcher.subscribe(hub.topic("will"), qos=1)
    for flags in (1, 2, 4, 8):
        peer = hub.client("peer", V311, will=Will(hub.topic("will"), b"%d" % flags, qos=1))
        peer.send_raw(codec.frame(codec.DISCONNECT, b"", flags))
        peer.expect_closed()
        watcher.expect_message(payload=b"%d" % flags)


@statement("3.1.1", "MQTT-3.14.4-3", "MQTT-3.1.2-8", "MQTT-3.1.2-10")
@pytest.mark.parametrize("clean", [True, False])
def test_a_goodbye_takes_the_will_away_and_is_the_last_that_is_read(hub: Hub, clean: bool) -> None:
    watcher = hub.client("watcher", V311)
    watcher.subscribe(hub.topic("#"), qos=1)
    peer = hub.client("peer", V311, clean=clean, will=Will(hub.topic("will"), qos=1))
    peer.send_raw(codec.disconnect(V311), codec.publish(V311, hub.topic("afterwards"), b"too late"))
    peer.expect_closed()
    watcher.expect_silence(qos=1)
    hub.client("peer", V311, clean=False).cut()  # and it was not kept with the session
    hub.wait_until_gone("peer", V311)
    watcher.expect_silence(qos=1)


@statement("3.1.1", "MQTT-4.8.0-1")
@pytest.mark.parametrize(
    "packet",
    [
        b"\x00\x00",
        b"\xf0\x00",
        b"\x20\x02\x00\x00",
        b"\x90\x03\x00\x01\x00",
        b"\xb0\x02\x00\x01",
        b"\xd0\x00",
        b"\xc0\x01\x00",
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\x01\x00",
        b"\x30\x03\x00\x05a",
        b"\x32\x03\x00\x01a",
        b"\x40\x01\x00",
        b"\x62\x03\x00\x01\x00",
        b"\x82\x05\x00\x01\x00\x09a",
        b"\xa2\x05\x00\x01\x00\x09a",
        b"\xe0\x01\x00",
    ],
    ids=lambda packet: packet.hex(),
)
def test_a_packet_that_is_none_ends_the_connection_and_leaves_others_alone(hub: Hub, packet: bytes) -> None:
    """Types that do not exist or that only a server sends, lengths that cannot be, bytes missing and left over."""
    other, peer = hub.client("other", V311), hub.client("peer", V311)
    peer.send_raw(packet)
    peer.expect_closed()
    other.ping()


@statement("3.1.1", "MQTT-4.8.0-2")
@needs_lockgate
def test_a_packet_larger_than_the_hub_takes_ends_the_connection_and_its_session_stays(hub: Hub) -> None:
    """The standard's own example of a transient error; other servers have no such limit, or another one."""
    peer = hub.client("peer", V311, clean=False)
    peer.subscribe(hub.topic(), qos=1)
    peer.send_raw(b"\x30" + codec.varint(268_435_455))
    peer.expect_closed()
    hub.client("publisher", V311).publish(hub.topic(), b"meanwhile", qos=1)
    again = hub.client("peer", V311, clean=False)
    assert again.connack.session_present
    again.expect_message(payload=b"meanwhile")


@statement("3.1.1", "MQTT-7.0.0-2", "MQTT-7.1.1-1")
def test_the_standard_alone_is_enough_for_a_whole_conversation(hub: Hub) -> None:
    """Nothing but what the standard has: connect, hear all that was said in order and without loss, and leave."""
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    payload = bytes(range(256)) * 200
    for qos in (0, 1, 2):
        publisher.publish(hub.topic(), payload + b"%d" % qos, qos=qos)
        assert peer.expect_message(qos=qos).payload == payload + b"%d" % qos
    assert peer.unsubscribe(hub.topic()) == Unsuback(2)
    for each in (peer, publisher):
        each.disconnect()
