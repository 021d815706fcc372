"""MQTT packets laid open, field by field and bit by bit, for people who look at bytes.

`wire` says what a packet means and stops at the first mistake; this room says where in the bytes each thing stands,
goes on as far as the bytes can be read, and then lets `wire` judge. Passwords and authentication data are shown as
lengths.

Source: MQTT 5.0 sections 2 and 3, MQTT 3.1.1 sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, V311, MqttError, PacketType, ReasonCode
from lockgate.adapters.mqtt.wire_fields import MAX_VARIABLE, Cursor
from lockgate.adapters.mqtt.wire_properties import RULES, WILL, Kind

MAX_PACKET_BYTES = MAX_VARIABLE + 5
VERSIONS = {V311: "3.1.1", V5: "5.0"}
QOS_WORDS = ("at most once", "at least once", "exactly once", "not allowed")
RETAIN_HANDLINGS = ("send retained messages", "send them if the subscription is new", "send none", "not allowed")
RETURN_WORDS = (
    "accepted", "unacceptable protocol version", "identifier rejected", "server unavailable",
    "bad user name or password", "not authorized",
)  # fmt: skip
SUBACK_WORDS = {0: "granted QoS 0", 1: "granted QoS 1", 2: "granted QoS 2", 0x80: "failure"}


class Bits(msgspec.Struct, frozen=True):
    """Some bits of one byte: `pattern` has a digit for each of them and a dot for each other, the highest first."""

    pattern: str
    meaning: str


class Field(msgspec.Struct, frozen=True):
    """One field: where it stands in what was given, its bytes, its name and what it says."""

    offset: int
    data: bytes
    name: str
    meaning: str
    bits: tuple[Bits, ...] = ()


class Dissected(msgspec.Struct, frozen=True):
    """One packet laid open; `problem` says what `wire` finds wrong with it, "" when nothing is."""

    offset: int
    size: int
    name: str
    version: str
    fields: tuple[Field, ...]
    problem: str = ""


class Dissector:
    """Lays open one direction of a connection, in pieces as they come.

    Args:
        version: 4 (3.1.1) or 5, as long as no CONNECT says otherwise.
    """

    def __init__(self, version: int = V5) -> None:
        self.version = version
        self.is_lost = False
        self._rest = b""
        self._offset = 0

    @property
    def rest(self) -> int:
        """Give how many bytes wait for the rest of their packet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Dissected]:
        """Take bytes; give the packets that are whole. After a fixed header that cannot be read nothing more comes."""
        self._rest += data
        found: list[Dissected] = []
        position = 0
        while not self.is_lost:
            try:
                size = wire.packet_size(self._rest, position, MAX_PACKET_BYTES)
            except MqttError as error:
                self.is_lost = True
                rest = self._rest[position:]
                fields = (Field(self._offset, rest, "bytes", "not read: where the next packet begins is unknown"),)
                found.append(Dissected(self._offset, len(rest), "?", VERSIONS[self.version], fields, _said(error)))
                position = len(self._rest)
                break
            if size == 0 or position + size > len(self._rest):
                break
            found.append(self._dissect(self._rest[position : position + size]))
            position += size
            self._offset += size
        self._rest = self._rest[position:]
        return found

    def _dissect(self, data: bytes) -> Dissected:
        kind = data[0] >> 4
        walk = _Walk(data, self._offset, self.version)
        problem = ""
        try:
            walk.fixed_header()
            _BODIES[kind](walk)
            walk.leftover("bytes that belong to no field")
        except MqttError as error:
            walk.leftover("bytes that cannot be read")
            problem = _said(error)
        self.version = walk.version
        try:
            wire.decode(data, 0, self.version, MAX_PACKET_BYTES)
        except MqttError as error:
            problem = _said(error)
        name = PacketType(kind).name
        return Dissected(self._offset, len(data), name, VERSIONS[self.version], tuple(walk.fields), problem)


def dissect(data: bytes, version: int | None = None) -> list[Dissected]:
    """Lay open all packets in `data`.

    Args:
        data: packets, one behind the other; the last may be cut off.
        version: 4 or 5; None takes what a CONNECT says or, where none is, the version that finds fewer mistakes.
    """
    if version is not None:
        return _whole(data, version)
    as_5, as_311 = _whole(data, V5), _whole(data, V311)
    return as_311 if sum(bool(p.problem) for p in as_311) < sum(bool(p.problem) for p in as_5) else as_5


