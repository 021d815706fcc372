"""MQTT's packets as bytes and back, for 3.1.1 and 5.0: a judge's own, sharing nothing with the hub that is judged.

Encoding checks nothing: a judge must be able to send what is wrong. Decoding checks all: what a server sends must be
right to the last reserved bit.

Source: MQTT 5.0 and MQTT 3.1.1, sections 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

V311, V5 = 4, 5

Text: TypeAlias = str | bytes
Properties: TypeAlias = Mapping[str, object]
"""Name to value. `user_property` is a list of pairs, `subscription_identifier` a list of numbers."""

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)

PROPERTIES = {
    "payload_format_indicator": (1, "byte"),
    "message_expiry_interval": (2, "four"),
    "content_type": (3, "text"),
    "response_topic": (8, "text"),
    "correlation_data": (9, "binary"),
    "subscription_identifier": (11, "varint"),
    "session_expiry_interval": (17, "four"),
    "assigned_client_identifier": (18, "text"),
    "server_keep_alive": (19, "two"),
    "authentication_method": (21, "text"),
    "authentication_data": (22, "binary"),
    "request_problem_information": (23, "byte"),
    "will_delay_interval": (24, "four"),
    "request_response_information": (25, "byte"),
    "response_information": (26, "text"),
    "server_reference": (28, "text"),
    "reason_string": (31, "text"),
    "receive_maximum": (33, "two"),
    "topic_alias_maximum": (34, "two"),
    "topic_alias": (35, "two"),
    "maximum_qos": (36, "byte"),
    "retain_available": (37, "byte"),
    "user_property": (38, "pair"),
    "maximum_packet_size": (39, "four"),
    "wildcard_subscription_available": (40, "byte"),
    "subscription_identifier_available": (41, "byte"),
    "shared_subscription_available": (42, "byte"),
}
NAMES = {number: (name, kind) for name, (number, kind) in PROPERTIES.items()}
REPEATABLE = ("user_property", "subscription_identifier")


class Wrong(AssertionError):
    """The server sent what the standard does not allow."""


@dataclass(frozen=True)
class Connack:
    code: int
    session_present: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True)
class Publish:
    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True)
class Ack:
    packet_id: int
    code: int = 0
    properties: Properties = field(default_factory=dict)


class Puback(Ack): ...


class Pubrec(Ack): ...


class Pubrel(Ack): ...


class Pubcomp(Ack): ...


@dataclass(frozen=True)
class Suback:
    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True)
class Unsuback:
    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True)
class Pingresp: ...


@dataclass(frozen=True)
class Disconnect:
    code: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True)
class Auth:
    code: int = 0
    properties: Properties = field(default_factory=dict)


Packet: TypeAlias = Connack | Publish | Ack | Suback | Unsuback | Pingresp | Disconnect | Auth


@dataclass(frozen=True)
class Will:
    """A will, as CONNECT carries it; `properties` may be raw bytes, with their length."""

    topic: Text
    payload: bytes = b"gone"
    qos: int = 0
    retain: bool = False
    properties: Properties | bytes = field(default_factory=dict)


# To bytes


def varint(value: int) -> bytes:
    """Encode a Variable Byte Integer."""
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | 0x80 if value else low)
        if not value:
            return bytes(out)


def two(value: int) -> bytes:
    return struct.pack(">H", value)


def text(value: Text) -> bytes:
    """Encode a UTF-8 Encoded String; bytes go as they are, after their length."""
    data = value.encode() if isinstance(value, str) else value
    return two(len(data)) + data


def properties_bytes(properties: Properties | bytes) -> bytes:
    """Encode properties with their length; bytes go as they are."""
    if isinstance(properties, bytes):
        return properties
    out = b"".join(_property(name, value) for name, value in properties.items())
    return varint(len(out)) + out


def _property(name: str, value: object) -> bytes:
    number, kind = PROPERTIES[name]
    if isinstance(value, list):
        return b"".join(bytes([number]) + _value(kind, one) for one in value)
    return bytes([number]) + _value(kind, value)


def _value(kind: str, value: object) -> bytes:
    if kind == "pair":
        assert isinstance(value, tuple)
        return text(value[0]) + text(value[1])
    if kind in ("text", "binary"):
        assert isinstance(value, str | bytes)
        return text(value)
    assert isinstance(value, int)
    if kind == "varint":
        return varint(value)
    return value.to_bytes({"byte": 1, "two": 2, "four": 4}[kind], "big")


def frame(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Put the fixed header before a body."""
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connect(
    version: int,
    client_id: Text = "",
    *,
    clean: bool = True,
    keep_alive: int = 60,
    properties: Properties | bytes = {},  # noqa: B006  (it is read only)
    will: Will | None = None,
    user: Text | None = None,
    password: Text | None = None,
    name: Text = "MQTT",
    level: int | None = None,
    flags: int | None = None,
) -> bytes:
    """Encode a CONNECT. `name`, `level` and `flags` replace the right ones with what a test wants there."""
    made = 0x02 if clean else 0
    payload = text(client_id)
    if will is not None:
        made |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
        payload += (properties_bytes(will.properties) if version == V5 else b"") + text(will.topic) + text(will.payload)
    if user is not None:
        made |= 0x80
        payload += text(user)
    if password is not None:
        made |= 0x40
        payload += text(password)
    head = text(name) + bytes([version if level is None else level, made if flags is None else flags]) + two(keep_alive)
    return frame(CONNECT, head + (properties_bytes(properties) if version == V5 else b"") + payload)


