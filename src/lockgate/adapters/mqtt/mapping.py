"""MQTT's words to the house's and back: packets to messages, and our errors to reason codes.

Source: MQTT 5.0 section 2.4 (which code is legal in which packet); MQTT 3.1.1 sections 3.2.2.3 and 3.9.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    Connect,
    MqttError,
    PacketType,
    Properties,
    Publish,
    ReasonCode,
    SubscriptionRequest,
    WillPacket,
)
from lockgate.adapters.mqtt.wire_session import REASON_CODES
from lockgate.errors import (
    AuthenticationFailed,
    Conflict,
    LockgateError,
    NotAuthorized,
    NotFound,
    PayloadTooLarge,
    ProofExpired,
    QuotaExceeded,
    RateExceeded,
    SessionTakenOver,
    ShutOut,
    Step,
    TopicFilterInvalid,
    TopicNameInvalid,
    Unavailable,
)
from lockgate.model.message import Message, MessageProperties
from lockgate.model.principal import Principal
from lockgate.model.session import Delivery, Subscription, Will
from lockgate.model.topic import split_share, topic_name
from lockgate.policy import LAB_DEVICE
from lockgate.settings import MqttSettings

T = TypeVar("T")

MAX_REASONS = 10
"""So many refused topic filters of one packet are told of one by one."""
NEVER = 0xFFFF_FFFF
"""A session expiry interval that means: never."""


CODES: dict[type[LockgateError], ReasonCode] = {
    AuthenticationFailed: ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    NotAuthorized: ReasonCode.NOT_AUTHORIZED,
    ShutOut: ReasonCode.ADMINISTRATIVE_ACTION,
    ProofExpired: ReasonCode.MAXIMUM_CONNECT_TIME,
    TopicNameInvalid: ReasonCode.TOPIC_NAME_INVALID,
    TopicFilterInvalid: ReasonCode.TOPIC_FILTER_INVALID,
    PayloadTooLarge: ReasonCode.PACKET_TOO_LARGE,
    QuotaExceeded: ReasonCode.QUOTA_EXCEEDED,
    RateExceeded: ReasonCode.MESSAGE_RATE_TOO_HIGH,
    SessionTakenOver: ReasonCode.SESSION_TAKEN_OVER,
    NotFound: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    Conflict: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    Unavailable: ReasonCode.SERVER_UNAVAILABLE,
}
"""The house's table, MQTT 5.0's column; whatever is not in it is UNSPECIFIED_ERROR."""

_R = ReasonCode
NEAREST: dict[int, tuple[ReasonCode, ...]] = {
    _R.BAD_USER_NAME_OR_PASSWORD: (_R.NOT_AUTHORIZED,),
    # Both are words for the end of a connection; who asks to be let in gets those for a refusal.
    _R.ADMINISTRATIVE_ACTION: (_R.NOT_AUTHORIZED,),
    _R.MAXIMUM_CONNECT_TIME: (_R.BAD_USER_NAME_OR_PASSWORD, _R.NOT_AUTHORIZED),
    _R.SERVER_UNAVAILABLE: (_R.SERVER_BUSY, _R.IMPLEMENTATION_SPECIFIC_ERROR),
    _R.SESSION_TAKEN_OVER: (_R.IMPLEMENTATION_SPECIFIC_ERROR,),
    _R.TOPIC_FILTER_INVALID: (_R.TOPIC_NAME_INVALID, _R.UNSPECIFIED_ERROR),
    _R.TOPIC_NAME_INVALID: (_R.TOPIC_FILTER_INVALID, _R.UNSPECIFIED_ERROR),
    _R.PACKET_TOO_LARGE: (_R.QUOTA_EXCEEDED, _R.IMPLEMENTATION_SPECIFIC_ERROR),
    _R.MESSAGE_RATE_TOO_HIGH: (_R.QUOTA_EXCEEDED, _R.IMPLEMENTATION_SPECIFIC_ERROR),
    _R.QUOTA_EXCEEDED: (_R.IMPLEMENTATION_SPECIFIC_ERROR,),
}
"""What stands in for a code that the packet at hand does not know: the first that it does."""

SUBACK_FAILURE = 0x80
_UNHEARD: Final = 0x10  # NO_MATCHING_SUBSCRIBERS, as a plain number: each PUBACK asks
RETURN_CODES: tuple[tuple[type[LockgateError], int], ...] = (
    (AuthenticationFailed, 4),
    (RateExceeded, 3),
    (Unavailable, 3),
    (SessionTakenOver, 3),
    (QuotaExceeded, 3),
    (NotAuthorized, 5),
)
"""MQTT 3.1.1's CONNACK return codes; whatever is not in it is 5, not authorized."""


def reason_code(error: LockgateError, answer: PacketType) -> int:
    """Give the MQTT 5.0 reason code for an error in a packet: the table's, or the nearest that is legal there."""
    code = _code(error)
    legal = REASON_CODES[answer]
    if code in legal:
        return code
    for nearest in NEAREST.get(code, ()):
        if nearest in legal:
            return nearest
    return ReasonCode.UNSPECIFIED_ERROR


