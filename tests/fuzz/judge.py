"""A second opinion on bytes: which packets a client may send, and by which reason codes a wrong one may be refused.

Written from the standard's text alone and slow on purpose: it collects every mistake that it can see instead of the
first, so that what the hub finds first must be among them. It imports nothing of lockgate.

Source: MQTT 5.0 sections 1.5, 2, 3 and 4.13; MQTT 3.1.1 sections 1.5, 2 and 3.
"""

from __future__ import annotations

MALFORMED, PROTOCOL, VERSION, TOPIC, ALIAS, TOO_LARGE = 0x81, 0x82, 0x84, 0x90, 0x94, 0x95
QUOTA = 0x97
BYTE, TWO, FOUR, VARIABLE, TEXT, BINARY, PAIR = range(7)
WILL = 0
CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH = (
    1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15,
)  # fmt: skip
FROM_CLIENT = frozenset((1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15))
MAX_LEVELS = 32
MAX_USER_PROPERTIES = 64

# Identifier: type, where a client may use it, least, most, what a number outside is refused by.
PROPERTIES: dict[int, tuple[int, tuple[int, ...], int, int, int]] = {
    0x01: (BYTE, (WILL, PUBLISH), 0, 1, PROTOCOL),
    0x02: (FOUR, (WILL, PUBLISH), 0, 0xFFFFFFFF, PROTOCOL),
    0x03: (TEXT, (WILL, PUBLISH), 0, 0, 0),
    0x08: (TEXT, (WILL, PUBLISH), 0, 0, 0),
    0x09: (BINARY, (WILL, PUBLISH), 0, 0, 0),
    0x0B: (VARIABLE, (SUBSCRIBE, PUBLISH), 1, 268_435_455, PROTOCOL),
    0x11: (FOUR, (CONNECT, DISCONNECT), 0, 0xFFFFFFFF, PROTOCOL),
    0x15: (TEXT, (CONNECT, AUTH), 0, 0, 0),
    0x16: (BINARY, (CONNECT, AUTH), 0, 0, 0),
    0x17: (BYTE, (CONNECT,), 0, 1, PROTOCOL),
    0x18: (FOUR, (WILL,), 0, 0xFFFFFFFF, PROTOCOL),
    0x19: (BYTE, (CONNECT,), 0, 1, PROTOCOL),
    0x1C: (TEXT, (DISCONNECT,), 0, 0, 0),
    0x1F: (TEXT, (PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, AUTH), 0, 0, 0),
    0x21: (TWO, (CONNECT,), 1, 0xFFFF, PROTOCOL),
    0x22: (TWO, (CONNECT,), 0, 0xFFFF, PROTOCOL),
    0x23: (TWO, (PUBLISH,), 1, 0xFFFF, ALIAS),
    0x26: (PAIR, (WILL, *sorted(FROM_CLIENT - {PINGREQ})), 0, 0, 0),
    0x27: (FOUR, (CONNECT,), 1, 0xFFFFFFFF, PROTOCOL),
}
ACK_CODES = {
    PUBACK: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    PUBREC: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    PUBREL: {0x00, 0x92},
    PUBCOMP: {0x00, 0x92},
    AUTH: {0x00, 0x18, 0x19},
    DISCONNECT: {
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
        0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
    },
}  # fmt: skip


class Cut(Exception):
    """The packet ends inside a field: nothing behind it can be read."""


class Verdict:
    """What was found in one packet: `codes` is empty when nothing is wrong with it."""

    def __init__(self, kind: int, end: int, codes: set[int]) -> None:
        self.kind = kind
        self.end = end
        self.codes = codes


