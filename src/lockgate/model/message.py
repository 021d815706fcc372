"""A message: what crosses the topic space, the same for every door."""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

from lockgate.model.properties import MessageProperties
from lockgate.model.topic import TopicName

__all__ = ["Message", "MessageProperties"]

SHARED_TOPIC_CHARACTERS: Final = 256
"""Texts of topics up to this length are shared by their messages."""
_PAIR_BYTES: Final = 64


@final
@mypyc_attr(acyclic=True)
class Message:
    """One application message; it does not change.

    `qos` is 0, 1 or 2 (at most, at least, exactly once); `expires_at` is in unix seconds, None for never;
    `publisher` is the name of the device that sent it ("" for the hub itself). `size` is about how many bytes it holds:
    its payload, and what a publisher may put elsewhere in its stead.

    A door may leave the payload in the `packet` that it read, where it begins at `payload_at`, and know by
    `packet_kind`, a number of its own, for whom it can write the same bytes again. No other room looks at these.
    """

    __slots__ = (
        "content", "expires_at", "packet", "packet_kind", "payload_at", "properties", "publisher", "qos",
        "retain", "size", "topic",
    )  # fmt: skip

    def __init__(
        self,
        topic: TopicName,
        payload: bytes | None,
        qos: int = 0,
        retain: bool = False,
        properties: MessageProperties | None = None,
        expires_at: float | None = None,
        publisher: str = "",
        packet: bytes = b"",
        payload_at: int = 0,
        packet_kind: int = 0,
    ) -> None:
        self.content: bytes | None = payload  # None while it still lies in the packet
        self.topic: TopicName = topic
        self.qos: int = qos
        self.retain: bool = retain
        self.properties: MessageProperties | None = properties
        self.expires_at: float | None = expires_at
        self.publisher: str = publisher
        self.packet: bytes = packet
        self.payload_at: int = payload_at
        self.packet_kind: int = packet_kind
        size = len(packet) - payload_at if payload is None else len(payload)
        if properties is not None:
            size += _size_of_properties(properties)
        if len(topic) > SHARED_TOPIC_CHARACTERS:
            size += len(topic)
        self.size: int = size

    @property
    def payload(self) -> bytes:
        """The message itself."""
        payload = self.content
        if payload is None:
            payload = self.content = self.packet[self.payload_at :]
        return payload

    @property
    def payload_bytes(self) -> int:
        """How long the payload is; it is not cut out of its packet for that."""
        payload = self.content
        return len(self.packet) - self.payload_at if payload is None else len(payload)

    def until(self, expires_at: float | None) -> Message:
        """Give the same message with another end."""
        return Message(
            self.topic, self.content, self.qos, self.retain, self.properties, expires_at, self.publisher, self.packet,
            self.payload_at, self.packet_kind,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        """Compare what it says, by value."""
        return (
            isinstance(other, Message)
            and self.topic == other.topic
            and self.payload == other.payload
            and self.qos == other.qos
            and self.retain == other.retain
            and self.properties == other.properties
            and self.expires_at == other.expires_at
            and self.publisher == other.publisher
        )

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash((self.topic, self.payload, self.qos, self.retain))

    def __repr__(self) -> str:
        """Show what it says."""
        return (
            f"Message({self.topic!r}, {self.payload!r}, qos={self.qos}, retain={self.retain},"
            f" properties={self.properties!r}, expires_at={self.expires_at!r}, publisher={self.publisher!r})"
        )


def _size_of_properties(properties: MessageProperties) -> int:
    """Give about how many bytes a publisher put elsewhere than in the payload."""
    size = len(properties.content_type or "") + len(properties.response_topic or "")
    size += len(properties.correlation_data or b"")
    return size + sum(_PAIR_BYTES + len(name) + len(text) for name, text in properties.user_properties)
