"""The properties of MQTT 5.0: one table that says what each is and where it is legal, and the two ways through it.

Source: MQTT 5.0 section 2.2.2, table 2-4.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from lockgate.adapters.mqtt.packets import NO_PROPERTIES, MqttError, PacketType, Properties, ReasonCode
from lockgate.adapters.mqtt.wire_fields import (
    MAX_VARIABLE,
    Cursor,
    encode_binary,
    encode_text,
    encode_variable,
    malformed,
    protocol_error,
)
from lockgate.errors import TopicNameInvalid
from lockgate.model.topic import topic_name


class Kind(IntEnum):
    """The data type of a property's value."""

    BYTE = 1
    TWO_BYTES = 2
    FOUR_BYTES = 3
    VARIABLE = 4
    TEXT = 5
    BINARY = 6
    PAIR = 7


class Rule:
    """What the standard says of one property.

    Args:
        identifier: the number in front of the value.
        field: its name in `Properties`.
        kind: the data type of the value.
        places: the packet types where it is legal; `WILL` stands for the will properties of a CONNECT.
        low: the least legal value of a number.
        high: the greatest legal value of a number.
        code: the reason code for a number outside of them.
    """

    def __init__(
        self,
        identifier: int,
        field: str,
        kind: Kind,
        places: tuple[int, ...],
        low: int = 0,
        high: int = 0xFFFF_FFFF,
        code: ReasonCode = ReasonCode.PROTOCOL_ERROR,
    ) -> None:
        self.identifier: int = identifier
        self.field: str = field
        self.kind: int = int(kind)
        self.places: tuple[int, ...] = places
        self.low: int = low
        self.high: int = high
        self.code: ReasonCode = code


WILL: Final = 0

_CONNECT: Final = (int(PacketType.CONNECT),)
_CONNACK: Final = (int(PacketType.CONNACK),)
_CONNECTING: Final = (*_CONNECT, *_CONNACK)
_MESSAGE: Final = (WILL, int(PacketType.PUBLISH))
_AUTHENTICATING: Final = (*_CONNECTING, int(PacketType.AUTH))
_ANSWERS: Final = tuple(
    int(place)
    for place in (
        PacketType.CONNACK,
        PacketType.PUBACK,
        PacketType.PUBREC,
        PacketType.PUBREL,
        PacketType.PUBCOMP,
        PacketType.SUBACK,
        PacketType.UNSUBACK,
        PacketType.DISCONNECT,
        PacketType.AUTH,
    )
)
_EVERYWHERE: Final = (
    *_ANSWERS,
    *_CONNECT,
    *_MESSAGE,
    int(PacketType.SUBSCRIBE),
    int(PacketType.UNSUBSCRIBE),
)

# fmt: off
RULES: Final[tuple[Rule, ...]] = (
    Rule(1, "payload_format_indicator", Kind.BYTE, _MESSAGE, high=1),
    Rule(2, "message_expiry_interval", Kind.FOUR_BYTES, _MESSAGE),
    Rule(3, "content_type", Kind.TEXT, _MESSAGE),
    Rule(8, "response_topic", Kind.TEXT, _MESSAGE),
    Rule(9, "correlation_data", Kind.BINARY, _MESSAGE),
    Rule(11, "subscription_identifiers", Kind.VARIABLE, (PacketType.PUBLISH, PacketType.SUBSCRIBE),
         low=1, high=MAX_VARIABLE),
    Rule(17, "session_expiry_interval", Kind.FOUR_BYTES, (*_CONNECTING, PacketType.DISCONNECT)),
    Rule(18, "assigned_client_identifier", Kind.TEXT, _CONNACK),
    Rule(19, "server_keep_alive", Kind.TWO_BYTES, _CONNACK),
    Rule(21, "authentication_method", Kind.TEXT, _AUTHENTICATING),
    Rule(22, "authentication_data", Kind.BINARY, _AUTHENTICATING),
    Rule(23, "request_problem_information", Kind.BYTE, _CONNECT, high=1),
    Rule(24, "will_delay_interval", Kind.FOUR_BYTES, (WILL,)),
    Rule(25, "request_response_information", Kind.BYTE, _CONNECT, high=1),
    Rule(26, "response_information", Kind.TEXT, _CONNACK),
    Rule(28, "server_reference", Kind.TEXT, (*_CONNACK, PacketType.DISCONNECT)),
    Rule(31, "reason_string", Kind.TEXT, _ANSWERS),
    Rule(33, "receive_maximum", Kind.TWO_BYTES, _CONNECTING, low=1),
    Rule(34, "topic_alias_maximum", Kind.TWO_BYTES, _CONNECTING),
    Rule(35, "topic_alias", Kind.TWO_BYTES, (PacketType.PUBLISH,),
         low=1, code=ReasonCode.TOPIC_ALIAS_INVALID),  # [MQTT-3.3.2-8]
    Rule(36, "maximum_qos", Kind.BYTE, _CONNACK, high=1),
    Rule(37, "retain_available", Kind.BYTE, _CONNACK, high=1),
    Rule(38, "user_properties", Kind.PAIR, _EVERYWHERE),
    Rule(39, "maximum_packet_size", Kind.FOUR_BYTES, _CONNECTING, low=1),
    Rule(40, "wildcard_subscription_available", Kind.BYTE, _CONNACK, high=1),
    Rule(41, "subscription_identifier_available", Kind.BYTE, _CONNACK, high=1),
    Rule(42, "shared_subscription_available", Kind.BYTE, _CONNACK, high=1),
)
# fmt: on

