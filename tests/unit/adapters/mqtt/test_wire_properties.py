"""Each property is read where it is legal, once, with a value in its range, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from lockgate.adapters.mqtt.packets import NO_PROPERTIES, MqttError, PacketType, Properties, ReasonCode
from lockgate.adapters.mqtt.wire_fields import Cursor
from lockgate.adapters.mqtt.wire_properties import RULES, WILL, Kind, Rule, decode_properties, encode_properties

SAMPLES: dict[int, tuple[str, Any]] = {
    Kind.BYTE: ("01", 1),
    Kind.TWO_BYTES: ("0102", 0x0102),
    Kind.FOUR_BYTES: ("01020304", 0x01020304),
    Kind.VARIABLE: ("8001", (128,)),
    Kind.TEXT: ("0001 61", "a"),
    Kind.BINARY: ("0002 00ff", b"\x00\xff"),
    Kind.PAIR: ("0001 61 0001 62", (("a", "b"),)),
}
PLACES = (WILL, *(int(kind) for kind in PacketType if kind not in (PacketType.PINGREQ, PacketType.PINGRESP)))


def test_more_user_properties_than_allowed_are_refused_before_they_are_all_read() -> None:
    users = Properties(user_properties=(("a", "b"),) * 3)
    raw = encode_properties(users, PacketType.PUBLISH)
    assert decode_properties(Cursor(raw, 0, len(raw), 3), PacketType.PUBLISH) == users
    with pytest.raises(MqttError) as caught:
        decode_properties(Cursor(raw, 0, len(raw), 2), PacketType.PUBLISH)
    assert caught.value.code is ReasonCode.QUOTA_EXCEEDED


def block(content: str) -> bytes:
    raw = bytes.fromhex(content)
    return bytes((len(raw),)) + raw


def read(content: str, place: int) -> Properties:
    data = block(content)
    cursor = Cursor(data + b"behind", 0, len(data))
    properties = decode_properties(cursor, place)
    cursor.finish()
    return properties


def refused(content: str, place: int) -> ReasonCode:
    with pytest.raises(MqttError) as caught:
        read(content, place)
    return caught.value.code


def sample(rule: Rule) -> tuple[str, Any]:
    content, value = SAMPLES[rule.kind]
    content = f"{rule.identifier:02x}" + content
    return ("15 0001 6d" + content if rule.field == "authentication_data" else content), value


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.field)
def test_a_property_is_read_and_written_where_it_is_legal_and_refused_elsewhere(rule: Rule) -> None:
    content, value = sample(rule)
    for place in PLACES:
        if place in rule.places:
            properties = read(content, place)
            assert getattr(properties, rule.field) == value
            assert encode_properties(properties, place) == block(content)
        else:
            assert refused(content, place) == ReasonCode.MALFORMED_PACKET
            assert encode_properties(Properties(**{rule.field: value}), place) == b"\x00"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.field)
def test_a_property_is_there_once_unless_the_standard_says_otherwise(rule: Rule) -> None:
    content, value = sample(rule)
    again = f"{rule.identifier:02x}" + SAMPLES[rule.kind][0]
    for place in rule.places:
        if rule.kind == Kind.PAIR or (rule.kind == Kind.VARIABLE and place == PacketType.PUBLISH):
            assert getattr(read(content + again, place), rule.field) == value + value
        else:
            assert refused(content + again, place) == ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("content", "place", "code"),
    [
        ("01 02", PacketType.PUBLISH, ReasonCode.PROTOCOL_ERROR),
        ("0b 00", PacketType.SUBSCRIBE, ReasonCode.PROTOCOL_ERROR),
        ("17 02", PacketType.CONNECT, ReasonCode.PROTOCOL_ERROR),
        ("19 02", PacketType.CONNECT, ReasonCode.PROTOCOL_ERROR),
        ("21 0000", PacketType.CONNECT, ReasonCode.PROTOCOL_ERROR),
        ("23 0000", PacketType.PUBLISH, ReasonCode.TOPIC_ALIAS_INVALID),
        ("24 02", PacketType.CONNACK, ReasonCode.PROTOCOL_ERROR),
        ("25 02", PacketType.CONNACK, ReasonCode.PROTOCOL_ERROR),
        ("27 00000000", PacketType.CONNECT, ReasonCode.PROTOCOL_ERROR),
        ("28 02", PacketType.CONNACK, ReasonCode.PROTOCOL_ERROR),
        ("29 ff", PacketType.CONNACK, ReasonCode.PROTOCOL_ERROR),
        ("2a 02", PacketType.CONNACK, ReasonCode.PROTOCOL_ERROR),
    ],
)
def test_a_value_out_of_range_is_refused(content: str, place: int, code: ReasonCode) -> None:
    assert refused(content, place) == code


@pytest.mark.parametrize("identifier", ["00", "04", "2b", "7f", "8001", "ffffff7f", "ffffffffff"])
def test_an_unknown_property_is_malformed(identifier: str) -> None:
    assert refused(identifier, PacketType.PUBLISH) == ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize("topic", ["0000", "0001 2b", "0001 23"])
@pytest.mark.parametrize("place", [WILL, PacketType.PUBLISH])
def test_a_response_topic_is_a_topic_name(topic: str, place: int) -> None:
    assert refused("08" + topic, place) == ReasonCode.TOPIC_NAME_INVALID


def test_authentication_data_needs_a_method() -> None:
    assert refused("16 0000", PacketType.CONNECT) == ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize("content", ["01", "2200", "0200", "03000261", "26000161", "26000161000262", "0bff"])
def test_a_property_must_end_where_the_property_length_says(content: str) -> None:
    assert refused(content, PacketType.PUBLISH) == ReasonCode.MALFORMED_PACKET


def test_a_property_length_beyond_the_packet_is_malformed() -> None:
    with pytest.raises(MqttError) as caught:
        decode_properties(Cursor(b"\x05\x01\x01", 0, 3), PacketType.PUBLISH)
    assert caught.value.code == ReasonCode.MALFORMED_PACKET


def test_no_properties_are_one_constant() -> None:
    assert read("", PacketType.PUBLISH) is NO_PROPERTIES
    assert encode_properties(NO_PROPERTIES, PacketType.PUBLISH) == b"\x00"


def test_user_properties_keep_their_order_and_their_repetitions() -> None:
    pairs = (("b", "1"), ("a", "2"), ("b", "1"))
    encoded = encode_properties(Properties(user_properties=pairs), WILL)
    assert decode_properties(Cursor(encoded, 0, len(encoded)), WILL).user_properties == pairs


def test_the_table_is_that_of_an_independent_implementation() -> None:
    paho = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    kinds = {0: Kind.BYTE, 1: Kind.TWO_BYTES, 2: Kind.FOUR_BYTES, 3: Kind.VARIABLE, 4: Kind.BINARY, 5: Kind.TEXT,
             6: Kind.PAIR}  # fmt: skip
    theirs = {
        identifier: (kinds[kind], {WILL if place == PacketTypes.WILLMESSAGE else place for place in places})
        for identifier, (kind, places) in paho.properties.items()
    }
    assert {rule.identifier: (rule.kind, set(rule.places)) for rule in RULES} == theirs
    plural = {"user_properties": "user_property", "subscription_identifiers": "subscription_identifier"}
    ours = {plural.get(rule.field, rule.field): rule.identifier for rule in RULES}
    assert ours == {name.lower().replace(" ", "_"): identifier for name, identifier in paho.names.items()}


def test_every_field_of_the_record_has_its_rule() -> None:
    assert {rule.field for rule in RULES} == set(Properties.__struct_fields__)