def judge(data: bytes, version: int, max_packet_bytes: int) -> Verdict | None:
    """Judge the packet at the beginning of `data`; None when more bytes are needed to say anything."""
    if not data:
        return None
    kind, flags = data[0] >> 4, data[0] & 15
    wanted = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}.get(kind, 0)
    if kind == 0 or (kind != PUBLISH and flags != wanted):
        return Verdict(kind, 0, {MALFORMED})
    length = 0
    for index in range(4):
        if 1 + index >= len(data):
            return None
        length |= (data[1 + index] & 0x7F) << 7 * index
        if data[1 + index] < 0x80:
            break
    else:
        return Verdict(kind, 0, {MALFORMED})
    begin = 2 + index
    if begin + length > max_packet_bytes:
        return Verdict(kind, 0, {TOO_LARGE})
    if begin + length > len(data):
        return None
    reader = _Reader(data[begin : begin + length], version)
    try:
        _BODIES.get(kind, _unknown)(reader, kind, flags)
        if reader.at < len(reader.data):
            reader.codes |= {MALFORMED, PROTOCOL}
    except Cut:
        reader.codes |= {MALFORMED}
    return Verdict(kind, begin + length, reader.codes)


class _Reader:
    def __init__(self, data: bytes, version: int) -> None:
        self.data = data
        self.version = version
        self.at = 0
        self.codes: set[int] = set()
        self.pairs = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Cut
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def variable(self) -> int:
        value = 0
        for index in range(4):
            byte = self.number(1)
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return value
        raise Cut

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str | None:
        raw = self.binary()
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            self.codes.add(MALFORMED)
            return None
        if "\0" in text:
            self.codes.add(MALFORMED)
            return None
        return text

    def topic(self, is_required: bool = True) -> str | None:
        text = self.text()
        if text is None:
            return None
        if (not text and is_required) or "+" in text or "#" in text or text.count("/") >= MAX_LEVELS:
            self.codes |= {TOPIC} if text else {TOPIC, PROTOCOL, MALFORMED}
        return text

    def packet_id(self) -> None:
        if self.number(2) == 0:
            self.codes |= {PROTOCOL, MALFORMED}

    def properties(self, place: int) -> set[int]:
        """Read properties; give their identifiers."""
        if self.version != 5:
            return set()
        inside = _Reader(self.take(self.variable()), 5)
        inside.codes = self.codes
        seen: set[int] = set()
        while inside.at < len(inside.data):
            self._property(inside, place, seen)
        if 0x16 in seen and 0x15 not in seen:
            self.codes.add(PROTOCOL)
        return seen

    def _property(self, inside: _Reader, place: int, seen: set[int]) -> None:
        identifier = inside.variable()
        kind, places, least, most, code = PROPERTIES.get(identifier, (None, (), 0, 0, 0))
        if kind is None or place not in places:
            self.codes |= {MALFORMED, PROTOCOL}
            raise Cut
        if identifier in seen and identifier != 0x26 and not (identifier == 0x0B and place == PUBLISH):
            self.codes.add(PROTOCOL)
        seen.add(identifier)
        if kind == TEXT:
            text = inside.text()
            if identifier == 0x08 and text is not None and not _is_topic(text):
                self.codes |= {PROTOCOL, TOPIC}
        elif kind == BINARY:
            inside.binary()
        elif kind == PAIR:
            inside.text()
            inside.text()
            inside.pairs += 1
            if inside.pairs > MAX_USER_PROPERTIES:
                self.codes |= {QUOTA, TOO_LARGE}
        else:
            value = inside.variable() if kind == VARIABLE else inside.number((1, 2, 4)[kind])
            if not least <= value <= most:
                self.codes.add(code)


def _is_topic(text: str) -> bool:
    return bool(text) and not set("+#") & set(text) and text.count("/") < MAX_LEVELS


