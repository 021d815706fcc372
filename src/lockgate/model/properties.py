"""What may be said about a message beside its payload, the same for every door."""

from __future__ import annotations

import msgspec


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
