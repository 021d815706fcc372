"""Deliveries into PUBLISH packets: what goes to many receivers is written once.

A message that came as a packet of MQTT, and goes out as it came, is not written at all: the packet that was read is
sent on. For all others the last packet of each version is kept; at QoS 1 and 2 it has its packet identifier left open.
"""

from __future__ import annotations

from typing import final

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.mapping import publish_properties
from lockgate.adapters.mqtt.packets import V5
from lockgate.adapters.mqtt.wire import PublishTemplate
from lockgate.model.message import Message


@final
class Written:
    """One message as it was written last, and for what."""

    __slots__ = ("data", "identifiers", "is_retained", "message", "qos", "template")

    def __init__(self) -> None:
        self.message: Message | None = None
        self.qos: int = 0
        self.is_retained: bool = False
        self.identifiers: tuple[int, ...] = ()
        self.data: bytes = b""
        self.template: PublishTemplate | None = None


@final
class Writing:
    """Writes the deliveries of all connections of a door."""

    __slots__ = ("_v5", "_v311")

    def __init__(self) -> None:
        self._v311 = Written()
        self._v5 = Written()

    def packet(
        self,
        message: Message,
        qos: int,
        is_retained: bool,
        identifiers: tuple[int, ...],
        tag: int,
        version: int,
        now: float,
    ) -> bytes:
        """Give the PUBLISH of a delivery that was not sent before. `now` in unix seconds, for messages that expire."""
        if qos == 0 and message.packet_kind == version and not is_retained and (version != V5 or not identifiers):
            return message.packet
        last = self._v5 if version == V5 else self._v311
        if (
            last.message is not message
            or last.qos != qos
            or last.is_retained != is_retained
            or (version == V5 and last.identifiers != identifiers)
            or message.expires_at is not None
        ):
            self._write(last, message, qos, is_retained, identifiers, version, now)
        template = last.template
        return last.data if template is None else template.packet(tag)

    def _write(
        self,
        last: Written,
        message: Message,
        qos: int,
        is_retained: bool,
        identifiers: tuple[int, ...],
        version: int,
        now: float,
    ) -> None:
        properties = publish_properties(message, identifiers, now)
        if qos:
            last.template = PublishTemplate(message.topic, message.payload, qos, is_retained, properties, version)
        else:
            last.template = None
            last.data = wire.encode_publish(
                message.topic, message.payload, 0, is_retained, False, 0, properties, version
            )
        last.message, last.qos, last.is_retained, last.identifiers = message, qos, is_retained, identifiers