def _whole(data: bytes, version: int) -> list[Dissected]:
    dissector = Dissector(version)
    found = dissector.feed(data)
    if dissector.rest:
        offset = len(data) - dissector.rest
        fields = (Field(offset, data[offset:], "bytes", "the beginning of a packet"),)
        try:
            needed = wire.packet_size(data, offset, MAX_PACKET_BYTES)
        except MqttError:  # pragma: no cover - `feed` would have said so
            needed = 0
        of = f" of {needed}" if needed else ""
        problem = f"the packet is cut off: {dissector.rest}{of} bytes are here"
        found.append(Dissected(offset, dissector.rest, "?", VERSIONS[dissector.version], fields, problem))
    return found


def _said(error: MqttError) -> str:
    return f"{error} (0x{error.code:02X} {error.reason})"


class _Walk:
    """Steps through one packet and notes each field."""

    def __init__(self, data: bytes, offset: int, version: int) -> None:
        self.fields: list[Field] = []
        self.version = version
        self._cursor = Cursor(data, 0, len(data))
        self._noted = 0
        self._offset = offset

    @property
    def is_at_end(self) -> bool:
        return self._cursor.at >= self._cursor.end

    @property
    def first(self) -> int:
        return self._cursor.data[0]

    def note(self, start: int, name: str, meaning: str, *bits: Bits) -> None:
        data = self._cursor.data[start : self._cursor.at]
        self._noted = self._cursor.at
        self.fields.append(Field(self._offset + start, data, name, meaning, bits))

    def leftover(self, meaning: str) -> None:
        cursor = self._cursor
        start = self._noted  # and not where the cursor stopped: a length may have been read of what is not there
        if start < cursor.end:
            cursor.at = cursor.end
            self.note(start, "bytes", meaning)

    def fixed_header(self) -> None:
        cursor = self._cursor
        first = cursor.byte()
        kind = PacketType(first >> 4)
        self.note(0, "fixed header", kind.name, *_first_byte(first, kind))
        start = cursor.at
        length = cursor.variable()
        self.note(start, "remaining length", f"{length}{_sum(cursor.data[start : cursor.at])}")

    def byte(
        self, name: str, meaning: Callable[[int], str] = str, bits: Callable[[int], tuple[Bits, ...]] | None = None
    ) -> int:
        start = self._cursor.at
        value = self._cursor.byte()
        self.note(start, name, meaning(value), *(bits(value) if bits is not None else ()))
        return value

    def two_bytes(self, name: str, unit: str = "") -> int:
        start = self._cursor.at
        value = self._cursor.two_bytes()
        self.note(start, name, f"{value}{unit}")
        return value

    def text(self, name: str) -> None:
        start = self._cursor.at
        raw = self._cursor.binary()
        self.note(start, name, _text(raw))

    def binary(self, name: str, is_secret: bool = False) -> None:
        start = self._cursor.at
        raw = self._cursor.binary()
        self.note(start, name, f"{len(raw)} bytes" if is_secret else _payload(raw))

    def payload(self) -> None:
        cursor = self._cursor
        start = cursor.take(cursor.end - cursor.at)
        self.note(start, "payload", _payload(cursor.data[start : cursor.at]))

    def protocol(self) -> None:
        self.text("protocol name")
        level = self.byte("protocol level", lambda value: f"{value}: MQTT {VERSIONS.get(value, 'unknown')}")
        self.version = level if level in VERSIONS else self.version

    def properties(self, place: int) -> None:
        """Note the property length and each property; 3.1.1 has none."""
        if self.version != V5:
            return
        cursor = self._cursor
        start = cursor.at
        length = cursor.variable()
        self.note(start, "property length", f"{length}{_sum(cursor.data[start : cursor.at])}")
        end = cursor.take(length) + length
        cursor.at = end - length
        while cursor.at < end:
            self._property(place)

    def _property(self, place: int) -> None:
        cursor = self._cursor
        start = cursor.at
        identifier = cursor.variable()
        rule = _RULES.get(identifier)
        if rule is None:
            raise MqttError(ReasonCode.MALFORMED_PACKET, f"no property has the identifier {identifier}")
        name = rule.field.removesuffix("ies") + "y" if rule.field.endswith("ies") else rule.field
        name = name.removesuffix("s") if name == "subscription_identifiers" else name
        is_secret = rule.field == "authentication_data"
        meaning = f"{len(cursor.binary())} bytes" if is_secret else _READERS[rule.kind](cursor)
        stray = "" if place in rule.places else "; not allowed here"
        self.note(start, f"property {identifier}: {name.replace('_', ' ')}", meaning + stray)


