"""The packets that come once per connection or subscription: their bodies out of bytes and back.

Source: MQTT 5.0 sections 3.1, 3.2 and 3.8 to 3.15; MQTT 3.1.1 likewise. `wire` adds and removes the fixed header and
makes sure that nothing follows the last field.
"""

from __future__ import annotations

from typing import Final

from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    V311,
    Auth,
    Connack,
    Connect,
    Disconnect,
    MqttError,
    PacketType,
    Properties,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    WillPacket,
)
from lockgate.adapters.mqtt.wire_fields import Cursor, encode_binary, encode_text, malformed, protocol_error
from lockgate.adapters.mqtt.wire_properties import WILL, decode_properties, encode_properties
from lockgate.errors import TopicNameInvalid
from lockgate.model.topic import topic_name

# fmt: off
REASON_CODES: Final[dict[int, frozenset[int]]] = {
    PacketType.CONNACK: frozenset((
        0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A,
        0x9B, 0x9C, 0x9D, 0x9F)),  # [MQTT-3.2.2-8]
    PacketType.PUBACK: frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)),  # [MQTT-3.4.2-1]
    PacketType.PUBREC: frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)),  # [MQTT-3.5.2-1]
    PacketType.PUBREL: frozenset((0x00, 0x92)),  # [MQTT-3.6.2-1]
    PacketType.PUBCOMP: frozenset((0x00, 0x92)),  # [MQTT-3.7.2-1]
    PacketType.SUBACK: frozenset((
        0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2)),  # [MQTT-3.9.3-2]
    PacketType.UNSUBACK: frozenset((0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91)),  # [MQTT-3.11.3-2]
    PacketType.DISCONNECT: frozenset((
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
        0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2)),  # [MQTT-3.14.2-1]
    PacketType.AUTH: frozenset((0x00, 0x18, 0x19)),  # [MQTT-3.15.2-1]
}
"""The reason codes that MQTT 5.0 allows in each packet, whoever sends it."""

RETURN_CODES: Final[dict[int, frozenset[int]]] = {
    PacketType.CONNACK: frozenset((0, 1, 2, 3, 4, 5)),
    PacketType.SUBACK: frozenset((0x00, 0x01, 0x02, 0x80)),
}
"""The return codes of MQTT 3.1.1 (its sections 3.2.2.3 and 3.9.3)."""
# fmt: on

_CONNECT: Final = 1
_CONNACK: Final = 2
_SUBSCRIBE: Final = 8
_SUBACK: Final = 9
_UNSUBSCRIBE: Final = 10
_UNSUBACK: Final = 11
_DISCONNECT: Final = 14
_AUTH: Final = 15

# The connect flags (section 3.1.2.3).
_RESERVED: Final = 0x01
_CLEAN_START: Final = 0x02
_WILL: Final = 0x04
_WILL_RETAIN: Final = 0x20
_PASSWORD: Final = 0x40
_USER_NAME: Final = 0x80

# The subscription options (section 3.8.3.1).
_NO_LOCAL: Final = 0x04
_RETAIN_AS_PUBLISHED: Final = 0x08


def check_code(code: int, kind: int, version: int) -> int:
    """Give back `code` if a packet of this type may carry it.

    Raises:
        MqttError: PROTOCOL_ERROR when it may not.
    """
    legal = REASON_CODES if version == V5 else RETURN_CODES
    if code not in legal[kind]:
        raise protocol_error(f"0x{code:02X} is no code of a {PacketType(kind).name}")
    return code


def decode_connect(cursor: Cursor) -> Connect:
    """Read the body of a CONNECT (section 3.1)."""
    version = _protocol_version(cursor)
    flags = cursor.byte()
    _check_connect_flags(flags, version)
    keep_alive_seconds = cursor.two_bytes()
    properties = _properties(cursor, _CONNECT, version)
    client_id = cursor.text()  # [MQTT-3.1.3-1] the order of the fields, [MQTT-3.1.3-3], [MQTT-3.1.3-4]
    will = _decode_will(cursor, flags, version) if flags & _WILL else None  # [MQTT-3.1.2-9]
    user_name = cursor.text() if flags & _USER_NAME else None  # [MQTT-3.1.2-16], [MQTT-3.1.2-17], [MQTT-3.1.3-12]
    password = cursor.binary() if flags & _PASSWORD else None  # [MQTT-3.1.2-18], [MQTT-3.1.2-19]
    clean_start = flags & _CLEAN_START != 0
    return Connect(version, client_id, clean_start, keep_alive_seconds, user_name, password, will, properties)


