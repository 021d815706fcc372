"""MQTT control packets as records: what `wire` makes out of bytes and bytes out of.

Source: MQTT 5.0 sections 2 and 3, MQTT 3.1.1 sections 2 and 3. One record serves both versions; what a version
does not know stays at its default.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeAlias

import msgspec

from lockgate.adapters.mqtt.exchange import (
    NO_PROPERTIES,
    Acknowledgement,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from lockgate.adapters.mqtt.properties import Properties
from lockgate.errors import LockgateError, Step

__all__ = [
    "ANOTHER_CLIENT",
    "NO_PROPERTIES",
    "REMEDIES",
    "SHOWN_CHARACTERS",
    "V5",
    "V311",
    "Acknowledgement",
    "Auth",
    "Connack",
    "Connect",
    "Disconnect",
    "MqttError",
    "Packet",
    "PacketType",
    "Pingreq",
    "Pingresp",
    "Properties",
    "Puback",
    "Pubcomp",
    "Publish",
    "Pubrec",
    "Pubrel",
    "ReasonCode",
    "Suback",
    "Subscribe",
    "SubscriptionRequest",
    "Unsuback",
    "Unsubscribe",
    "WillPacket",
]

V311: Final = 4
V5: Final = 5


class PacketType(IntEnum):
    """The four high bits of the first byte (section 2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class ReasonCode(IntEnum):
    """MQTT 5.0 section 2.4. 0x00 is Success, Normal disconnection and Granted QoS 0 at once."""

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    REAUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


ANOTHER_CLIENT = "update or replace the client's MQTT library, or look for what changes bytes between client and hub"
REMEDIES: dict[ReasonCode, tuple[Step, str]] = {
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: (Step.PROTOCOL, "have the client speak MQTT 3.1.1 or 5.0"),
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: (Step.CLIENT_ID, "give the client a client id: the device's name"),
    ReasonCode.BAD_AUTHENTICATION_METHOD: (
        Step.CREDENTIAL, "have the client use a method that is offered, or none"
    ),
    ReasonCode.NOT_AUTHORIZED: (Step.CREDENTIAL, "have the client answer each challenge at once"),
    ReasonCode.SERVER_BUSY: (Step.LIMIT, "try again later"),
    ReasonCode.KEEP_ALIVE_TIMEOUT: (
        Step.LIMIT, "look at the client's network; else have it ping in time, or ask for a longer keep-alive"
    ),
    ReasonCode.TOPIC_NAME_INVALID: (Step.PROTOCOL, "use a topic name without + and #, not empty"),
    ReasonCode.TOPIC_FILTER_INVALID: (Step.PROTOCOL, "write # as the last level alone, and + as a whole level"),
    ReasonCode.RECEIVE_MAXIMUM_EXCEEDED: (
        Step.LIMIT, "have the client wait for its PUBACKs, or raise mqtt.receive_maximum"
    ),
    ReasonCode.TOPIC_ALIAS_INVALID: (
        Step.PROTOCOL, "have the client keep to the CONNACK's Topic Alias Maximum, or raise mqtt.topic_alias_maximum"
    ),
    ReasonCode.PACKET_TOO_LARGE: (
        Step.LIMIT, "send smaller packets, or raise mqtt.max_packet_bytes (for CONNECT: mqtt.max_connect_bytes)"
    ),
    ReasonCode.QUOTA_EXCEEDED: (Step.LIMIT, "ask for less at once"),
    ReasonCode.PAYLOAD_FORMAT_INVALID: (
        Step.PROTOCOL, "send UTF-8, or leave the payload format indicator out"
    ),
}  # fmt: skip
"""At which step a broken rule refuses, and what mends it; for all others it is the client's library."""


class MqttError(LockgateError):
    """The peer broke MQTT's own rules; `code` is the reason code that names how."""

    default_step = Step.PROTOCOL

    def __init__(self, code: ReasonCode, message: str, *, reason: str = "", fix: str = "") -> None:
        step, remedy = REMEDIES.get(code, (Step.PROTOCOL, ANOTHER_CLIENT))
        super().__init__(message, reason=reason or code.name.lower().replace("_", " "), fix=fix or remedy, step=step)
        self.code = code


class WillPacket(msgspec.Struct, frozen=True):
    """The will fields of a CONNECT (section 3.1.3.2 to 3.1.3.4)."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


SHOWN_CHARACTERS = 12


class Connect(msgspec.Struct, frozen=True):
    """Section 3.1. `version` is 4 (MQTT 3.1.1) or 5."""

    version: int
    client_id: str
    clean_start: bool = True
    keep_alive_seconds: int = 0
    user_name: str | None = None
    password: bytes | None = None
    will: WillPacket | None = None
    properties: Properties = NO_PROPERTIES

    def __repr__(self) -> str:
        """Show who and how, never the password."""
        user_name = self.user_name and self.user_name[:SHOWN_CHARACTERS]  # a password may be in the wrong field
        return f"Connect(version={self.version}, client_id={self.client_id!r}, user_name={user_name!r})"


class Connack(msgspec.Struct, frozen=True):
    """Section 3.2. `code` is a reason code in 5.0 and a return code (0 to 5) in 3.1.1."""

    code: int
    session_present: bool = False
    properties: Properties = NO_PROPERTIES


class SubscriptionRequest(msgspec.Struct, frozen=True):
    """One topic filter with its options byte (section 3.8.3.1)."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(msgspec.Struct, frozen=True):
    """Section 3.8."""

    packet_id: int
    requests: tuple[SubscriptionRequest, ...]
    properties: Properties = NO_PROPERTIES


class Suback(msgspec.Struct, frozen=True):
    """Section 3.9: one code per topic filter asked for."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


class Unsubscribe(msgspec.Struct, frozen=True):
    """Section 3.10."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


class Unsuback(msgspec.Struct, frozen=True):
    """Section 3.11: one code per topic filter (5.0); 3.1.1 has none."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


class Pingreq(msgspec.Struct, frozen=True):
    """Section 3.12."""


class Pingresp(msgspec.Struct, frozen=True):
    """Section 3.13."""


class Disconnect(msgspec.Struct, frozen=True):
    """Section 3.14."""

    code: int = 0
    properties: Properties = NO_PROPERTIES


class Auth(msgspec.Struct, frozen=True):
    """Section 3.15 (5.0 only)."""

    code: int = 0
    properties: Properties = NO_PROPERTIES


Packet: TypeAlias = (
    Connect | Connack | Publish | Puback | Pubrec | Pubrel | Pubcomp | Subscribe | Suback
    | Unsubscribe | Unsuback | Pingreq | Pingresp | Disconnect | Auth
)  # fmt: skip
