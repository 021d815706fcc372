"""A message: what crosses the topic space, the same for every door."""

from __future__ import annotations

import msgspec

from lockgate.model.topic import TopicName


class MessageProperties(msgspec.Struct, frozen=True, gc=False):
    """What a publisher may say about a payload beside the payload itself.

    None is: nothing was said. Source: MQTT 5.0 section 3.3.2.3; CoAP's Content-Format and AMQP's properties map onto
    the same words.
    """

    payload_is_text: bool | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


class Message(msgspec.Struct, frozen=True, gc=False):
    """One application message.

    `qos` is 0, 1 or 2 (at most, at least, exactly once); `expires_at` is in unix seconds, None for never;
    `publisher` is the name of the device that sent it ("" for the hub itself).
    """

    topic: TopicName
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: MessageProperties | None = None
    expires_at: float | None = None
    publisher: str = ""


SHARED_TOPIC_CHARACTERS = 256
"""Texts of topics up to this length are shared by their messages."""
_PAIR_BYTES = 64


def size_of(message: Message) -> int:
    """Give about how many bytes a message holds: its payload, and what a publisher may put elsewhere in its stead."""
    size = len(message.payload)
    if len(message.topic) > SHARED_TOPIC_CHARACTERS:
        size += len(message.topic)
    properties = message.properties
    if properties is not None:
        size += len(properties.content_type or "") + len(properties.response_topic or "")
        size += len(properties.correlation_data or b"")
        size += sum(_PAIR_BYTES + len(name) + len(text) for name, text in properties.user_properties)
    return size
