"""Packets laid open: every byte is in one field, and what the bits say is what the standard says."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.anatomy import Dissected, Dissector, Field, dissect
from lockgate.adapters.mqtt.packets import V5, V311, Connect, Packet, Properties, Publish, ReasonCode, WillPacket
from lockgate.model.topic import TopicName
from tests.unit.adapters.mqtt.test_wire import packets


def only(data: bytes, version: int | None = V5) -> Dissected:
    (packet,) = dissect(data, version)
    return packet


def field(packet: Dissected, name: str) -> Field:
    (found,) = [each for each in packet.fields if each.name == name]
    return found


@given(st.sampled_from([V5, V311]).flatmap(lambda version: st.tuples(st.just(version), packets(version))))
def test_the_fields_of_a_legal_packet_are_all_of_its_bytes_in_their_order(case: tuple[int, Packet]) -> None:
    version, packet = case
    data = wire.encode(packet, version)
    found = only(data, version)
    assert found.problem == ""
    assert found.name == type(packet).__name__.upper()
    assert b"".join(each.data for each in found.fields) == data
    offset = 0
    for each in found.fields:
        assert each.offset == offset
        offset += len(each.data)


@given(st.binary(max_size=200), st.sampled_from([V5, V311, None]))
@example(b"\x10\x02\x00\x01", V5)
def test_any_bytes_are_laid_open_whole_or_named_wrong(data: bytes, version: int | None) -> None:
    found = dissect(data, version)
    assert b"".join(each.data for packet in found for each in packet.fields) == data


@given(st.lists(packets(V5), max_size=4), st.integers(1, 9))
def test_pieces_of_any_size_give_the_same_packets(sent: list[Packet], size: int) -> None:
    data = b"".join(wire.encode(packet, V5) for packet in sent)
    dissector = Dissector(V5)
    found = [p for start in range(0, len(data), size) for p in dissector.feed(data[start : start + size])]
    assert dissector.rest == 0
    assert found == Dissector(V5).feed(data)


def test_the_first_byte_of_a_publish_is_told_bit_by_bit() -> None:
    packet = only(wire.encode(Publish(TopicName("a"), b"x", qos=2, retain=True, dup=True, packet_id=7), V311), V311)
    bits = [(each.pattern, each.meaning) for each in packet.fields[0].bits]
    assert bits == [
        ("0011 ....", "type 3: PUBLISH"),
        (".... 1...", "DUP 1: it may have been sent before"),
        (".... .10.", "QoS 2: exactly once"),
        (".... ...1", "RETAIN 1"),
    ]
    assert field(packet, "packet identifier").meaning == "7"
    assert field(packet, "payload").meaning == "1 byte: 'x'"


@pytest.mark.requirement("Q8")
@pytest.mark.parametrize(
    ("size", "encoded", "meaning"),
    [
        (127, "7f", "127"),
        (128, "80 01", "128 = 0 + 1 x 128"),
        (321, "c1 02", "321 = 65 + 2 x 128"),
        (16_383, "ff 7f", "16383 = 127 + 127 x 128"),
        (16_384, "80 80 01", "16384 = 0 + 0 x 128 + 1 x 16384"),
        (2_097_152, "80 80 80 01", "2097152 = 0 + 0 x 128 + 0 x 16384 + 1 x 2097152"),
    ],
)
def test_the_remaining_length_is_right_above_127_bytes_too(size: int, encoded: str, meaning: str) -> None:
    topic = b"\x00\x01a"
    packet = only(b"\x30" + bytes.fromhex(encoded) + topic + bytes(size - len(topic)), V311)
    length = field(packet, "remaining length")
    assert length.data.hex(" ") == encoded
    assert length.meaning.split(":")[0] == meaning
    assert packet.problem == ""
    assert packet.size == 1 + len(length.data) + size


def test_a_connect_tells_its_flags_and_will_and_hides_its_password() -> None:
    will = WillPacket("w", b"\xff\x00", 1, True, Properties(will_delay_interval=300))
    connect = Connect(
        V5, "c", False, 60, "me", b"secret", will, Properties(authentication_method="m", authentication_data=b"hid")
    )
    packet = only(wire.encode(connect, V5), V311)  # what the CONNECT says counts
    assert packet.version == "5.0"
    assert [each.meaning for each in field(packet, "connect flags").bits] == [
        "user name: yes", "password: yes", "will RETAIN 1", "will QoS 1: at least once", "will: yes",
        "clean start: no", "reserved",
    ]  # fmt: skip
    assert field(packet, "keep alive").meaning == "60 s"
    assert field(packet, "property 24: will delay interval").meaning == "300"
    assert field(packet, "will payload").meaning == "2 bytes"
    assert field(packet, "password").meaning == "6 bytes"
    assert field(packet, "property 22: authentication data").meaning == "3 bytes"


def test_subscription_options_differ_by_version() -> None:
    as_5 = only(bytes.fromhex("82070001000001612e"), V5)
    assert [each.meaning for each in field(as_5, "subscription options").bits] == [
        "reserved", "retain handling 2: send none", "retain as published: yes", "no local: yes",
        "QoS 2 at most: exactly once",
    ]  # fmt: skip
    as_311 = only(bytes.fromhex("820600010001 6101".replace(" ", "")), V311)
    assert field(as_311, "subscription options").bits[-1].meaning == "QoS 1 at most: at least once"


@pytest.mark.parametrize(
    ("data", "version", "name", "meaning"),
    [
        ("20020005", V311, "return code", "0x05 not authorized"),
        ("20020109", V311, "return code", "0x09 unknown"),
        ("2003008700", V5, "reason code", "0x87 not authorized"),
        ("9003000180", V311, "return code", "0x80 failure"),
        ("900400010087", V5, "reason code", "0x87 not authorized"),
        ("b0040001 0011".replace(" ", ""), V5, "reason code", "0x11 no subscription existed"),
        ("e0018e", V5, "reason code", "0x8E session taken over"),
        ("40030001 10".replace(" ", ""), V5, "reason code", "0x10 no matching subscribers"),
    ],
)
def test_codes_are_told_in_words(data: str, version: int, name: str, meaning: str) -> None:
    assert field(only(bytes.fromhex(data), version), name).meaning == meaning


def test_what_is_wrong_is_said_and_the_rest_is_still_shown() -> None:
    packet = only(bytes.fromhex("3008000161 05 26000161".replace(" ", "")))  # the property length reaches too far
    assert [each.name for each in packet.fields] == [
        "fixed header",
        "remaining length",
        "topic name",
        "property length",
        "bytes",
    ]
    assert "0x81 malformed packet" in packet.problem
    illegal = only(
        bytes.fromhex("3009000161 0511 00000001".replace(" ", ""))
    )  # session expiry has no place in a PUBLISH
    assert field(illegal, "property 17: session expiry interval").meaning == "1; not allowed here"
    assert "0x81" in illegal.problem
    unknown = only(bytes.fromhex("3006000161027f00"))
    assert "no property has the identifier 127" in unknown.problem or "property 127 is not legal" in unknown.problem
    reserved = only(bytes.fromhex("82070001000001614f"))
    assert "reserved option" in reserved.problem


def test_a_header_that_cannot_be_read_ends_the_reading() -> None:
    dissector = Dissector()
    good, bad = dissector.feed(b"\xc0\x00\x60\x00\x01")
    assert (good.name, bad.name) == ("PINGREQ", "?")
    assert dissector.is_lost
    assert dissector.feed(b"\xc0\x00") == []


def test_a_packet_that_is_cut_off_says_how_much_lacks() -> None:
    assert only(bytes.fromhex("300a0004")).problem == "the packet is cut off: 4 of 12 bytes are here"
    assert only(b"\x30").problem == "the packet is cut off: 1 bytes are here"


def test_the_version_is_guessed_by_which_finds_fewer_mistakes() -> None:
    assert only(bytes.fromhex("20020000"), None).version == "3.1.1"
    assert only(bytes.fromhex("2003000000"), None).version == "5.0"
    assert only(bytes.fromhex("c000"), None).version == "5.0"


def test_every_reason_code_has_words() -> None:
    for code in ReasonCode:
        assert "unknown" not in field(only(bytes([0xE0, 1, code])), "reason code").meaning
