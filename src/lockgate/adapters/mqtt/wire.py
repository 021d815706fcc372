"""Bytes into MQTT packets and packets into bytes, for MQTT 3.1.1 and 5.0 and for both directions.

Source: MQTT 5.0 sections 2 and 3, MQTT 3.1.1 sections 2 and 3.

A packet is decided on as early as it can be: its type, flags and size from the fixed header, before the body is here.
PUBLISH and its acknowledgements are the hot part and live in this room with the fixed header; the packets that come
once per connection or subscription are read and written by `wire_session`.
"""

from __future__ import annotations

from typing import Final, final

from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    Auth,
    Connack,
    Connect,
    Disconnect,
    MqttError,
    Packet,
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
    Unsuback,
    Unsubscribe,
)
from lockgate.adapters.mqtt.wire_fields import (
    MAX_VARIABLE,
    Cursor,
    decode_text,
    encode_variable,
    malformed,
    protocol_error,
)
from lockgate.adapters.mqtt.wire_properties import decode_properties, encode_properties
from lockgate.adapters.mqtt.wire_session import (
    check_code,
    decode_auth,
    decode_connack,
    decode_connect,
    decode_disconnect,
    decode_suback,
    decode_subscribe,
    decode_unsuback,
    decode_unsubscribe,
    encode_auth,
    encode_connack,
    encode_connect,
    encode_disconnect,
    encode_suback,
    encode_subscribe,
    encode_unsuback,
    encode_unsubscribe,
)
from lockgate.errors import TopicNameInvalid
from lockgate.model.topic import TopicName, topic_name

MAX_KNOWN_TOPICS: Final = 65_536
MAX_KNOWN_TOPIC_BYTES: Final = 256

# Plain numbers, because an attribute of an enum costs a look-up in the hot functions.
_CONNECT: Final = 1
_CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
_SUBSCRIBE: Final = 8
_SUBACK: Final = 9
_UNSUBSCRIBE: Final = 10
_UNSUBACK: Final = 11
_PINGREQ: Final = 12
_PINGRESP: Final = 13
_DISCONNECT: Final = 14
_AUTH: Final = 15

_FREE: Final = 0xFF
_FLAGS: Final = b"\x10\x00\x00\xff\x00\x00\x02\x00\x02\x00\x02\x00\x00\x00\x00\x00"
"""The one legal value of the low four bits by packet type (table 2-2): _FREE where they mean something, else none."""

_BYTES: Final = [number.to_bytes(1, "big") for number in range(256)]  # `to_bytes` costs ten times such a look-up
_TWO: Final = b"\x02"

_known_topics: Final[dict[bytes, TopicName]] = {}


def packet_size(data: bytes, position: int, max_packet_bytes: int) -> int:
    """Give the size in bytes of the packet that begins at `position`, 0 while its fixed header is not all here.

    With it a driver gathers a large packet in pieces and joins them once.

    Raises:
        MqttError: as `decode`, for what the fixed header shows.
    """
    _, end = fixed_header(data, position, max_packet_bytes)
    return end - position if end else 0


def decode(
    data: bytes, position: int, version: int, max_packet_bytes: int, max_pairs: int = MAX_VARIABLE
) -> tuple[Packet, int] | None:
    """Give the packet that begins at `position` and the position behind it; None when more bytes are needed.

    Args:
        data: what has been received.
        position: where the packet begins.
        version: 4 or 5, what CONNECT agreed on; a CONNECT is read whatever it says.
        max_packet_bytes: the largest packet to take, its fixed header included.
        max_pairs: how many user properties a packet (or its will) may have; likewise subscription identifiers.

    Raises:
        MqttError: with the reason code that names what is wrong.
    """
    start, end = fixed_header(data, position, max_packet_bytes)
    if end == 0 or end > len(data):
        return None
    if data[position] >> 4 == PUBLISH:
        return decode_publish(data, position, start, end, version, max_pairs), end
    return decode_body(data, position, start, end, version, max_pairs), end