_RULES = {rule.identifier: rule for rule in RULES}
_READERS: dict[int, Callable[[Cursor], str]] = {
    Kind.BYTE: lambda cursor: str(cursor.byte()),
    Kind.TWO_BYTES: lambda cursor: str(cursor.two_bytes()),
    Kind.FOUR_BYTES: lambda cursor: str(cursor.four_bytes()),
    Kind.VARIABLE: lambda cursor: str(cursor.variable()),
    Kind.TEXT: lambda cursor: _text(cursor.binary()),
    Kind.BINARY: lambda cursor: _payload(cursor.binary()),
    Kind.PAIR: lambda cursor: f"{_text(cursor.binary())} = {_text(cursor.binary())}",
}


def _connect(walk: _Walk) -> None:
    walk.protocol()
    flags = walk.byte(
        "connect flags", lambda value: f"0x{value:02X}", lambda value: _connect_flags(value, walk.version)
    )
    walk.two_bytes("keep alive", " s")
    walk.properties(PacketType.CONNECT)
    walk.text("client identifier")
    if flags & 0x04:
        walk.properties(WILL)
        walk.text("will topic")
        walk.binary("will payload")
    if flags & 0x80:
        walk.text("user name")
    if flags & 0x40:
        walk.binary("password", is_secret=True)


def _connack(walk: _Walk) -> None:
    walk.byte("acknowledge flags", lambda value: f"0x{value:02X}", _connack_flags)
    walk.byte("reason code" if walk.version == V5 else "return code", _code(walk.version, RETURN_WORDS))
    walk.properties(PacketType.CONNACK)


def _publish(walk: _Walk) -> None:
    walk.text("topic name")
    if walk.first & 0x06:
        walk.two_bytes("packet identifier")
    walk.properties(PacketType.PUBLISH)
    walk.payload()


def _acknowledgement(walk: _Walk) -> None:
    walk.two_bytes("packet identifier")
    _code_and_properties(walk)


def _subscribe(walk: _Walk) -> None:
    walk.two_bytes("packet identifier")
    walk.properties(PacketType.SUBSCRIBE)
    while not walk.is_at_end:
        walk.text("topic filter")
        walk.byte("subscription options", lambda value: f"0x{value:02X}", lambda value: _options(value, walk.version))


def _suback(walk: _Walk) -> None:
    walk.two_bytes("packet identifier")
    walk.properties(PacketType.SUBACK)
    while not walk.is_at_end:
        walk.byte("reason code" if walk.version == V5 else "return code", _suback_code)


def _unsubscribe(walk: _Walk) -> None:
    walk.two_bytes("packet identifier")
    walk.properties(PacketType.UNSUBSCRIBE)
    while not walk.is_at_end:
        walk.text("topic filter")


def _unsuback(walk: _Walk) -> None:
    walk.two_bytes("packet identifier")
    walk.properties(PacketType.UNSUBACK)
    while not walk.is_at_end:
        walk.byte("reason code", _code(V5))


def _code_and_properties(walk: _Walk) -> None:
    if not walk.is_at_end:
        walk.byte("reason code", _code(V5))
    if not walk.is_at_end:
        walk.properties(walk.first >> 4)


def _nothing(_walk: _Walk) -> None:
    """PINGREQ and PINGRESP have no body."""


_BODIES: dict[int, Callable[[_Walk], None]] = {
    PacketType.CONNECT: _connect,
    PacketType.CONNACK: _connack,
    PacketType.PUBLISH: _publish,
    PacketType.PUBACK: _acknowledgement,
    PacketType.PUBREC: _acknowledgement,
    PacketType.PUBREL: _acknowledgement,
    PacketType.PUBCOMP: _acknowledgement,
    PacketType.SUBSCRIBE: _subscribe,
    PacketType.SUBACK: _suback,
    PacketType.UNSUBSCRIBE: _unsubscribe,
    PacketType.UNSUBACK: _unsuback,
    PacketType.PINGREQ: _nothing,
    PacketType.PINGRESP: _nothing,
    PacketType.DISCONNECT: _code_and_properties,
    PacketType.AUTH: _code_and_properties,
}