def encode_connect(packet: Connect) -> bytes:
    """Give the body of a CONNECT in the version that it names."""
    version = packet.version
    flags = _CLEAN_START if packet.clean_start else 0
    payload = encode_text(packet.client_id)
    will = packet.will
    if will is not None:
        flags |= _WILL | will.qos << 3 | (_WILL_RETAIN if will.retain else 0)
        payload += _written(will.properties, WILL, version) + encode_text(will.topic) + encode_binary(will.payload)
    if packet.user_name is not None:
        flags |= _USER_NAME
        payload += encode_text(packet.user_name)
    if packet.password is not None:
        flags |= _PASSWORD
        payload += encode_binary(packet.password)
    head = encode_text("MQTT") + version.to_bytes(1, "big") + flags.to_bytes(1, "big")
    keep_alive = packet.keep_alive_seconds.to_bytes(2, "big")
    return head + keep_alive + _written(packet.properties, _CONNECT, version) + payload


def decode_connack(cursor: Cursor, version: int) -> Connack:
    """Read the body of a CONNACK (section 3.2)."""
    flags = cursor.byte()
    if flags > 1:  # [MQTT-3.2.2-1]
        raise malformed("a CONNACK has a reserved flag set")
    code = check_code(cursor.byte(), _CONNACK, version)
    if flags and code:  # [MQTT-3.2.2-6]
        raise protocol_error("a CONNACK that refuses says that a session is present")
    return Connack(code, flags == 1, _properties(cursor, _CONNACK, version))


def encode_connack(packet: Connack, version: int) -> bytes:
    """Give the body of a CONNACK."""
    flags = b"\x01" if packet.session_present else b"\x00"
    return flags + packet.code.to_bytes(1, "big") + _written(packet.properties, _CONNACK, version)


def decode_subscribe(cursor: Cursor, version: int) -> Subscribe:
    """Read the body of a SUBSCRIBE (section 3.8)."""
    packet_id = cursor.packet_id()
    properties = _properties(cursor, _SUBSCRIBE, version)
    requests: list[SubscriptionRequest] = []
    while cursor.at < cursor.end:
        requests.append(_decode_request(cursor, version))
    if not requests:  # [MQTT-3.8.3-2]
        raise protocol_error("a SUBSCRIBE needs at least one topic filter")
    return Subscribe(packet_id, tuple(requests), properties)


def encode_subscribe(packet: Subscribe, version: int) -> bytes:
    """Give the body of a SUBSCRIBE; 3.1.1 has no other option than the QoS."""
    parts = [packet.packet_id.to_bytes(2, "big"), _written(packet.properties, _SUBSCRIBE, version)]
    for request in packet.requests:
        options = request.qos
        if version == V5:
            options |= request.retain_handling << 4
            options |= _NO_LOCAL if request.no_local else 0
            options |= _RETAIN_AS_PUBLISHED if request.retain_as_published else 0
        parts.append(encode_text(request.filter) + options.to_bytes(1, "big"))
    return b"".join(parts)


def decode_suback(cursor: Cursor, version: int) -> Suback:
    """Read the body of a SUBACK (section 3.9)."""
    packet_id = cursor.packet_id()
    properties = _properties(cursor, _SUBACK, version)
    return Suback(packet_id, _codes(cursor, _SUBACK, version), properties)


def encode_suback(packet: Suback, version: int) -> bytes:
    """Give the body of a SUBACK."""
    return packet.packet_id.to_bytes(2, "big") + _written(packet.properties, _SUBACK, version) + bytes(packet.codes)


def decode_unsubscribe(cursor: Cursor, version: int) -> Unsubscribe:
    """Read the body of an UNSUBSCRIBE (section 3.10)."""
    packet_id = cursor.packet_id()
    properties = _properties(cursor, _UNSUBSCRIBE, version)
    filters: list[str] = []
    while cursor.at < cursor.end:
        filters.append(cursor.text())  # [MQTT-3.10.3-1]
    if not filters:  # [MQTT-3.10.3-2]
        raise protocol_error("an UNSUBSCRIBE needs at least one topic filter")
    return Unsubscribe(packet_id, tuple(filters), properties)


def encode_unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    """Give the body of an UNSUBSCRIBE."""
    parts = [packet.packet_id.to_bytes(2, "big"), _written(packet.properties, _UNSUBSCRIBE, version)]
    for topic_filter in packet.filters:
        parts.append(encode_text(topic_filter))
    return b"".join(parts)


def decode_unsuback(cursor: Cursor, version: int) -> Unsuback:
    """Read the body of an UNSUBACK (section 3.11); in 3.1.1 it has no codes."""
    packet_id = cursor.packet_id()
    if version != V5:
        return Unsuback(packet_id)
    properties = decode_properties(cursor, _UNSUBACK)
    return Unsuback(packet_id, _codes(cursor, _UNSUBACK, version), properties)


def encode_unsuback(packet: Unsuback, version: int) -> bytes:
    """Give the body of an UNSUBACK."""
    packet_id = packet.packet_id.to_bytes(2, "big")
    if version != V5:
        return packet_id
    return packet_id + encode_properties(packet.properties, _UNSUBACK) + bytes(packet.codes)


