"""CONNECT, SUBSCRIBE and their kin are refused with the right reason code when they break the rules."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode as PahoReasonCode

from lockgate.adapters.mqtt.packets import (
    V5,
    V311,
    Auth,
    Connack,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    PacketType,
    ReasonCode,
    Subscribe,
    SubscriptionRequest,
    WillPacket,
)
from lockgate.adapters.mqtt.wire import decode, encode
from lockgate.adapters.mqtt.wire_session import REASON_CODES

MALFORMED = ReasonCode.MALFORMED_PACKET
PROTOCOL = ReasonCode.PROTOCOL_ERROR


def framed(first: int, body: str) -> bytes:
    raw = bytes.fromhex(body)
    return bytes((first, len(raw))) + raw


def refused(data: bytes, version: int = V5) -> MqttError:
    with pytest.raises(MqttError) as caught:
        decode(data, 0, version, 1_000)
    return caught.value


def taken(data: bytes, version: int = V5) -> Packet:
    found = decode(data, 0, version, 1_000)
    assert found is not None
    assert found[1] == len(data)
    return found[0]


# --- CONNECT


@pytest.mark.parametrize("version", [0, V311, V5])
def test_a_connect_is_read_whatever_version_is_given(version: int) -> None:
    for packet in (Connect(V311, "a"), Connect(V5, "a")):
        assert taken(encode(packet, version), version) == packet


@pytest.mark.parametrize(
    "body", ["0004 4d515454 03", "0004 4d515454 06", "0004 4d515454 84", "0006 4d5149736470 03", "0006 4d5149736470 04"]
)
def test_a_protocol_of_another_level_is_unsupported_whatever_follows(body: str) -> None:
    assert refused(framed(0x10, body)).code == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION


@pytest.mark.parametrize("body", ["0004 6d717474 04", "0000 04", "0003 ffffff 04"])
def test_another_protocol_name_is_a_protocol_error(body: str) -> None:
    assert refused(framed(0x10, body)).code == PROTOCOL


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ("03", "reserved flag"),
        ("1c", "both QoS bits"),
        ("0a", "without will"),
        ("22", "without will"),
        ("42", "no user name"),
    ],
)
def test_connect_flags_that_contradict_are_malformed(flags: str, what: str) -> None:
    error = refused(framed(0x10, f"0004 4d515454 04 {flags} 003c 0001 61 0000 0000"))
    assert error.code == MALFORMED
    assert what in str(error)


def test_version_5_takes_a_password_without_user_name() -> None:
    packet = Connect(V5, "a", password=b"secret")
    assert taken(encode(packet, V5)) == packet
    assert refused(encode(Connect(V311, "a", password=b"secret"), V311)).code == MALFORMED


@pytest.mark.parametrize("topic", ["", "a/+", "#", "/" * 200])
@pytest.mark.parametrize("version", [V311, V5])
def test_a_will_on_what_is_no_topic_name_is_refused(topic: str, version: int) -> None:
    packet = Connect(version, "a", will=WillPacket(topic, b"gone"))
    assert refused(encode(packet, version)).code == ReasonCode.TOPIC_NAME_INVALID


@pytest.mark.parametrize("version", [V311, V5])
def test_a_connect_cut_off_anywhere_is_malformed(version: int) -> None:
    packet = Connect(version, "a", True, 60, "user", b"password", WillPacket("t", b"p", 1, True))
    body = encode(packet, version)[2:]
    for size in range(len(body)):
        assert refused(bytes((0x10, size)) + body[:size]).code == MALFORMED
    assert refused(bytes((0x10, len(body) + 1)) + body + b"\x00").code == MALFORMED


# --- CONNACK


@pytest.mark.parametrize(
    ("body", "version", "code"),
    [
        ("02 00", V311, MALFORMED),  # a reserved flag
        ("00 06", V311, PROTOCOL),  # no return code of 3.1.1
        ("00 8b 00", V5, PROTOCOL),  # a reason code of another packet
        ("01 05", V311, PROTOCOL),  # refused and a session present
        ("00", V311, MALFORMED),
        ("00 00", V5, MALFORMED),  # no property length
    ],
)
def test_a_connack_that_breaks_the_rules_is_refused(body: str, version: int, code: ReasonCode) -> None:
    assert refused(framed(0x20, body), version).code == code


def test_a_connack_of_each_version_has_its_own_codes() -> None:
    assert taken(framed(0x20, "0005"), V311) == Connack(5)
    assert taken(framed(0x20, "008700"), V5) == Connack(0x87)
    assert refused(framed(0x20, "0087"), V311).code == PROTOCOL


# --- SUBSCRIBE, UNSUBSCRIBE and their answers


@pytest.mark.parametrize(
    ("body", "version", "code"),
    [
        ("0000 0001 61 00", V311, PROTOCOL),  # packet identifier 0
        ("0001", V311, PROTOCOL),  # no topic filter
        ("0001 00", V5, PROTOCOL),
        ("0001 0001 61", V311, MALFORMED),  # no options
        ("0001 0001 61 03", V311, PROTOCOL),  # QoS 3
        ("0001 0001 61 04", V311, MALFORMED),  # an option that 3.1.1 reserves
        ("0001 00 0001 61 40", V5, MALFORMED),  # a reserved option
        ("0001 00 0001 61 80", V5, MALFORMED),
        ("0001 00 0001 61 03", V5, PROTOCOL),
        ("0001 00 0001 61 30", V5, PROTOCOL),  # retain handling 3
        ("0001 00 0002 c328 00", V5, MALFORMED),  # no UTF-8
        ("0001 00 0001 00 00", V5, MALFORMED),  # NUL
    ],
)
def test_a_subscribe_that_breaks_the_rules_is_refused(body: str, version: int, code: ReasonCode) -> None:
    assert refused(framed(0x82, body), version).code == code


def test_a_shared_subscription_must_not_ask_for_no_local() -> None:
    shared = Subscribe(1, (SubscriptionRequest("$share/group/a", no_local=True),))
    assert refused(encode(shared, V5)).code == PROTOCOL
    alike = Subscribe(1, (SubscriptionRequest("$shared/group/a", no_local=True),))
    assert taken(encode(alike, V5)) == alike


@pytest.mark.parametrize(
    ("first", "body", "version", "code"),
    [
        (0xA2, "0000 0001 61", V311, PROTOCOL),
        (0xA2, "0001", V311, PROTOCOL),
        (0xA2, "0001 00", V5, PROTOCOL),
        (0xA2, "0001 0002 61", V311, MALFORMED),
        (0xA2, "0001 0001 ff", V311, MALFORMED),
        (0x90, "0000 00", V311, PROTOCOL),
        (0x90, "0001", V311, PROTOCOL),
        (0x90, "0001 03", V311, PROTOCOL),
        (0x90, "0001 87", V311, PROTOCOL),
        (0x90, "0001 00 11", V5, PROTOCOL),
        (0xB0, "0000", V311, PROTOCOL),
        (0xB0, "0001 00", V5, PROTOCOL),
        (0xB0, "0001 00 01", V5, PROTOCOL),
        (0xB0, "0001", V5, MALFORMED),
    ],
)
def test_the_other_packets_of_subscribing_are_refused_when_they_break_the_rules(
    first: int, body: str, version: int, code: ReasonCode
) -> None:
    assert refused(framed(first, body), version).code == code


# --- DISCONNECT and AUTH


@pytest.mark.parametrize(
    ("first", "body", "code"),
    [
        (0xE0, "01", PROTOCOL),
        (0xE0, "00 01", MALFORMED),
        (0xE0, "00 00 00", MALFORMED),
        (0xF0, "01 00", PROTOCOL),
        (0xF0, "18", MALFORMED),
        (0xF0, "18 00 00", MALFORMED),
    ],
)
def test_a_disconnect_or_auth_that_breaks_the_rules_is_refused(first: int, body: str, code: ReasonCode) -> None:
    assert refused(framed(first, body)).code == code


def test_disconnect_and_auth_may_say_success_in_more_than_one_length() -> None:
    for body in ("", "00", "0000"):
        assert taken(framed(0xE0, body)) == Disconnect()
    for body in ("", "0000"):
        assert taken(framed(0xF0, body)) == Auth()


# --- the table


def test_the_reason_codes_of_each_packet_are_those_of_an_independent_table() -> None:
    theirs: dict[int, set[int]] = {}
    for code, names in PahoReasonCode(PacketTypes.CONNACK).names.items():
        for places in names.values():
            for place in places:
                theirs.setdefault(place, set()).add(code)
    theirs[PacketType.CONNACK].add(0x99)  # which paho's table lacks and MQTT 5.0 table 2-6 has
    assert {int(place): set(codes) for place, codes in REASON_CODES.items()} == theirs
