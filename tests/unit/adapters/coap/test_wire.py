"""Datagrams and messages (RFC 7252 section 3)."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import NO_OPTIONS, CoapFormatError, CoapMessage, Code, Options, Type

# Appendix A of RFC 7252, in its order, and two more.
EXAMPLES = (
    ("4001 7d34 bb 74656d7065726174757265", CoapMessage(0, 1, 0x7D34, b"", ((11, b"temperature"),))),
    ("6045 7d34 ff 32322e332043", CoapMessage(2, 69, 0x7D34, b"", (), b"22.3 C")),
    ("4101 7d35 20 bb 74656d7065726174757265", CoapMessage(0, 1, 0x7D35, b" ", ((11, b"temperature"),))),
    ("6145 7d35 20 ff 32322e332043", CoapMessage(2, 69, 0x7D35, b" ", (), b"22.3 C")),
    ("6000 7d38", CoapMessage(2, 0, 0x7D38)),
    ("7000 7d38", CoapMessage(3, 0, 0x7D38)),
    ("4101 7d35 20", CoapMessage(0, 1, 0x7D35, b" ")),
    ("5145 ad7c 74 ff 41", CoapMessage(1, 69, 0xAD7C, b"t", (), b"A")),
)


@pytest.mark.requirement("C1")
@pytest.mark.parametrize(("text", "message"), EXAMPLES)
def test_the_examples_of_the_standard_go_both_ways(text: str, message: CoapMessage) -> None:
    data = bytes.fromhex(text)
    assert wire.decode(data) == message
    assert wire.encode(message) == data


@pytest.mark.parametrize(
    "options",
    [
        ((1, b""), (1, b"12345678"), (4, b"x" * 8)),
        ((11, b"x" * 12), (11, b"x" * 13), (11, b"x" * 268), (11, b"x" * 269), (11, b"x" * 1000)),
        ((12, b""), (13 + 12, b""), (269 + 25, b"y"), (65_535, b"z")),
        ((268, b""), (268 + 268, b"")),
        tuple((11, b"a") for _ in range(wire.MAX_OPTIONS)),
    ],
    ids=str,
)
def test_options_of_all_sizes_go_both_ways(options: Options) -> None:
    for payload in (b"", b"\xff", b"p" * 1024):
        message = CoapMessage(Type.NON, Code.POST, 65_535, b"12345678", options, payload)
        assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 came"),
        ("400100", "3 came"),
        ("00010001", "version 0"),
        ("80010001", "version 2"),
        ("c0010001ff", "version 3"),
    ],
)
def test_what_cannot_be_rejected_says_so(text: str, words: str) -> None:
    with pytest.raises(CoapFormatError, match=words) as caught:
        wire.decode(bytes.fromhex(text))
    assert (caught.value.type, caught.value.message_id) == (-1, -1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("400000070a", "Empty message"),
        ("4100000720", "Empty message"),
        ("4f000007", "Empty message"),
        ("490100070102030405060708 09", "at most 8 bytes, not 9"),
        ("42010007 01", "within the token"),
        ("40200007", "class 1"),
        ("40c10007", "class 6"),
        ("40e10007", "class 7"),
        ("40010007 ff", "no payload follows"),
        ("40010007 b161 ff", "no payload follows"),
        ("40010007 f0", "delta"),
        ("40010007 d0", "delta"),
        ("40010007 e001", "delta"),
        ("40010007 0f", "length"),
        ("40010007 0d", "length"),
        ("40010007 0e01", "length"),
        ("40010007 b261", "option 11 has 2 bytes; 1 are left"),
        ("40010007 e0fef2 10", "option numbers end at 65535; 65536"),
        ("40010007" + "00" * 129, "at most 128 options"),
    ],
)
def test_a_message_format_error_is_named_and_can_be_rejected(text: str, words: str) -> None:
    with pytest.raises(CoapFormatError, match=words) as caught:
        wire.decode(bytes.fromhex(text))
    assert (caught.value.type, caught.value.message_id) == (Type.CON, 7)


def test_a_reset_with_a_code_is_malformed() -> None:
    with pytest.raises(CoapFormatError, match="Reset") as caught:
        wire.decode(bytes.fromhex("70450007"))
    assert caught.value.type == Type.RST


@pytest.mark.parametrize(
    "message",
    [
        CoapMessage(0, 1, 1, b"123456789"),
        CoapMessage(0, 1, 1, b"", ((11, b""), (4, b""))),
        CoapMessage(0, 1, 1, b"", ((65_536, b""),)),
        CoapMessage(0, 1, 1, b"", ((1, b"x" * 65_536),)),
    ],
    ids=["token", "order", "number", "length"],
)
def test_what_no_message_can_hold_is_not_encoded(message: CoapMessage) -> None:
    with pytest.raises(ValueError, match=r"token|behind|fit"):
        wire.encode(message)


def test_empty_messages_are_made_without_a_record() -> None:
    assert wire.empty(Type.RST, 0x7D38) == bytes.fromhex("70007d38")


@pytest.mark.parametrize(("value", "raw"), [(0, ""), (1, "01"), (255, "ff"), (256, "0100"), (16_777_215, "ffffff")])
def test_integers_take_as_few_bytes_as_they_need(value: int, raw: str) -> None:
    assert wire.encode_uint(value) == bytes.fromhex(raw)
    assert wire.decode_uint(bytes.fromhex(raw)) == value
    assert wire.decode_uint(b"\0" + bytes.fromhex(raw)) == value


def test_text_is_utf_8() -> None:
    assert wire.decode_string("°C".encode()) == "°C"
    assert wire.decode_string(b"\xff") is None


def test_options_are_put_in_order_and_keep_theirs() -> None:
    assert wire.in_order([(12, b""), (11, b"b"), (11, b"a")]) == ((11, b"b"), (11, b"a"), (12, b""))
    assert wire.in_order([]) is NO_OPTIONS