def decode_disconnect(cursor: Cursor, version: int) -> Disconnect:
    """Read the body of a DISCONNECT (section 3.14); code and properties may be left out, in 3.1.1 they must be."""
    if version != V5 or cursor.at == cursor.end:
        return Disconnect()
    code = check_code(cursor.byte(), _DISCONNECT, version)
    if cursor.at == cursor.end:
        return Disconnect(code)
    return Disconnect(code, decode_properties(cursor, _DISCONNECT))


def encode_disconnect(packet: Disconnect, version: int) -> bytes:
    """Give the body of a DISCONNECT in its shortest form."""
    if version != V5:
        return b""
    return _code_and_properties(packet.code, encode_properties(packet.properties, _DISCONNECT))


def decode_auth(cursor: Cursor, version: int) -> Auth:
    """Read the body of an AUTH (section 3.15)."""
    if version != V5:
        raise malformed("MQTT 3.1.1 has no packet of type 15")
    if cursor.at == cursor.end:
        return Auth()
    code = check_code(cursor.byte(), _AUTH, version)
    return Auth(code, decode_properties(cursor, _AUTH))


def encode_auth(packet: Auth) -> bytes:
    """Give the body of an AUTH; only success without properties may leave them out (section 3.15.2.1)."""
    if packet.code == 0 and packet.properties == NO_PROPERTIES:
        return b""
    return packet.code.to_bytes(1, "big") + encode_properties(packet.properties, _AUTH)


def _protocol_version(cursor: Cursor) -> int:
    name = cursor.binary()
    level = cursor.byte()
    if name == b"MQTT" and level in (V311, V5):
        return level
    if name in (b"MQTT", b"MQIsdp"):  # [MQTT-3.1.2-2]
        raise MqttError(
            ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
            f"protocol {name.decode()} level {level} is not spoken here; MQTT levels {V311} and {V5} are",
        )
    raise protocol_error("the protocol name of a CONNECT must be MQTT")  # [MQTT-3.1.2-1]


def _check_connect_flags(flags: int, version: int) -> None:
    if flags & _RESERVED:  # [MQTT-3.1.2-3]
        raise malformed("a CONNECT has its reserved flag set")
    qos = flags >> 3 & 3
    if qos == 3:  # [MQTT-3.1.2-12]
        raise malformed("a will has both QoS bits set")
    if not flags & _WILL and (qos or flags & _WILL_RETAIN):  # [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        raise malformed("a CONNECT without will has a QoS or a RETAIN flag for one")
    if version == V311 and flags & _PASSWORD and not flags & _USER_NAME:  # MQTT 3.1.1 [MQTT-3.1.2-22]
        raise malformed("an MQTT 3.1.1 CONNECT has a password and no user name")


def _decode_will(cursor: Cursor, flags: int, version: int) -> WillPacket:
    properties = _properties(cursor, WILL, version)
    topic = cursor.text()  # [MQTT-3.1.3-11]
    try:
        topic_name(topic)
    except TopicNameInvalid as error:
        raise MqttError(ReasonCode.TOPIC_NAME_INVALID, f"the will's topic cannot be used: {error}") from error
    return WillPacket(topic, cursor.binary(), flags >> 3 & 3, flags & _WILL_RETAIN != 0, properties)


def _decode_request(cursor: Cursor, version: int) -> SubscriptionRequest:
    topic_filter = cursor.text()  # [MQTT-3.8.3-1]
    options = cursor.byte()
    if options & (0xC0 if version == V5 else 0xFC):  # [MQTT-3.8.3-5]
        raise malformed("a subscription has a reserved option set")
    if options & 3 == 3:  # section 3.8.3.1
        raise protocol_error("a subscription asks for QoS 3")
    retain_handling = options >> 4
    if retain_handling == 3:
        raise protocol_error("a subscription asks for retain handling 3")
    no_local = options & _NO_LOCAL != 0
    if no_local and topic_filter.startswith("$share/"):  # [MQTT-3.8.3-4]
        raise protocol_error("a shared subscription must not ask for no local")
    retain_as_published = options & _RETAIN_AS_PUBLISHED != 0
    return SubscriptionRequest(topic_filter, options & 3, no_local, retain_as_published, retain_handling)


def _codes(cursor: Cursor, kind: int, version: int) -> tuple[int, ...]:
    codes: list[int] = []
    while cursor.at < cursor.end:
        codes.append(check_code(cursor.byte(), kind, version))
    if not codes:
        raise protocol_error(f"a {PacketType(kind).name} needs at least one code")
    return tuple(codes)


def _code_and_properties(code: int, properties: bytes) -> bytes:
    if len(properties) > 1:
        return code.to_bytes(1, "big") + properties
    return code.to_bytes(1, "big") if code else b""


def _properties(cursor: Cursor, place: int, version: int) -> Properties:
    return decode_properties(cursor, place) if version == V5 else NO_PROPERTIES


def _written(properties: Properties, place: int, version: int) -> bytes:
    return encode_properties(properties, place) if version == V5 else b""