def decode_body(data: bytes, position: int, start: int, end: int, version: int, max_pairs: int) -> Packet:
    """Give the packet, no PUBLISH, that begins at `position` and has its body from `start` to `end`.

    Raises:
        MqttError: as `decode`.
    """
    kind = data[position] >> 4
    if PUBACK <= kind <= PUBCOMP:
        return _decode_ack(data, kind, start, end, version, max_pairs)
    return _decode_session_packet(data, kind, start, end, version, max_pairs)


def encode(packet: Packet, version: int) -> bytes:
    """Give the bytes of a packet. A CONNECT speaks the version that it names; what 3.1.1 does not know is left out."""
    if isinstance(packet, Publish):
        return encode_publish(
            packet.topic,
            packet.payload,
            packet.qos,
            packet.retain,
            packet.dup,
            packet.packet_id,
            packet.properties,
            version,
        )
    if isinstance(packet, Puback):
        return encode_ack(PUBACK, packet.packet_id, packet.code, packet.properties, version)
    if isinstance(packet, Pubrec):
        return encode_ack(PUBREC, packet.packet_id, packet.code, packet.properties, version)
    if isinstance(packet, Pubrel):
        return encode_ack(PUBREL, packet.packet_id, packet.code, packet.properties, version)
    if isinstance(packet, Pubcomp):
        return encode_ack(PUBCOMP, packet.packet_id, packet.code, packet.properties, version)
    return _encode_session_packet(packet, version)


def encode_publish(
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    dup: bool,
    packet_id: int,
    properties: Properties,
    version: int,
) -> bytes:
    """Give the bytes of a PUBLISH; at QoS 0, where `packet_id` is left out, they serve every subscriber."""
    if qos == 0:
        extra = encode_properties(properties, PUBLISH) if version == V5 else b""
        return _publish_head(topic, 0, retain, len(extra) + len(payload)) + extra + payload
    template = PublishTemplate(topic, payload, qos, retain, properties, version)
    return template.redelivery(packet_id) if dup else template.packet(packet_id)


@final
class PublishTemplate:
    """A PUBLISH at QoS 1 or 2, encoded once for many subscribers: only the packet identifier is open.

    Args:
        topic: the topic name.
        payload: the message itself.
        qos: 1 or 2.
        retain: the RETAIN flag.
        properties: left out in version 4.
        version: 4 or 5.
    """

    __slots__ = ("head", "tail")

    def __init__(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties, version: int
    ) -> None:
        extra = encode_properties(properties, PUBLISH) if version == V5 else b""
        self.tail: bytes = extra + payload if extra else payload
        self.head: bytes = _publish_head(topic, qos, retain, 2 + len(self.tail))

    def packet(self, packet_id: int) -> bytes:
        """Give the packet for one subscriber."""
        return self.head + (_BYTES[packet_id >> 8] + _BYTES[packet_id & 0xFF]) + self.tail

    def redelivery(self, packet_id: int) -> bytes:
        """Give the packet for a subscriber who may have had it before: with DUP set [MQTT-3.3.1-1]."""
        first = (self.head[0] | 0x08).to_bytes(1, "big")
        return first + self.head[1:] + packet_id.to_bytes(2, "big") + self.tail


def encode_ack(packet_type: int, packet_id: int, code: int, properties: Properties, version: int) -> bytes:
    """Give the bytes of a PUBACK, PUBREC, PUBREL or PUBCOMP, in the shortest of its three forms."""
    first = packet_type << 4 | 2 if packet_type == PUBREL else packet_type << 4  # [MQTT-3.6.1-1]
    if version != V5 or (code == 0 and properties is NO_PROPERTIES):
        return _BYTES[first] + _TWO + (_BYTES[packet_id >> 8] + _BYTES[packet_id & 0xFF])
    extra = encode_properties(properties, packet_type)
    if len(extra) == 1:  # below 4 bytes there is no property length (section 3.4.2.2.1)
        extra = b""
    head = first.to_bytes(1, "big") + encode_variable(3 + len(extra))
    return head + packet_id.to_bytes(2, "big") + code.to_bytes(1, "big") + extra


