"""SUBSCRIBE and UNSUBSCRIBE, from the packet to its answer: each topic filter is decided over by itself.

Source: MQTT 5.0 sections 3.8 to 3.11.
"""

from __future__ import annotations

from collections.abc import Callable

from lockgate.adapters.mqtt import mapping
from lockgate.adapters.mqtt.packets import (
    MqttError,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from lockgate.adapters.mqtt.protocol import MqttProtocol
from lockgate.errors import LockgateError
from lockgate.hub import Hub, Session
from lockgate.model.topic import topic_filter
from lockgate.settings import HubSettings

FILTERS_PER_PACKET = 1000
"""A packet may name so many, or as many as a session may hold: 1 MiB has room for 250,000."""

Noted = Callable[[LockgateError], str]
"""Notes a refusal; gives what to tell the client."""


class Subscribing:
    """How one door's clients come by their subscriptions.

    Args:
        hub: decides over each filter.
        settings: the bounds.
        wall_clock: gives unix seconds.
        replay_soon: has the retained messages delivered that were asked for.
    """

    def __init__(
        self, hub: Hub, settings: HubSettings, wall_clock: Callable[[], float], replay_soon: Callable[[], None]
    ) -> None:
        self._hub = hub
        self._wall_clock = wall_clock
        self._replay_soon = replay_soon
        self._max_filters: int = max(FILTERS_PER_PACKET, settings.max_subscriptions)

    def subscribe(self, session: Session, packet: Subscribe, protocol: MqttProtocol, noted: Noted) -> None:
        """Answer a SUBSCRIBE.

        Raises:
            MqttError: it names more topic filters than there is sense in.
        """
        self._check_count(len(packet.requests))
        identifiers = packet.properties.subscription_identifiers
        identifier = identifiers[0] if identifiers else 0

        def decide(request: SubscriptionRequest) -> tuple[int, int]:
            wanted = mapping.to_subscription(request, identifier)
            return self._hub.subscribe(session, wanted, self._wall_clock(), is_replayed_later=True)

        codes, properties, commit = mapping.decide_each(
            packet.requests, decide, lambda error: (mapping.suback_code(error, protocol.version), noted(error))
        )
        protocol.answer(Suback(packet.packet_id, codes, properties), commit)
        self._replay_soon()

    def unsubscribe(self, session: Session, packet: Unsubscribe, protocol: MqttProtocol, noted: Noted) -> None:
        """Answer an UNSUBSCRIBE.

        Raises:
            MqttError: it names more topic filters than there is sense in.
        """
        self._check_count(len(packet.filters))

        def decide(text: str) -> tuple[int, int]:
            was_there, commit = self._hub.unsubscribe(session, topic_filter(text))
            return (ReasonCode.SUCCESS if was_there else ReasonCode.NO_SUBSCRIPTION_EXISTED), commit

        codes, properties, commit = mapping.decide_each(
            packet.filters, decide, lambda error: (mapping.unsuback_code(error), noted(error))
        )
        protocol.answer(Unsuback(packet.packet_id, codes, properties), commit)

    def _check_count(self, filters: int) -> None:
        if filters > self._max_filters:
            text = f"a packet names {filters} topic filters; the most is {self._max_filters}"
            raise MqttError(ReasonCode.QUOTA_EXCEEDED, text)