_SUBSCRIBE: Final = 8
_SUBSCRIPTION_IDENTIFIER: Final = 11
_USER_PROPERTY: Final = 38
_TEXT: Final = 5
_BINARY: Final = 6

# By packet type: the rules that are legal there, by identifier (to read) and in order (to write).
_LEGAL: Final[tuple[dict[int, Rule], ...]] = tuple(
    {rule.identifier: rule for rule in RULES if place in rule.places} for place in range(16)
)
_IN_ORDER: Final[tuple[tuple[Rule, ...], ...]] = tuple(tuple(rules.values()) for rules in _LEGAL)


def decode_properties(cursor: Cursor, place: int) -> Properties:
    """Read the property length and the properties of a packet of type `place` (or `WILL`).

    Raises:
        MqttError: MALFORMED_PACKET when a property is unknown, not legal in this packet or cut off; PROTOCOL_ERROR
            or the property's own code when it is there twice or its value is out of range; QUOTA_EXCEEDED when there
            are more user properties than `cursor.max_pairs`.
    """
    length = cursor.variable()
    if length == 0:
        return NO_PROPERTIES
    packet_end = cursor.end
    cursor.end = cursor.take(length) + length
    cursor.at -= length
    rules = _LEGAL[place]
    values: dict[str, Any] = {}
    identifiers: list[int] = []
    users: list[tuple[str, str]] = []
    while cursor.at < cursor.end:
        identifier = cursor.variable()
        rule = rules.get(identifier)
        if rule is None:  # section 2.2.2.2: an identifier that is not valid for its packet type is malformed
            raise malformed(f"property {identifier} is not legal in {_name(place)}")
        if identifier == _USER_PROPERTY:
            users.append((cursor.text(), cursor.text()))  # [MQTT-1.5.7-1]; the order stays [MQTT-3.3.2-18]
        elif identifier == _SUBSCRIPTION_IDENTIFIER:
            identifiers.append(_number(cursor.variable(), rule))
        elif rule.field in values:
            raise protocol_error(f"the property {rule.field} is there twice")
        else:
            values[rule.field] = _value(cursor, rule)
        if len(users) > cursor.max_pairs or len(identifiers) > cursor.max_pairs:
            raise MqttError(
                ReasonCode.QUOTA_EXCEEDED, f"{_name(place)} has more than {cursor.max_pairs} user properties"
            )
    cursor.end = packet_end
    if identifiers:
        values["subscription_identifiers"] = tuple(identifiers)
    if users:
        values["user_properties"] = tuple(users)
    _check_together(values, identifiers, place)
    return Properties(**values)


def encode_properties(properties: Properties, place: int) -> bytes:
    """Give the property length and those properties that are legal in a packet of type `place` (or `WILL`)."""
    if properties is NO_PROPERTIES:
        return b"\x00"  # [MQTT-2.2.2-1]
    parts: list[bytes] = []
    for rule in _IN_ORDER[place]:
        value: Any = getattr(properties, rule.field)
        if value is None:
            continue
        tag = rule.identifier.to_bytes(1, "big")
        if rule.identifier == _USER_PROPERTY:
            for name, content in value:
                parts.append(tag + encode_text(name) + encode_text(content))
        elif rule.identifier == _SUBSCRIPTION_IDENTIFIER:
            for identifier in value:
                parts.append(tag + encode_variable(identifier))
        elif rule.kind == _TEXT:
            parts.append(tag + encode_text(value))
        elif rule.kind == _BINARY:
            parts.append(tag + encode_binary(value))
        else:
            parts.append(tag + value.to_bytes(_WIDTHS[rule.kind], "big"))
    encoded = b"".join(parts)
    return encode_variable(len(encoded)) + encoded


_WIDTHS: Final = (0, 1, 2, 4)
"""The bytes of a number by `Kind`."""


def _value(cursor: Cursor, rule: Rule) -> Any:
    if rule.kind == _TEXT:
        return _checked_text(cursor.text(), rule)
    if rule.kind == _BINARY:
        return cursor.binary()
    width = _WIDTHS[rule.kind]
    if width == 1:
        return _number(cursor.byte(), rule)
    if width == 2:
        return _number(cursor.two_bytes(), rule)
    return _number(cursor.four_bytes(), rule)


def _number(value: int, rule: Rule) -> int:
    if value < rule.low or value > rule.high:
        raise MqttError(rule.code, f"the property {rule.field} must not be {value}")
    return value


def _checked_text(text: str, rule: Rule) -> str:
    if rule.field == "response_topic":  # [MQTT-3.3.2-14]
        try:
            topic_name(text)
        except TopicNameInvalid as error:
            raise MqttError(ReasonCode.TOPIC_NAME_INVALID, f"the response topic cannot be used: {error}") from error
    return text


def _check_together(values: dict[str, Any], identifiers: list[int], place: int) -> None:
    if "authentication_data" in values and "authentication_method" not in values:  # section 3.1.2.11.10
        raise protocol_error("authentication data needs an authentication method")
    if len(identifiers) > 1 and place == _SUBSCRIBE:  # section 3.8.2.1.2
        raise protocol_error("a SUBSCRIBE has at most one subscription identifier")


def _name(place: int) -> str:
    return "the will" if place == WILL else f"a {PacketType(place).name}"