def connack_code(error: LockgateError, version: int) -> int:
    """Give the code that refuses a CONNECT: a reason code in 5.0, a return code in 3.1.1."""
    if version == V5:
        return reason_code(error, PacketType.CONNACK)
    for kind, code in RETURN_CODES:
        if isinstance(error, kind):
            return code
    return 5


def refusal(error: LockgateError, version: int, text: str, settings: MqttSettings) -> tuple[int, Properties]:
    """Give the code and the properties of a CONNACK that refuses; `text` says why.

    Where there is another hub (`mqtt.server_reference`), a 5.0 client that this one has no room for is sent there.
    """
    if version != V5:
        return connack_code(error, version), NO_PROPERTIES
    if settings.server_reference and isinstance(error, Unavailable | QuotaExceeded):
        return _elsewhere(text, settings)
    return connack_code(error, version), Properties(reason_string=text)


def goodbye(error: LockgateError, text: str, settings: MqttSettings) -> tuple[int, Properties]:
    """Give the code and the properties of the DISCONNECT with which the hub ends a connection."""
    if not isinstance(error, Unavailable):
        return reason_code(error, PacketType.DISCONNECT), Properties(reason_string=text)
    if settings.server_reference:
        return _elsewhere(text, settings)
    return ReasonCode.SERVER_SHUTTING_DOWN, Properties(reason_string=text)


def _elsewhere(text: str, settings: MqttSettings) -> tuple[int, Properties]:
    # Sections 4.11 and 3.14.2.2.5; "another server", for it is not known that this one is gone for good.
    return ReasonCode.USE_ANOTHER_SERVER, Properties(reason_string=text, server_reference=settings.server_reference)


def reasons(texts: dict[int, str], asked: int) -> Properties:
    """Give the one reason string of an answer to `asked` topic filters; `texts` says why some were refused."""
    if not texts:
        return NO_PROPERTIES
    if asked == 1:
        return Properties(reason_string=texts[0])
    told = [f"filter {number + 1}: {text}" for number, text in texts.items()]
    if told[MAX_REASONS:]:
        told = [*told[:MAX_REASONS], f"and {len(told) - MAX_REASONS} more"]
    return Properties(reason_string="; ".join(told))


def decide_each(
    wanted: Sequence[T], decide: Callable[[T], tuple[int, int]], refuse: Callable[[LockgateError], tuple[int, str]]
) -> tuple[tuple[int, ...], Properties, int]:
    """Give the codes of an answer to many topic filters, the reasons of those refused, and the commit it waits for.

    Args:
        wanted: what the packet asks for, one by one.
        decide: gives the code of one, and its commit.
        refuse: gives the code of one that `decide` refused, and why in words.
    """
    codes: list[int] = []
    texts: dict[int, str] = {}
    commit = 0
    for each in wanted:
        try:
            code, number = decide(each)
            commit = max(commit, number)
        except LockgateError as error:
            code, texts[len(codes)] = refuse(error)
        codes.append(code)
    return tuple(codes), reasons(texts, len(codes)), commit


def heard_code(heard_by: int, version: int) -> int:
    """Give the code that acknowledges a message which so many sessions hear."""
    return _UNHEARD if heard_by == 0 and version == V5 else 0


def suback_code(error: LockgateError, version: int) -> int:
    """Give the code that refuses one topic filter."""
    return reason_code(error, PacketType.SUBACK) if version == V5 else SUBACK_FAILURE


def _code(error: LockgateError) -> ReasonCode:
    if isinstance(error, MqttError):
        return error.code
    if isinstance(error, RateExceeded) and error.step is Step.CREDENTIAL:
        return ReasonCode.SERVER_BUSY  # before there is a connection, no message has a rate
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return ReasonCode.UNSPECIFIED_ERROR


def unsuback_code(error: LockgateError) -> int:
    """Give the code for one topic filter that cannot be dropped."""
    return reason_code(error, PacketType.UNSUBACK)


def check_payload(payload: bytes, properties: Properties) -> None:
    """Make sure that a payload is text where its sender says so (sections 3.1.3.2.3 and 3.3.2.3.2).

    Raises:
        MqttError: PAYLOAD_FORMAT_INVALID.
    """
    if properties.payload_format_indicator != 1:
        return
    try:
        payload.decode()
    except UnicodeDecodeError:
        text = f"a payload of {len(payload)} bytes is said to be text and is not well-formed UTF-8"
        raise MqttError(ReasonCode.PAYLOAD_FORMAT_INVALID, text) from None


def to_message(publish: Publish, principal: Principal, now: float) -> Message:
    """Give the message that a PUBLISH carries. `now` in unix seconds.

    Raises:
        MqttError: when its payload is not the text that it is said to be.
    """
    if publish.properties is NO_PROPERTIES:
        return Message(
            publish.topic, publish.content, publish.qos, publish.retain, None, None, principal.device, publish.packet,
            publish.payload_at, publish.packet_kind,
        )  # fmt: skip
    check_payload(publish.payload, publish.properties)
    return Message(
        publish.topic,
        publish.payload,
        publish.qos,
        publish.retain,
        _message_properties(publish.properties),
        _expires_at(publish.properties.message_expiry_interval, now),
        principal.device,
    )