def fixed_header(data: bytes, position: int, max_packet_bytes: int) -> tuple[int, int]:
    """Give where the body of the packet at `position` begins and ends; (0, 0) while its header is not all here.

    Raises:
        MqttError: as `decode`, for what the fixed header shows.
    """
    size = len(data)
    if position >= size:
        return 0, 0
    first = data[position]
    flags = _FLAGS[first >> 4]
    if flags != _FREE and first & 0x0F != flags:  # [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]
        raise malformed(f"0x{first:02X} begins no packet: its type or flags are reserved")
    at = position + 1
    length = 0
    shift = 0
    while shift < 28:
        if at >= size:
            return 0, 0
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            end = at + length
            if end - position > max_packet_bytes:
                raise MqttError(
                    ReasonCode.PACKET_TOO_LARGE,
                    f"a packet of {end - position} bytes is above the limit of {max_packet_bytes}",
                )
            return at, end
        shift += 7
    raise malformed("the remaining length has more than four bytes")


def decode_publish(data: bytes, position: int, start: int, end: int, version: int, max_pairs: int) -> Publish:
    """Give the PUBLISH that begins at `position` and has its body from `start` to `end`.

    One of QoS 0 keeps its packet whole, and its payload in there: who gets it as it came is written the same bytes.

    Raises:
        MqttError: as `decode`.
    """
    first = data[position]
    at = start
    qos = first >> 1 & 3
    if qos == 3:  # [MQTT-3.3.1-4]
        raise malformed("a PUBLISH has both QoS bits set")
    dup = first & 0x08 != 0
    if dup and qos == 0:  # [MQTT-3.3.1-2]
        raise malformed("a PUBLISH at QoS 0 has the DUP flag set")
    if at + 2 > end:
        raise malformed("a PUBLISH ends before its topic name")
    topic_end = at + 2 + (data[at] << 8 | data[at + 1])
    if topic_end > end:
        raise malformed("a PUBLISH ends inside its topic name")
    raw = data[at + 2 : topic_end]  # [MQTT-3.3.2-1]
    at = topic_end
    packet_id = 0
    if qos:  # [MQTT-2.2.1-2]
        if at + 2 > end:
            raise malformed("a PUBLISH ends before its packet identifier")
        packet_id = data[at] << 8 | data[at + 1]
        if packet_id == 0:  # [MQTT-2.2.1-3]
            raise protocol_error("a packet identifier must not be 0")
        at += 2
    properties = NO_PROPERTIES
    if version == V5:
        if at < end and data[at] == 0:
            at += 1
        else:
            cursor = Cursor(data, at, end, max_pairs)
            properties = decode_properties(cursor, PUBLISH)
            at = cursor.at
    topic = _decode_topic(raw) if raw else _aliased_topic(properties)
    if qos == 0:
        packet = data[position:end]
        retain = first & 1 != 0
        kind = 0 if retain or properties is not NO_PROPERTIES else version
        return Publish(topic, None, 0, retain, False, 0, properties, packet, at - position, kind)
    return Publish(topic, data[at:end], qos, first & 1 != 0, dup, packet_id, properties)


def _aliased_topic(properties: Properties) -> TopicName:
    if properties.topic_alias is None:  # section 3.3.2.1; [MQTT-4.7.3-1]
        raise protocol_error("a PUBLISH without topic alias needs a topic name of at least one character")
    return TopicName("")


def _decode_topic(raw: bytes) -> TopicName:
    known = _known_topics.get(raw)
    return known if known is not None else _learn_topic(raw)


def _learn_topic(raw: bytes) -> TopicName:
    """Check a topic name and remember it; the memory is bounded and forgets everything when it is full."""
    try:
        topic = topic_name(decode_text(raw))
    except TopicNameInvalid as error:  # [MQTT-3.3.2-2]
        raise MqttError(ReasonCode.TOPIC_NAME_INVALID, str(error)) from error
    if len(raw) <= MAX_KNOWN_TOPIC_BYTES:
        if len(_known_topics) >= MAX_KNOWN_TOPICS:
            _known_topics.clear()
        _known_topics[raw] = topic
    return topic


