"""Datagrams into CoAP messages and messages into datagrams.

Source: RFC 7252 section 3.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    |Ver| T |  TKL  |      Code     |          Message ID           |
    |   Token (TKL bytes, 0 to 8) ...
    |   Options: delta and length, four bits each, 13 and 14 with one and two bytes more ...
    |1 1 1 1 1 1 1 1|    Payload (if any, then of one byte or more) ...

An error carries type and message id where the header shows them, so that `protocol` can reject the message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lockgate.adapters.coap.messages import NO_OPTIONS, CoapFormatError, CoapMessage, Options

MAX_OPTIONS: Final = 128
"""How many options a message may have: 32 levels of a topic, as many queries, and room."""
MAX_TOKEN_BYTES: Final = 8
MAX_OPTION_NUMBER: Final = 65_535
MARKER: Final = 0xFF

_HEADER_BYTES: Final = 4
_EMPTY: Final = 0
_RST: Final = 3
_BYTES: Final = [number.to_bytes(1, "big") for number in range(256)]  # `to_bytes` costs ten times such a look-up


def decode(data: bytes) -> CoapMessage:
    """Give the message in a datagram.

    Raises:
        CoapFormatError: it is no CoAP message; a message format error in the words of section 3.
    """
    size = len(data)
    if size < _HEADER_BYTES:
        raise CoapFormatError(f"a message has a header of {_HEADER_BYTES} bytes; {size} came")
    first = data[0]
    if first >> 6 != 1:  # other versions MUST be silently ignored
        raise CoapFormatError(f"a message of version {first >> 6} came; only version 1 is known")
    kind = first >> 4 & 3
    code = data[1]
    message_id = data[2] << 8 | data[3]
    start = _HEADER_BYTES + (first & 0x0F)
    if code == _EMPTY:
        if size != _HEADER_BYTES or first & 0x0F:  # section 4.1
            raise CoapFormatError(f"an Empty message has {_HEADER_BYTES} bytes, not {size}", kind, message_id)
        return CoapMessage(kind, code, message_id)
    if kind == _RST:  # section 4.2: a Reset MUST be Empty
        raise CoapFormatError("a Reset carries no code", kind, message_id)
    if start > _HEADER_BYTES + MAX_TOKEN_BYTES:  # lengths 9 to 15 are reserved
        raise CoapFormatError(f"a token has at most {MAX_TOKEN_BYTES} bytes, not {first & 0x0F}", kind, message_id)
    if start > size:
        raise CoapFormatError("the datagram ends within the token", kind, message_id)
    top = code >> 5
    if top == 1 or top > 5:  # section 4.2: classes 1, 6 and 7 are reserved
        raise CoapFormatError(f"codes of the class {top} are reserved", kind, message_id)
    token = data[_HEADER_BYTES:start] if start > _HEADER_BYTES else b""
    if start == size:
        return CoapMessage(kind, code, message_id, token)
    options, at = _decode_options(data, start, kind, message_id)
    return CoapMessage(kind, code, message_id, token, options, data[at:] if at < size else b"")


def _decode_options(data: bytes, at: int, kind: int, message_id: int) -> tuple[Options, int]:
    """Give the options that begin at `at`, and where the payload begins (section 3.1)."""
    options: list[tuple[int, bytes]] = []
    size = len(data)
    number = 0
    while at < size:
        head = data[at]
        at += 1
        if head == MARKER:
            if at == size:
                raise CoapFormatError("no payload follows the payload marker", kind, message_id)
            break
        delta, length = head >> 4, head & 0x0F
        if delta >= 13:
            if delta == 15 or at + delta - 12 > size:
                raise CoapFormatError("the delta of an option cannot be read", kind, message_id)
            if delta == 13:
                delta = data[at] + 13
                at += 1
            else:
                delta = (data[at] << 8 | data[at + 1]) + 269
                at += 2
        if length >= 13:
            if length == 15 or at + length - 12 > size:
                raise CoapFormatError("the length of an option cannot be read", kind, message_id)
            if length == 13:
                length = data[at] + 13
                at += 1
            else:
                length = (data[at] << 8 | data[at + 1]) + 269
                at += 2
        number += delta
        end = at + length
        if end > size:
            raise CoapFormatError(f"option {number} has {length} bytes; {size - at} are left", kind, message_id)
        if number > MAX_OPTION_NUMBER:
            raise CoapFormatError(f"option numbers end at {MAX_OPTION_NUMBER}; {number} came", kind, message_id)
        if len(options) >= MAX_OPTIONS:
            raise CoapFormatError(f"a message has at most {MAX_OPTIONS} options here", kind, message_id)
        options.append((number, data[at:end]))
        at = end
    return tuple(options), at


def encode(message: CoapMessage) -> bytes:
    """Give the datagram of a message; its options are in the order of their numbers."""
    return encode_parts(message.type, message.code, message.message_id, message.token, message.options, message.payload)


def encode_parts(kind: int, code: int, message_id: int, token: bytes, options: Options, payload: bytes) -> bytes:
    """Give the datagram of a message without building the message.

    Raises:
        ValueError: a token, or an option's number or value, is longer than a message can hold, or out of order.
    """
    size = len(token)
    if size > MAX_TOKEN_BYTES:
        raise ValueError(f"a token has at most {MAX_TOKEN_BYTES} bytes, not {size}")
    head = _BYTES[0x40 | kind << 4 | size] + _BYTES[code] + _BYTES[message_id >> 8] + _BYTES[message_id & 0xFF] + token
    if not options:
        return head + b"\xff" + payload if payload else head
    parts = [head]
    last = 0
    for number, value in options:
        delta, length = number - last, len(value)
        if delta < 0:
            raise ValueError(f"option {number} stands behind option {last}")
        last = number
        if delta < 13 and length < 13:
            parts.append(_BYTES[delta << 4 | length])
        else:
            parts.append(_long_head(delta, length))
        parts.append(value)
    if payload:
        parts.append(b"\xff")
        parts.append(payload)
    return b"".join(parts)


def _long_head(delta: int, length: int) -> bytes:
    """Give the head of an option whose delta or length takes more than four bits."""
    if delta > MAX_OPTION_NUMBER or length > MAX_OPTION_NUMBER:
        raise ValueError(f"an option of {length} bytes, {delta} behind the last, does not fit a message")
    first, second = _nibble(delta), _nibble(length)
    return _BYTES[first << 4 | second] + _extension(delta) + _extension(length)


def _nibble(value: int) -> int:
    return value if value < 13 else 13 if value < 269 else 14


def _extension(value: int) -> bytes:
    if value < 13:
        return b""
    return _BYTES[value - 13] if value < 269 else (value - 269).to_bytes(2, "big")


def empty(kind: int, message_id: int) -> bytes:
    """Give an Empty message: an acknowledgement without answer, a Reset, a ping (section 4.1)."""
    return _BYTES[0x40 | kind << 4] + b"\0" + _BYTES[message_id >> 8] + _BYTES[message_id & 0xFF]


# Option values (section 3.2)


def encode_uint(value: int) -> bytes:
    """Give an unsigned integer in as few bytes as it needs; 0 needs none."""
    if value < 256:
        return _BYTES[value] if value else b""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_uint(value: bytes) -> int:
    """Give the unsigned integer of an option's value; leading zero bytes are taken."""
    size = len(value)
    if size < 2:
        return value[0] if size else 0
    return int.from_bytes(value, "big")


def decode_string(value: bytes) -> str | None:
    """Give the text of an option's value, None where it is not well-formed UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def in_order(options: Iterable[tuple[int, bytes]]) -> Options:
    """Give options in the order of their numbers; those of the same number keep theirs."""
    made = tuple(sorted(options, key=_option_number))
    return made or NO_OPTIONS


def _option_number(option: tuple[int, bytes]) -> int:
    return option[0]
