"""The properties of MQTT 5.0's packets. Source: MQTT 5.0 section 2.2.2.2."""

from __future__ import annotations

import msgspec


class Properties(msgspec.Struct, frozen=True, gc=False):
    """Every property of MQTT 5.0 section 2.2.2.2, None (or empty) where it is absent."""

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifiers: tuple[int, ...] = ()
    session_expiry_interval: int | None = None
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_subscription_available: int | None = None
    subscription_identifier_available: int | None = None
    shared_subscription_available: int | None = None

    def __repr__(self) -> str:
        """Show what is there, and of a proof its length alone."""
        said = [
            f"{name}=<{len(value)} bytes>" if name == "authentication_data" else f"{name}={value!r}"
            for name in self.__struct_fields__
            if (value := getattr(self, name)) not in (None, ())
        ]
        return f"Properties({', '.join(said)})"