def publish(
    version: int,
    topic: Text,
    payload: bytes = b"",
    *,
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
    packet_id: int | None = None,
    properties: Properties | bytes = {},  # noqa: B006
) -> bytes:
    """Encode a PUBLISH; without `packet_id` there is none in it."""
    body = text(topic) + (b"" if packet_id is None else two(packet_id))
    body += (properties_bytes(properties) if version == V5 else b"") + payload
    return frame(PUBLISH, body, (8 if dup else 0) | qos << 1 | (1 if retain else 0))


def ack(
    version: int,
    kind: int,
    packet_id: int,
    code: int | None = None,
    properties: Properties | bytes | None = None,
    flags: int | None = None,
) -> bytes:
    """Encode a PUBACK, PUBREC, PUBREL or PUBCOMP, as short as it gets."""
    body = two(packet_id)
    if version == V5 and (code is not None or properties is not None):
        body += bytes([code or 0])
        if properties is not None:
            body += properties_bytes(properties)
    return frame(kind, body, flags if flags is not None else 2 if kind == PUBREL else 0)


def subscribe(
    version: int,
    packet_id: int,
    filters: Sequence[tuple[Text, int]],
    properties: Properties | bytes = {},  # noqa: B006
    flags: int = 2,
) -> bytes:
    """Encode a SUBSCRIBE of pairs of topic filter and options byte."""
    body = two(packet_id) + (properties_bytes(properties) if version == V5 else b"")
    return frame(SUBSCRIBE, body + b"".join(text(name) + bytes([options]) for name, options in filters), flags)


def unsubscribe(
    version: int,
    packet_id: int,
    filters: Sequence[Text],
    properties: Properties | bytes = {},  # noqa: B006
    flags: int = 2,
) -> bytes:
    """Encode an UNSUBSCRIBE."""
    body = two(packet_id) + (properties_bytes(properties) if version == V5 else b"")
    return frame(UNSUBSCRIBE, body + b"".join(text(name) for name in filters), flags)


def disconnect(version: int, code: int | None = None, properties: Properties | bytes | None = None) -> bytes:
    """Encode a DISCONNECT, as short as it gets."""
    return frame(DISCONNECT, _code_and_properties(version, code, properties))


def auth(code: int | None = None, properties: Properties | bytes | None = None) -> bytes:
    """Encode an AUTH, as short as it gets."""
    return frame(AUTH, _code_and_properties(V5, code, properties))


def _code_and_properties(version: int, code: int | None, properties: Properties | bytes | None) -> bytes:
    if version != V5 or (code is None and properties is None):
        return b""
    return bytes([code or 0]) + (b"" if properties is None else properties_bytes(properties))


# From bytes