def _decode_ack(data: bytes, kind: int, at: int, end: int, version: int, max_pairs: int) -> Packet:
    size = end - at
    if size < 2:
        raise malformed("an acknowledgement ends before its packet identifier")
    packet_id = data[at] << 8 | data[at + 1]
    if packet_id == 0:  # [MQTT-2.2.1-5]
        raise protocol_error("a packet identifier must not be 0")
    code = 0
    properties = NO_PROPERTIES
    if size > 2:
        if version != V5:
            raise malformed(f"an acknowledgement has {size} bytes instead of 2")
        code = data[at + 2]
        check_code(code, kind, version)
        if size > 3:
            cursor = Cursor(data, at + 3, end, max_pairs)
            properties = decode_properties(cursor, kind)
            cursor.finish()
    if kind == PUBACK:
        return Puback(packet_id, code, properties)
    if kind == PUBREC:
        return Pubrec(packet_id, code, properties)
    if kind == PUBREL:
        return Pubrel(packet_id, code, properties)
    return Pubcomp(packet_id, code, properties)


def _decode_session_packet(data: bytes, kind: int, at: int, end: int, version: int, max_pairs: int) -> Packet:
    cursor = Cursor(data, at, end, max_pairs)
    packet = _read_session_packet(cursor, kind, version)
    cursor.finish()
    return packet


def _read_session_packet(cursor: Cursor, kind: int, version: int) -> Packet:
    if kind == _PINGREQ:
        return Pingreq()
    if kind == _PINGRESP:
        return Pingresp()
    if kind == _CONNECT:
        return decode_connect(cursor)
    if kind == _CONNACK:
        return decode_connack(cursor, version)
    if kind == _SUBSCRIBE:
        return decode_subscribe(cursor, version)
    if kind == _SUBACK:
        return decode_suback(cursor, version)
    if kind == _UNSUBSCRIBE:
        return decode_unsubscribe(cursor, version)
    if kind == _UNSUBACK:
        return decode_unsuback(cursor, version)
    if kind == _DISCONNECT:
        return decode_disconnect(cursor, version)
    return decode_auth(cursor, version)


def _encode_session_packet(packet: Packet, version: int) -> bytes:
    if isinstance(packet, Pingreq):
        return b"\xc0\x00"
    if isinstance(packet, Pingresp):
        return b"\xd0\x00"
    if isinstance(packet, Connect):
        return _framed(_CONNECT << 4, encode_connect(packet))
    if isinstance(packet, Connack):
        return _framed(_CONNACK << 4, encode_connack(packet, version))
    if isinstance(packet, Subscribe):
        return _framed(_SUBSCRIBE << 4 | 2, encode_subscribe(packet, version))
    if isinstance(packet, Suback):
        return _framed(_SUBACK << 4, encode_suback(packet, version))
    if isinstance(packet, Unsubscribe):
        return _framed(_UNSUBSCRIBE << 4 | 2, encode_unsubscribe(packet, version))
    if isinstance(packet, Unsuback):
        return _framed(_UNSUBACK << 4, encode_unsuback(packet, version))
    if isinstance(packet, Disconnect):
        return _framed(_DISCONNECT << 4, encode_disconnect(packet, version))
    assert isinstance(packet, Auth), f"{packet!r} is no packet"
    return _framed(_AUTH << 4, encode_auth(packet))


def _framed(first: int, body: bytes) -> bytes:
    return first.to_bytes(1, "big") + encode_variable(len(body)) + body


@final
class _Head:
    """The head of a PUBLISH that was written last: the next one often has the same."""

    __slots__ = ("data", "first", "rest_bytes", "topic")

    def __init__(self) -> None:
        self.topic: str = ""
        self.first: int = 0
        self.rest_bytes: int = 0
        self.data: bytes = b""


_last_head: Final = _Head()


def _publish_head(topic: str, qos: int, retain: bool, rest_bytes: int) -> bytes:
    """Give a PUBLISH up to the end of its topic name; `rest_bytes` follow."""
    first = PUBLISH << 4 | qos << 1 | (1 if retain else 0)
    last = _last_head
    if last.topic is topic and last.first == first and last.rest_bytes == rest_bytes:
        return last.data
    name = topic.encode()
    head = _BYTES[first] + encode_variable(2 + len(name) + rest_bytes) + len(name).to_bytes(2, "big") + name
    if len(topic) <= MAX_KNOWN_TOPIC_BYTES:
        last.topic, last.first, last.rest_bytes, last.data = topic, first, rest_bytes, head
    return head
