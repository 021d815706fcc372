"""PUBLISH and its acknowledgements: the packets that come by the million.

Source: MQTT 5.0 sections 3.3 to 3.7.
"""

from __future__ import annotations

from typing import Final, final

import msgspec
from mypy_extensions import mypyc_attr

from lockgate.adapters.mqtt.properties import Properties
from lockgate.model.topic import TopicName

NO_PROPERTIES: Final = Properties()


@final
@mypyc_attr(acyclic=True)
class Publish:
    """Section 3.3; it does not change. `packet_id` is 0 at QoS 0.

    The payload may lie in `packet`, the bytes that were read, from `payload_at` on. Those say the same to a receiver at
    QoS 0 who speaks version `packet_kind` (0: to nobody).
    """

    __slots__ = (
        "content", "dup", "packet", "packet_id", "packet_kind", "payload_at", "properties", "qos", "retain", "topic"
    )  # fmt: skip

    def __init__(
        self,
        topic: TopicName,
        payload: bytes | None,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        packet_id: int = 0,
        properties: Properties = NO_PROPERTIES,
        packet: bytes = b"",
        payload_at: int = 0,
        packet_kind: int = 0,
    ) -> None:
        self.content: bytes | None = payload
        self.topic: TopicName = topic
        self.qos: int = qos
        self.retain: bool = retain
        self.dup: bool = dup
        self.packet_id: int = packet_id
        self.properties: Properties = properties
        self.packet: bytes = packet
        self.payload_at: int = payload_at
        self.packet_kind: int = packet_kind

    @property
    def payload(self) -> bytes:
        """The message itself."""
        payload = self.content
        if payload is None:
            payload = self.content = self.packet[self.payload_at :]
        return payload

    def _key(self) -> tuple[object, ...]:
        return self.topic, self.payload, self.qos, self.retain, self.dup, self.packet_id, self.properties

    def __eq__(self, other: object) -> bool:
        """Compare what it says, by value."""
        return isinstance(other, Publish) and self._key() == other._key()

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash((self.topic, self.payload, self.packet_id))

    def __repr__(self) -> str:
        """Show what it says."""
        topic, payload, qos, retain, dup, packet_id, properties = self._key()
        return f"Publish({topic!r}, {payload!r}, {qos}, {retain}, {dup}, {packet_id}, {properties!r})"


@mypyc_attr(acyclic=True)
class Acknowledgement:
    """What PUBACK, PUBREC, PUBREL and PUBCOMP have in common; none of them changes."""

    __slots__ = ("code", "packet_id", "properties")

    def __init__(self, packet_id: int, code: int = 0, properties: Properties = NO_PROPERTIES) -> None:
        self.packet_id: int = packet_id
        self.code: int = code
        self.properties: Properties = properties

    def without_reason(self) -> Acknowledgement:
        """Give the same without its reason string."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        """Compare by kind and value."""
        return (
            isinstance(other, Acknowledgement)
            and type(other) is type(self)
            and self.packet_id == other.packet_id
            and self.code == other.code
            and self.properties == other.properties
        )

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash((self.packet_id, self.code))

    def __repr__(self) -> str:
        """Show everything."""
        return f"{type(self).__name__}({self.packet_id}, {self.code}, {self.properties!r})"


@final
@mypyc_attr(acyclic=True)
class Puback(Acknowledgement):
    """Section 3.4: settles a QoS 1 delivery."""

    __slots__ = ()

    def without_reason(self) -> Puback:
        """Give the same without its reason string."""
        return Puback(self.packet_id, self.code, msgspec.structs.replace(self.properties, reason_string=None))


@final
@mypyc_attr(acyclic=True)
class Pubrec(Acknowledgement):
    """Section 3.5: a QoS 2 message has been received."""

    __slots__ = ()

    def without_reason(self) -> Pubrec:
        """Give the same without its reason string."""
        return Pubrec(self.packet_id, self.code, msgspec.structs.replace(self.properties, reason_string=None))


@final
@mypyc_attr(acyclic=True)
class Pubrel(Acknowledgement):
    """Section 3.6: the sender releases a QoS 2 packet id."""

    __slots__ = ()

    def without_reason(self) -> Pubrel:
        """Give the same without its reason string."""
        return Pubrel(self.packet_id, self.code, msgspec.structs.replace(self.properties, reason_string=None))


@final
@mypyc_attr(acyclic=True)
class Pubcomp(Acknowledgement):
    """Section 3.7: settles a QoS 2 delivery."""

    __slots__ = ()

    def without_reason(self) -> Pubcomp:
        """Give the same without its reason string."""
        return Pubcomp(self.packet_id, self.code, msgspec.structs.replace(self.properties, reason_string=None))