def _bits(value: int, high: int, low: int, meaning: str) -> Bits:
    """Give bits `high` to `low` (7 to 0) of a byte with what they mean."""
    digits = "".join(str(value >> bit & 1) if low <= bit <= high else "." for bit in range(7, -1, -1))
    return Bits(f"{digits[:4]} {digits[4:]}", meaning)


def _first_byte(first: int, kind: PacketType) -> tuple[Bits, ...]:
    made = _bits(first, 7, 4, f"type {kind.value}: {kind.name}")
    if kind is not PacketType.PUBLISH:
        return made, _bits(first, 3, 0, "reserved")
    qos = first >> 1 & 3
    return (
        made,
        _bits(
            first,
            3,
            3,
            f"DUP {first >> 3 & 1}: {'it may have been sent before' if first & 8 else 'sent for the first time'}",
        ),
        _bits(first, 2, 1, f"QoS {qos}: {QOS_WORDS[qos]}"),
        _bits(first, 0, 0, f"RETAIN {first & 1}"),
    )


def _connect_flags(flags: int, version: int) -> tuple[Bits, ...]:
    qos = flags >> 3 & 3
    return (
        _bits(flags, 7, 7, f"user name: {_yes(flags & 0x80)}"),
        _bits(flags, 6, 6, f"password: {_yes(flags & 0x40)}"),
        _bits(flags, 5, 5, f"will RETAIN {flags >> 5 & 1}"),
        _bits(flags, 4, 3, f"will QoS {qos}: {QOS_WORDS[qos]}"),
        _bits(flags, 2, 2, f"will: {_yes(flags & 0x04)}"),
        _bits(flags, 1, 1, f"{'clean start' if version == V5 else 'clean session'}: {_yes(flags & 0x02)}"),
        _bits(flags, 0, 0, "reserved"),
    )


def _connack_flags(flags: int) -> tuple[Bits, ...]:
    return _bits(flags, 7, 1, "reserved"), _bits(flags, 0, 0, f"session present: {_yes(flags & 1)}")


def _options(options: int, version: int) -> tuple[Bits, ...]:
    qos = options & 3
    most = _bits(options, 1, 0, f"QoS {qos} at most: {QOS_WORDS[qos]}")
    if version != V5:
        return _bits(options, 7, 2, "reserved"), most
    handling = options >> 4 & 3
    return (
        _bits(options, 7, 6, "reserved"),
        _bits(options, 5, 4, f"retain handling {handling}: {RETAIN_HANDLINGS[handling]}"),
        _bits(options, 3, 3, f"retain as published: {_yes(options & 0x08)}"),
        _bits(options, 2, 2, f"no local: {_yes(options & 0x04)}"),
        most,
    )


def _code(version: int, return_words: tuple[str, ...] = ()) -> Callable[[int], str]:
    """Give a function that spells a reason code (5.0) or a return code (3.1.1)."""
    known = {code.value: code.name.lower().replace("_", " ") for code in ReasonCode}
    words = known if version == V5 else dict(enumerate(return_words))
    return lambda value: f"0x{value:02X} {words.get(value, 'unknown')}"


def _suback_code(value: int) -> str:
    return f"0x{value:02X} {SUBACK_WORDS[value]}" if value in SUBACK_WORDS else _code(V5)(value)


def _yes(bit: int) -> str:
    return "yes" if bit else "no"


def _sum(encoded: bytes) -> str:
    """Spell how a variable byte integer of more than one byte adds up (section 1.5.5)."""
    if len(encoded) < 2:
        return ""
    parts = [f"{byte & 0x7F} x {128**index}" if index else str(byte & 0x7F) for index, byte in enumerate(encoded)]
    return f" = {' + '.join(parts)}: seven bits a byte, the lowest first, the eighth says that more follow"


def _text(raw: bytes) -> str:
    return repr(raw.decode("utf-8", "backslashreplace"))


def _payload(raw: bytes) -> str:
    """Give bytes as text where they are text, else only how many."""
    count = f"{len(raw)} byte{'' if len(raw) == 1 else 's'}"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return count
    return f"{count}: {text!r}" if text and all(c.isprintable() or c in "\r\n\t" for c in text) else count
