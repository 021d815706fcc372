"""The field types: what is written can be read, and a cursor never reads behind its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.adapters.mqtt.packets import MqttError, ReasonCode
from lockgate.adapters.mqtt.wire_fields import (
    MAX_VARIABLE,
    Cursor,
    decode_text,
    encode_binary,
    encode_text,
    encode_variable,
)


@given(st.integers(0, MAX_VARIABLE))
def test_a_variable_byte_integer_survives_the_way_through_bytes(value: int) -> None:
    encoded = encode_variable(value)
    assert Cursor(encoded, 0, len(encoded)).variable() == value


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"), (2_097_151, "ffff7f"),
        (2_097_152, "80808001"), (MAX_VARIABLE, "ffffff7f"),
    ],
)  # fmt: skip
def test_a_variable_byte_integer_has_the_bytes_of_the_standards_table(value: int, encoded: str) -> None:
    assert encode_variable(value).hex() == encoded


def test_a_variable_byte_integer_has_at_most_four_bytes() -> None:
    with pytest.raises(MqttError, match="above the most"):
        encode_variable(MAX_VARIABLE + 1)
    with pytest.raises(MqttError, match="more than four bytes"):
        Cursor(b"\xff\xff\xff\xff\x01", 0, 5).variable()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), st.binary())
def test_strings_and_binary_data_survive_the_way_through_bytes(text: str, blob: bytes) -> None:
    encoded = encode_text(text) + encode_binary(blob)
    cursor = Cursor(encoded, 0, len(encoded))
    assert (cursor.text(), cursor.binary()) == (text, blob)
    cursor.finish()


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x00"])
def test_text_that_is_not_strict_utf_8_is_malformed(raw: bytes) -> None:
    with pytest.raises(MqttError) as caught:
        decode_text(raw)
    assert caught.value.code == ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize(
    ("read", "needed"),
    [
        (Cursor.byte, b"\x01"),
        (Cursor.two_bytes, b"\x01\x02"),
        (Cursor.four_bytes, b"\x01\x02\x03\x04"),
        (Cursor.variable, b"\x80\x80\x80\x01"),
        (Cursor.binary, b"\x00\x02ab"),
        (Cursor.text, b"\x00\x02ab"),
        (Cursor.packet_id, b"\x00\x01"),
    ],
)
def test_a_cursor_reads_up_to_its_end_and_not_behind(read: Callable[[Cursor], object], needed: bytes) -> None:
    whole = Cursor(needed, 0, len(needed))
    read(whole)
    whole.finish()
    for end in range(len(needed)):
        with pytest.raises(MqttError) as caught:
            read(Cursor(needed + b"behind", 0, end))
        assert caught.value.code == ReasonCode.MALFORMED_PACKET


def test_a_packet_identifier_is_never_0() -> None:
    with pytest.raises(MqttError) as caught:
        Cursor(b"\x00\x00", 0, 2).packet_id()
    assert caught.value.code == ReasonCode.PROTOCOL_ERROR


def test_what_is_left_behind_the_last_field_is_counted() -> None:
    with pytest.raises(MqttError, match="2 bytes follow"):
        Cursor(b"ab", 0, 2).finish()