def to_will(will: WillPacket, principal: Principal) -> Will:
    """Give the will of a CONNECT.

    Raises:
        TopicNameInvalid: when its topic is none.
        MqttError: when its payload is not the text that it is said to be.
    """
    check_payload(will.payload, will.properties)
    message = Message(
        topic_name(will.topic),
        will.payload,
        will.qos,
        will.retain,
        _message_properties(will.properties),
        None,
        principal.device,
    )
    expiry = will.properties.message_expiry_interval
    delay = float(will.properties.will_delay_interval or 0)
    return Will(message, delay, None if expiry is None else float(expiry))


def to_subscription(request: SubscriptionRequest, identifier: int) -> Subscription:
    """Give the subscription that a SUBSCRIBE asks for.

    Raises:
        TopicFilterInvalid: when its filter is none, or its share has no proper name.
    """
    share, wanted = split_share(request.filter)
    return Subscription(
        wanted,
        request.qos,
        request.no_local,
        request.retain_as_published,
        request.retain_handling,
        identifier,
        share,
    )


def session_expiry(connect: Connect, max_seconds: float) -> float:
    """Give how long the session of a CONNECT waits for its client, in seconds.

    3.1.1 has no number for it: a session that is not clean gets the most that the hub gives.
    """
    if connect.version != V5:
        return 0.0 if connect.clean_start else max_seconds
    return granted_expiry(connect.properties.session_expiry_interval or 0, max_seconds)


def granted_expiry(interval: int, max_seconds: float) -> float:
    """Give the granted part of a session expiry interval in seconds."""
    return max_seconds if interval == NEVER else min(float(interval), max_seconds)


def granted_keep_alive(connect: Connect, limit_seconds: int) -> int:
    """Give the granted keep-alive in seconds; only 5.0 can be told of a shorter one. A limit of 0 is none."""
    if connect.version == V5 and limit_seconds and not 0 < connect.keep_alive_seconds <= limit_seconds:
        return limit_seconds
    return connect.keep_alive_seconds


def connack_properties(
    connect: Connect, principal: Principal, expiry_seconds: float, keep_alive_seconds: int, settings: MqttSettings
) -> Properties:
    """Give what a CONNACK tells: the hub's limits, and what was granted otherwise than asked for (section 3.2.2.3).

    The response information is a topic that the client may use, by the rule built in for every device. A client of the
    lab port is not told the prefix that keeps its session apart.
    """
    if connect.version != V5:
        return NO_PROPERTIES
    asked = connect.properties.session_expiry_interval or 0
    granted = math.floor(expiry_seconds)
    wants_response = connect.properties.request_response_information == 1  # [MQTT-3.1.2-28]
    return Properties(
        session_expiry_interval=granted if granted != asked else None,
        receive_maximum=settings.receive_maximum,
        maximum_packet_size=settings.max_packet_bytes,
        topic_alias_maximum=settings.topic_alias_maximum or None,
        response_information=f"devices/{principal.device}/response" if wants_response else None,
        assigned_client_identifier=None if connect.client_id else principal.client_id.removeprefix(f"{LAB_DEVICE}/"),
        server_keep_alive=keep_alive_seconds if keep_alive_seconds != connect.keep_alive_seconds else None,
    )


def to_publish(delivery: Delivery, now: float) -> Publish:
    """Give the PUBLISH for a delivery. `now` in unix seconds: what is left of the message's expiry goes with it."""
    message = delivery.message
    return Publish(
        message.topic,
        message.payload,
        delivery.qos,
        delivery.is_retained,
        delivery.is_repeated,
        delivery.tag,
        publish_properties(message, delivery.identifiers, now),
    )


def _message_properties(properties: Properties) -> MessageProperties | None:
    if properties is NO_PROPERTIES:
        return None
    indicator = properties.payload_format_indicator
    return MessageProperties(
        payload_is_text=None if indicator is None else indicator == 1,
        content_type=properties.content_type,
        response_topic=properties.response_topic,
        correlation_data=properties.correlation_data,
        user_properties=properties.user_properties,
    )


def publish_properties(message: Message, identifiers: tuple[int, ...], now: float) -> Properties:
    """Give the properties of the PUBLISH by which a message goes out, for subscriptions with these identifiers."""
    said = message.properties
    if said is None and message.expires_at is None and not identifiers:
        return NO_PROPERTIES
    said = said or MessageProperties()
    left = None if message.expires_at is None else max(1, round(message.expires_at - now))  # [MQTT-3.3.2-6]
    return Properties(
        payload_format_indicator=None if said.payload_is_text is None else int(said.payload_is_text),  # [MQTT-3.3.2-4]
        message_expiry_interval=left,
        content_type=said.content_type,
        response_topic=said.response_topic,
        correlation_data=said.correlation_data,
        subscription_identifiers=identifiers,
        user_properties=said.user_properties,
    )


def _expires_at(interval: int | None, now: float) -> float | None:
    return None if interval is None else now + interval
