"""Packets survive the way through bytes, and bytes that break the rules are refused with the right reason code."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    V311,
    Auth,
    Connack,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    WillPacket,
)
from lockgate.adapters.mqtt.wire_properties import RULES, WILL, Kind
from lockgate.adapters.mqtt.wire_session import REASON_CODES, RETURN_CODES
from lockgate.model.topic import TopicName

LIMIT = 300_000

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
topics = st.text(st.characters(codec="utf-8", exclude_characters="\x00+#"), min_size=1, max_size=12)
blobs = st.binary(max_size=20)
packet_ids = st.integers(1, 65_535)
keep_alives = st.integers(0, 65_535)
levels = st.integers(0, 2)


def values_of(kind: int, low: int, high: int) -> st.SearchStrategy[Any]:
    tops = {Kind.BYTE: 0xFF, Kind.TWO_BYTES: 0xFFFF, Kind.FOUR_BYTES: 0xFFFF_FFFF, Kind.VARIABLE: 268_435_455}
    if kind == Kind.TEXT:
        return texts
    if kind == Kind.BINARY:
        return blobs
    if kind == Kind.PAIR:
        return st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
    return st.integers(low, min(high, tops[Kind(kind)]))


@st.composite
def properties_of(draw: st.DrawFn, place: int) -> Properties:
    values: dict[str, Any] = {}
    for rule in RULES:
        if place not in rule.places or not draw(st.booleans()):
            continue
        if rule.field == "response_topic":
            values[rule.field] = draw(topics)
        elif rule.field == "subscription_identifiers":
            most = 1 if place == PacketType.SUBSCRIBE else 3
            values[rule.field] = tuple(
                draw(st.lists(values_of(rule.kind, rule.low, rule.high), min_size=1, max_size=most))
            )
        else:
            values[rule.field] = draw(values_of(rule.kind, rule.low, rule.high))
    if "authentication_method" not in values:
        values.pop("authentication_data", None)
    return Properties(**values)


def props(version: int, place: int) -> st.SearchStrategy[Properties]:
    return properties_of(place) if version == V5 else st.just(NO_PROPERTIES)


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    will = st.builds(WillPacket, topics, blobs, qos=levels, retain=st.booleans(), properties=props(version, WILL))
    user_name = draw(st.none() | texts)
    may_have_password = version == V5 or user_name is not None
    return Connect(
        version=version,
        client_id=draw(texts),
        clean_start=draw(st.booleans()),
        keep_alive_seconds=draw(keep_alives),
        user_name=user_name,
        password=draw(st.none() | blobs) if may_have_password else None,
        will=draw(st.none() | will),
        properties=draw(props(version, PacketType.CONNECT)),
    )


@st.composite
def connacks(draw: st.DrawFn, version: int) -> Connack:
    code = draw(codes(PacketType.CONNACK, version))
    return Connack(code, code == 0 and draw(st.booleans()), draw(props(version, PacketType.CONNACK)))


@st.composite
def publishes(draw: st.DrawFn, version: int) -> Publish:
    qos = draw(levels)
    properties = draw(props(version, PacketType.PUBLISH))
    topic = draw(topics)
    if properties.topic_alias is not None and draw(st.booleans()):
        topic = ""
    dup = qos > 0 and draw(st.booleans())
    packet_id = draw(packet_ids) if qos else 0
    payload = draw(blobs | st.binary(min_size=120, max_size=140))
    return Publish(TopicName(topic), payload, qos, draw(st.booleans()), dup, packet_id, properties)


@st.composite
def requests(draw: st.DrawFn, version: int) -> SubscriptionRequest:
    topic_filter = draw(texts)
    if version == V311:
        return SubscriptionRequest(topic_filter, draw(levels))
    no_local = draw(st.booleans()) and not topic_filter.startswith("$share/")  # [MQTT-3.8.3-4] forbids it
    return SubscriptionRequest(topic_filter, draw(levels), no_local, draw(st.booleans()), draw(levels))


def codes(kind: int, version: int) -> st.SearchStrategy[int]:
    return st.sampled_from(sorted((REASON_CODES if version == V5 else RETURN_CODES)[kind]))


def acks(version: int, record: type[Any], kind: int) -> st.SearchStrategy[Packet]:
    return st.builds(
        record, packet_ids, code=codes(kind, V5) if version == V5 else st.just(0), properties=props(version, kind)
    )


def packets(version: int) -> st.SearchStrategy[Packet]:
    both: list[st.SearchStrategy[Packet]] = [
        connects(version),
        connacks(version),
        publishes(version),
        acks(version, Puback, PacketType.PUBACK),
        acks(version, Pubrec, PacketType.PUBREC),
        acks(version, Pubrel, PacketType.PUBREL),
        acks(version, Pubcomp, PacketType.PUBCOMP),
        st.builds(
            Subscribe,
            packet_ids,
            st.lists(requests(version), min_size=1, max_size=3).map(tuple),
            props(version, PacketType.SUBSCRIBE),
        ),
        st.builds(
            Suback,
            packet_ids,
            st.lists(codes(PacketType.SUBACK, version), min_size=1, max_size=3).map(tuple),
            props(version, PacketType.SUBACK),
        ),
        st.builds(
            Unsubscribe,
            packet_ids,
            st.lists(texts, min_size=1, max_size=3).map(tuple),
            props(version, PacketType.UNSUBSCRIBE),
        ),
        st.builds(Pingreq),
        st.builds(Pingresp),
    ]
    if version == V311:
        return st.one_of(*both, st.builds(Unsuback, packet_ids), st.builds(Disconnect))
    return st.one_of(
        *both,
        st.builds(
            Unsuback,
            packet_ids,
            st.lists(codes(PacketType.UNSUBACK, V5), min_size=1, max_size=3).map(tuple),
            props(V5, PacketType.UNSUBACK),
        ),
        st.builds(Disconnect, codes(PacketType.DISCONNECT, V5), props(V5, PacketType.DISCONNECT)),
        st.builds(Auth, codes(PacketType.AUTH, V5), props(V5, PacketType.AUTH)),
    )


versions_and_packets = st.sampled_from((V311, V5)).flatmap(
    lambda version: st.tuples(st.just(version), packets(version))
)


def refused(data: bytes | str, version: int = V5, limit: int = LIMIT) -> ReasonCode:
    raw = bytes.fromhex(data) if isinstance(data, str) else data
    with pytest.raises(MqttError) as caught:
        wire.decode(raw, 0, version, limit)
    return caught.value.code


# --- the way there and back


@given(versions_and_packets)
def test_every_packet_survives_the_way_through_bytes(case: tuple[int, Packet]) -> None:
    version, packet = case
    data = wire.encode(packet, version)
    assert wire.decode(data, 0, version, LIMIT) == (packet, len(data))
    assert wire.packet_size(data, 0, LIMIT) == len(data)


@given(versions_and_packets, st.binary(max_size=5), st.binary(max_size=5))
def test_what_stands_before_and_behind_a_packet_does_not_matter(
    case: tuple[int, Packet], before: bytes, behind: bytes
) -> None:
    version, packet = case
    data = wire.encode(packet, version)
    found = wire.decode(before + data + behind, len(before), version, LIMIT)
    assert found == (packet, len(before) + len(data))


@given(versions_and_packets)
def test_a_packet_fed_byte_by_byte_appears_with_its_last_byte(case: tuple[int, Packet]) -> None:
    version, packet = case
    data = wire.encode(packet, version)
    for size in range(len(data)):
        assert wire.decode(data[:size], 0, version, LIMIT) is None
        assert wire.packet_size(data[:size], 0, LIMIT) in (0, len(data))
    assert wire.decode(data, 0, version, LIMIT) == (packet, len(data))


@given(st.sampled_from((V311, V5)).flatmap(lambda v: st.tuples(st.just(v), st.lists(packets(v), max_size=5))))
def test_packets_in_a_row_come_out_in_their_order(case: tuple[int, list[Packet]]) -> None:
    version, sent = case
    data = b"".join(wire.encode(packet, version) for packet in sent)
    position, received = 0, []
    while found := wire.decode(data, position, version, LIMIT):
        received.append(found[0])
        position = found[1]
    assert received == sent
    assert position == len(data)


@given(
    versions_and_packets,
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255), st.sampled_from("rid")), min_size=1, max_size=4),
    st.sampled_from((V311, V5)),
)
def test_a_mutated_packet_raises_nothing_but_mqtt_errors(
    case: tuple[int, Packet], mutations: list[tuple[int, int, str]], version: int
) -> None:
    data = bytearray(wire.encode(case[1], case[0]))
    for where, byte, how in mutations:
        at = where % (len(data) + 1)
        data[at : at + (how != "i")] = b"" if how == "d" else bytes((byte,))
    try:
        found = wire.decode(bytes(data), 0, version, LIMIT)
    except MqttError:
        return
    if found is not None:
        packet, end = found
        agreed = packet.version if isinstance(packet, Connect) else version
        assert 0 < end <= len(data)
        again = wire.encode(packet, agreed)
        assert wire.decode(again, 0, agreed, LIMIT) == (packet, len(again))


@given(st.binary(max_size=60), st.sampled_from((V311, V5)))
def test_random_bytes_raise_nothing_but_mqtt_errors(data: bytes, version: int) -> None:
    try:
        found = wire.decode(data, 0, version, LIMIT)
    except MqttError:
        return
    assert found is None or 2 <= found[1] <= len(data)


@pytest.mark.parametrize(
    ("packet", "version", "data"),
    [
        (Connect(V311, "a", keep_alive_seconds=60), V311, "100d 0004 4d515454 04 02 003c 0001 61"),
        (Connect(V5, "a", keep_alive_seconds=60), V5, "100e 0004 4d515454 05 02 003c 00 0001 61"),
        (Connack(0), V311, "2002 0000"),
        (Connack(0, session_present=True), V5, "2003 010000"),
        (Publish(TopicName("a/b"), b"hi"), V311, "3007 0003 612f62 6869"),
        (Publish(TopicName("a/b"), b"hi", 1, True, True, 10), V311, "3b09 0003 612f62 000a 6869"),
        (Publish(TopicName("a/b"), b"hi", 2, False, False, 10), V5, "340a 0003 612f62 000a 00 6869"),
        (Puback(258), V5, "4002 0102"),
        (Pubrec(258, 0x10), V5, "5003 0102 10"),
        (Pubrel(258), V311, "6202 0102"),
        (Pubcomp(258, 0x92, Properties(reason_string="x")), V5, "7008 0102 92 04 1f 0001 78"),
        (Subscribe(1, (SubscriptionRequest("a", 1, True, True, 2),)), V5, "8207 0001 00 0001 61 2d"),
        (Suback(1, (0, 1, 0x80)), V311, "9005 0001 000180"),
        (Unsubscribe(1, ("a",)), V311, "a205 0001 0001 61"),
        (Unsuback(1), V311, "b002 0001"),
        (Unsuback(1, (0x11,)), V5, "b004 0001 00 11"),
        (Pingreq(), V5, "c000"),
        (Pingresp(), V5, "d000"),
        (Disconnect(), V5, "e000"),
        (Disconnect(0x8E), V5, "e001 8e"),
        (Auth(), V5, "f000"),
        (Auth(0x18, Properties(authentication_method="S")), V5, "f006 18 04 15 0001 53"),
    ],
)
def test_packets_have_the_bytes_that_the_standard_draws(packet: Packet, version: int, data: str) -> None:
    raw = bytes.fromhex(data)
    assert wire.encode(packet, version) == raw
    assert wire.decode(raw, 0, version, LIMIT) == (packet, len(raw))


def test_version_4_leaves_out_what_only_version_5_knows() -> None:
    known = Properties(reason_string="why")
    assert wire.encode(Puback(1, 0x87, known), V311) == bytes.fromhex("40020001")
    assert wire.encode(Publish(TopicName("a"), b"", properties=Properties(topic_alias=1)), V311) == b"\x30\x03\x00\x01a"
    assert wire.encode(Disconnect(0x8E, known), V311) == b"\xe0\x00"
    assert wire.encode(Unsuback(1, (0,), known), V311) == bytes.fromhex("b0020001")
    assert wire.encode(Connack(5, properties=known), V311) == bytes.fromhex("20020005")
    request = SubscriptionRequest("a", 1, True, True, 2)
    assert wire.encode(Subscribe(1, (request,)), V311) == bytes.fromhex("8206 0001 0001 61 01")


def test_properties_that_are_empty_but_not_the_constant_still_give_the_short_form() -> None:
    assert wire.encode(Puback(1, 0, Properties()), V5) == bytes.fromhex("4003 0001 00")
    assert wire.encode(Disconnect(0, Properties()), V5) == b"\xe0\x00"
    assert wire.encode(Auth(0, Properties()), V5) == b"\xf0\x00"


def test_what_is_no_packet_cannot_be_encoded() -> None:
    with pytest.raises((AssertionError, TypeError), match=r"is no packet|expected; got str"):  # as source; compiled
        wire.encode("CONNECT", V5)  # type: ignore[arg-type]


# --- the fixed header


@pytest.mark.parametrize(("payload", "header"), [(125, 2), (126, 3), (16_381, 3), (16_382, 4), (200_000, 4)])
def test_the_remaining_length_takes_as_many_bytes_as_it_needs(payload: int, header: int) -> None:
    packet = Publish(TopicName("a"), bytes(payload - 1))
    data = wire.encode(packet, V311)
    assert len(data) == header + 2 + payload
    assert wire.decode(data, 0, V311, LIMIT) == (packet, len(data))


def test_a_remaining_length_in_a_longer_form_than_needed_is_taken() -> None:
    assert wire.decode(bytes.fromhex("c0808000"), 0, V5, LIMIT) == (Pingreq(), 4)


def test_a_remaining_length_of_five_bytes_is_malformed() -> None:
    assert refused("30ffffffff01") == ReasonCode.MALFORMED_PACKET


def test_a_packet_above_the_limit_is_refused_before_its_body_arrives() -> None:
    assert refused("308001", limit=100) == ReasonCode.PACKET_TOO_LARGE
    with pytest.raises(MqttError, match="131 bytes is above the limit of 130"):
        wire.packet_size(bytes.fromhex("308001"), 0, 130)
    assert wire.decode(bytes.fromhex("308001"), 0, V5, 131) is None
    assert wire.packet_size(bytes.fromhex("308001"), 0, 131) == 131


def test_a_packet_too_large_for_mqtt_cannot_be_encoded() -> None:
    with pytest.raises(MqttError) as caught:
        wire.encode(Publish(TopicName("a"), bytes(268_435_455)), V311)
    assert caught.value.code == ReasonCode.PACKET_TOO_LARGE


@pytest.mark.parametrize(
    "first", ["00", "0f", "11", "21", "41", "51", "60", "63", "71", "80", "91", "a0", "b1", "c1", "d1", "e1", "f1"]
)
def test_reserved_types_and_flags_are_malformed_at_the_first_byte(first: str) -> None:
    assert refused(first) == ReasonCode.MALFORMED_PACKET


def test_a_packet_type_15_is_malformed_in_version_4() -> None:
    assert refused("f000", V311) == ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize("data", ["c00100", "d00100", "2003000000", "e00100", "b003000100"])
def test_bytes_behind_the_last_field_are_malformed(data: str) -> None:
    assert refused(data, V311) == ReasonCode.MALFORMED_PACKET


# --- PUBLISH


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("3600", ReasonCode.MALFORMED_PACKET),  # QoS 3
        ("3800", ReasonCode.MALFORMED_PACKET),  # DUP at QoS 0
        ("300100", ReasonCode.MALFORMED_PACKET),  # no topic length
        ("3003000261", ReasonCode.MALFORMED_PACKET),  # topic cut off
        ("320400016100", ReasonCode.MALFORMED_PACKET),  # packet identifier cut off
        ("32050001610000", ReasonCode.PROTOCOL_ERROR),  # packet identifier 0
        ("3003 0001ff", ReasonCode.MALFORMED_PACKET),  # no UTF-8 (version 4)
        ("3003 000100", ReasonCode.MALFORMED_PACKET),  # NUL
        ("3005 0003eda080", ReasonCode.MALFORMED_PACKET),  # a surrogate
        ("3003 00012b", ReasonCode.TOPIC_NAME_INVALID),  # +
        ("3003 000123", ReasonCode.TOPIC_NAME_INVALID),  # #
        ("3002 0000", ReasonCode.PROTOCOL_ERROR),  # empty topic
    ],
)
def test_a_publish_that_breaks_the_rules_is_refused(data: str, code: ReasonCode) -> None:
    assert refused(data, V311) == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("3003 000161", ReasonCode.MALFORMED_PACKET),  # no property length
        ("3003 000000", ReasonCode.PROTOCOL_ERROR),  # empty topic, no alias
        ("3006 0000 03 230000", ReasonCode.TOPIC_ALIAS_INVALID),
        ("3006 0000 03 080000", ReasonCode.TOPIC_NAME_INVALID),  # empty response topic
    ],
)
def test_a_version_5_publish_that_breaks_the_rules_is_refused(data: str, code: ReasonCode) -> None:
    assert refused(data, V5) == code


def test_an_empty_topic_with_an_alias_is_left_to_the_protocol() -> None:
    found = wire.decode(bytes.fromhex("3007 0000 03 230007 78"), 0, V5, LIMIT)
    assert found == (Publish(TopicName(""), b"x", properties=Properties(topic_alias=7)), 9)


def test_a_byte_order_mark_in_a_topic_stays() -> None:
    found = wire.decode(bytes.fromhex("3006 0004 efbbbf61"), 0, V311, LIMIT)
    assert found is not None
    assert found[0] == Publish(TopicName("\ufeffa"), b"")


def test_a_known_topic_is_the_same_object_again() -> None:
    data = wire.encode(Publish(TopicName("known/topic"), b"1"), V311)
    first, second = wire.decode(data, 0, V311, LIMIT), wire.decode(data, 0, V311, LIMIT)
    assert first is not None
    assert second is not None
    assert isinstance(first[0], Publish)
    assert isinstance(second[0], Publish)
    assert first[0].topic is second[0].topic


def test_the_memory_of_topics_is_bounded_and_still_right_when_it_overflows() -> None:
    for number in range(wire.MAX_KNOWN_TOPICS + 50):
        packet = Publish(TopicName(f"bounded/{number}"), b"")
        data = wire.encode(packet, V311)
        assert wire.decode(data, 0, V311, LIMIT) == (packet, len(data))
        assert len(wire._known_topics) <= wire.MAX_KNOWN_TOPICS


def test_long_topics_and_refused_topics_are_not_remembered() -> None:
    long_topic = "l" * (wire.MAX_KNOWN_TOPIC_BYTES + 1)
    data = wire.encode(Publish(TopicName(long_topic), b""), V311)
    assert wire.decode(data, 0, V311, LIMIT) is not None
    assert refused(wire.encode(Publish(TopicName("refused/#"), b""), V311), V311) == ReasonCode.TOPIC_NAME_INVALID
    assert long_topic.encode() not in wire._known_topics
    assert b"refused/#" not in wire._known_topics


@given(publishes(V5), packet_ids)
def test_a_template_gives_each_subscriber_the_packet_that_encode_gives(packet: Publish, packet_id: int) -> None:
    qos = packet.qos or 1
    template = wire.PublishTemplate(packet.topic, packet.payload, qos, packet.retain, packet.properties, V5)
    for dup, data in ((False, template.packet(packet_id)), (True, template.redelivery(packet_id))):
        wanted = Publish(packet.topic, packet.payload, qos, packet.retain, dup, packet_id, packet.properties)
        assert data == wire.encode(wanted, V5)
        assert wire.decode(data, 0, V5, LIMIT) == (wanted, len(data))


# --- PUBACK, PUBREC, PUBREL, PUBCOMP


@pytest.mark.parametrize("first", ["40", "50", "62", "70"])
@pytest.mark.parametrize(
    ("rest", "version", "code"),
    [
        ("0100", V5, ReasonCode.MALFORMED_PACKET),  # packet identifier cut off
        ("020000", V5, ReasonCode.PROTOCOL_ERROR),  # packet identifier 0
        ("03000101", V5, ReasonCode.PROTOCOL_ERROR),  # a code of another packet
        ("0400010001", V5, ReasonCode.MALFORMED_PACKET),  # properties cut off
        ("050001000000", V5, ReasonCode.MALFORMED_PACKET),  # a byte behind the properties
        ("03000100", V311, ReasonCode.MALFORMED_PACKET),  # 3.1.1 has no code
    ],
)
def test_an_acknowledgement_that_breaks_the_rules_is_refused(
    first: str, rest: str, version: int, code: ReasonCode
) -> None:
    assert refused(first + rest, version) == code


@pytest.mark.parametrize("rest", ["020102", "03010200", "0401020000"])
def test_success_may_be_said_in_three_lengths(rest: str) -> None:
    data = bytes.fromhex("40" + rest)
    assert wire.decode(data, 0, V5, LIMIT) == (Puback(258), len(data))