def _connect(reader: _Reader, _kind: int, _flags: int) -> None:
    name, level = reader.binary(), reader.number(1)
    if name not in (b"MQTT", b"MQIsdp"):
        reader.codes |= {PROTOCOL, VERSION, MALFORMED}
        raise Cut
    if name != b"MQTT" or level not in (4, 5):
        reader.codes |= {VERSION}
        raise Cut
    version = reader.version = level
    flags = reader.number(1)
    if flags & 1:
        reader.codes |= {MALFORMED, PROTOCOL}
    if flags & 0x18 == 0x18 or (not flags & 4 and flags & 0x38):
        reader.codes |= {MALFORMED, PROTOCOL}
    if version == 4 and flags & 0x40 and not flags & 0x80:
        reader.codes |= {MALFORMED, PROTOCOL}
    reader.number(2)
    reader.properties(CONNECT)
    reader.text()
    if flags & 4:
        reader.properties(WILL)
        reader.topic()
        reader.binary()
    if flags & 0x80:
        reader.text()
    if flags & 0x40:
        reader.binary()


def _publish(reader: _Reader, _kind: int, flags: int) -> None:
    qos = flags >> 1 & 3
    if qos == 3 or (flags & 8 and not qos):
        reader.codes |= {MALFORMED, PROTOCOL}
    topic = reader.topic(is_required=False)
    if qos:
        reader.packet_id()
    seen = reader.properties(PUBLISH)
    if topic == "" and 0x23 not in seen:
        reader.codes |= {PROTOCOL, TOPIC, MALFORMED}
    reader.at = len(reader.data)


def _ack(reader: _Reader, kind: int, _flags: int) -> None:
    reader.packet_id()
    if reader.at < len(reader.data):
        if reader.version != 5:
            reader.codes |= {MALFORMED, PROTOCOL}
            raise Cut
        _code_and_properties(reader, kind, 0)


def _code_and_properties(reader: _Reader, kind: int, _flags: int) -> None:
    if reader.version != 5:
        if kind == AUTH:
            reader.codes |= {MALFORMED, PROTOCOL}
        return
    if reader.at == len(reader.data):
        return
    if reader.number(1) not in ACK_CODES[kind]:
        reader.codes |= {MALFORMED, PROTOCOL}
    if reader.at < len(reader.data):
        reader.properties(kind)
    elif kind == AUTH:
        reader.codes |= {MALFORMED, PROTOCOL}


def _subscribe(reader: _Reader, _kind: int, _flags: int) -> None:
    reader.packet_id()
    reader.properties(SUBSCRIBE)
    if reader.at == len(reader.data):
        reader.codes |= {PROTOCOL, MALFORMED}
    while reader.at < len(reader.data):
        text = reader.text()
        options = reader.number(1)
        if options & (0xC0 if reader.version == 5 else 0xFC):
            reader.codes |= {MALFORMED, PROTOCOL}
        if options & 3 == 3 or options & 0x30 == 0x30:
            reader.codes |= {PROTOCOL, MALFORMED}
        if reader.version == 5 and options & 4 and (text is None or text.startswith("$share/")):
            reader.codes |= {PROTOCOL}


def _unsubscribe(reader: _Reader, _kind: int, _flags: int) -> None:
    reader.packet_id()
    reader.properties(UNSUBSCRIBE)
    if reader.at == len(reader.data):
        reader.codes |= {PROTOCOL, MALFORMED}
    while reader.at < len(reader.data):
        reader.text()


def _nothing(_reader: _Reader, _kind: int, _flags: int) -> None:
    """Expect no body."""


def _unknown(reader: _Reader, _kind: int, _flags: int) -> None:
    """A packet that only a server sends: whatever is in it, it is refused."""
    reader.codes |= {PROTOCOL, MALFORMED}
    raise Cut


_BODIES = {
    CONNECT: _connect,
    PUBLISH: _publish,
    PUBACK: _ack,
    PUBREC: _ack,
    PUBREL: _ack,
    PUBCOMP: _ack,
    SUBSCRIBE: _subscribe,
    UNSUBSCRIBE: _unsubscribe,
    PINGREQ: _nothing,
    DISCONNECT: _code_and_properties,
    AUTH: _code_and_properties,
}