class Reader:
    """Reads a packet's body; whatever is not there is the server's mistake."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise Wrong(f"a packet ends {count - self.left} bytes too early: {self.data.hex()}")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def varint(self) -> int:
        value = 0
        for index in range(4):
            byte = self.number(1)
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if index and not byte:
                    raise Wrong("a variable byte integer is longer than it need be")  # [MQTT-1.5.5-1]
                return value
        raise Wrong("a variable byte integer has more than four bytes")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        data = self.binary()
        try:
            value = data.decode()
        except UnicodeDecodeError as error:
            raise Wrong(f"{data!r} is no UTF-8") from error  # [MQTT-1.5.4-1]
        if "\0" in value:
            raise Wrong(f"{value!r} has a null character in it")  # [MQTT-1.5.4-2]
        return value

    def properties(self) -> Properties:
        inside = Reader(self.take(self.varint()))
        found: dict[str, object] = {}
        while inside.left:
            number = inside.number(1)
            if number not in NAMES:
                raise Wrong(f"there is no property {number}")
            name, kind = NAMES[number]
            value = inside.value(kind)
            if name in REPEATABLE:
                before = found.setdefault(name, [])
                assert isinstance(before, list)
                before.append(value)
            elif name in found:
                raise Wrong(f"{name} is in a packet twice")
            else:
                found[name] = value
        return found

    def value(self, kind: str) -> object:
        if kind == "text":
            return self.text()
        if kind == "pair":
            return (self.text(), self.text())
        if kind == "binary":
            return self.binary()
        if kind == "varint":
            return self.varint()
        return self.number({"byte": 1, "two": 2, "four": 4}[kind])


def next_frame(data: bytes) -> tuple[int, int, bytes, int] | None:
    """Give kind, flags, body and size of the first packet in `data`; None while it is not whole."""
    length = 0
    for index in range(1, 5):
        if index >= len(data):
            return None
        length |= (data[index] & 0x7F) << 7 * (index - 1)
        if data[index] < 0x80:
            if index > 1 and not data[index]:
                raise Wrong("a Remaining Length is longer than it need be")
            end = index + 1 + length
            return (data[0] >> 4, data[0] & 15, data[index + 1 : end], end) if len(data) >= end else None
    raise Wrong("a Remaining Length has more than four bytes")


def decode(kind: int, flags: int, body: bytes, version: int) -> Packet:
    """Give the packet; everything in it is checked, and all of it must be used."""
    reader = Reader(body)
    if kind == PUBLISH:
        return _publish(flags, reader, version)
    if flags != (2 if kind == PUBREL else 0):
        raise Wrong(f"a packet of type {kind} has the reserved flags {flags}")  # [MQTT-2.1.3-1]
    packet = _other(kind, reader, version)
    if reader.left:
        raise Wrong(f"{reader.left} bytes too many in {packet}")
    return packet


def _publish(flags: int, reader: Reader, version: int) -> Publish:
    qos, dup = flags >> 1 & 3, bool(flags & 8)
    if qos == 3:
        raise Wrong("a PUBLISH has both QoS bits set")  # [MQTT-3.3.1-4]
    if dup and not qos:
        raise Wrong("a PUBLISH at QoS 0 has DUP set")  # [MQTT-3.3.1-2]
    topic = reader.text()
    packet_id = reader.number(2) if qos else 0
    if qos and not packet_id:
        raise Wrong("a PUBLISH has the packet identifier 0")  # [MQTT-2.2.1-4]
    properties = reader.properties() if version == V5 else {}
    return Publish(topic, reader.take(reader.left), qos, bool(flags & 1), dup, packet_id, properties)


def _other(kind: int, reader: Reader, version: int) -> Packet:
    if kind == CONNACK:
        present, code = reader.number(1), reader.number(1)
        if present > 1:
            raise Wrong("a CONNACK has reserved flags set")  # [MQTT-3.2.2-1]
        # A server that does not speak 5.0 answers in its own version's form.
        return Connack(code, bool(present), reader.properties() if version == V5 and reader.left else {})
    if kind in ACKS:
        made = ACKS[kind]
        packet_id = reader.number(2)
        if version != V5:
            return made(packet_id)
        return made(packet_id, *_code_and_rest(reader))
    if kind in (SUBACK, UNSUBACK):
        packet_id = reader.number(2)
        properties = reader.properties() if version == V5 else {}
        codes = tuple(reader.take(reader.left))
        return Suback(packet_id, codes, properties) if kind == SUBACK else Unsuback(packet_id, codes, properties)
    if kind == PINGRESP:
        return Pingresp()
    if kind == DISCONNECT and version == V5:
        return Disconnect(*_code_and_rest(reader))
    if kind == AUTH and version == V5:
        return Auth(*_code_and_rest(reader))
    raise Wrong(f"a server does not send packets of type {kind}")


ACKS: dict[int, type[Ack]] = {PUBACK: Puback, PUBREC: Pubrec, PUBREL: Pubrel, PUBCOMP: Pubcomp}


def _code_and_rest(reader: Reader) -> tuple[int, Properties]:
    code = reader.number(1) if reader.left else 0
    return code, reader.properties() if reader.left else {}
