"""Topic aliases: a number in place of a topic that both ends of one connection have seen before.

Each direction has its own, and they end with the connection [MQTT-3.3.2-7]. A client makes those of what it sends;
the hub makes those of what it delivers: the first topics that repeat get one and keep it, so that a topic is never
told twice and nothing has to be looked up in an order of use.

Source: MQTT 5.0 section 3.3.2.3.4.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lockgate.adapters.mqtt.packets import NO_PROPERTIES, MqttError, Properties, Publish, ReasonCode
from lockgate.model.topic import TopicName

MIN_TOPIC_CHARACTERS: Final = 8
"""An alias takes three bytes of properties: below this it is not worth its memory."""


class IncomingAliases:
    """The aliases that a client made.

    Args:
        maximum: the highest number granted to it in CONNACK; 0 grants none.
        max_characters: how long the topics may be together: they stay as long as the connection lasts.
    """

    def __init__(self, maximum: int, max_characters: int) -> None:
        self._maximum: int = maximum
        self._max_characters: int = max_characters
        self._topics: dict[int, TopicName] = {}
        self._characters: int = 0

    def resolve(self, publish: Publish) -> Publish:
        """Give a PUBLISH with its whole topic and without its alias, which is remembered.

        Raises:
            MqttError: TOPIC_ALIAS_INVALID above the maximum; PROTOCOL_ERROR for an alias that means nothing yet;
                QUOTA_EXCEEDED when the topics are too long together.
        """
        alias = publish.properties.topic_alias
        assert alias is not None
        if alias > self._maximum:  # [MQTT-3.3.2-9]
            raise MqttError(
                ReasonCode.TOPIC_ALIAS_INVALID, f"topic alias {alias} is above the Topic Alias Maximum {self._maximum}"
            )
        known = self._topics.get(alias)
        topic = publish.topic
        if topic:
            self._characters += len(topic) - (0 if known is None else len(known))
            if self._characters > self._max_characters:
                raise MqttError(
                    ReasonCode.QUOTA_EXCEEDED,
                    f"the topics with an alias have more than {self._max_characters} characters together",
                )
            self._topics[alias] = topic
        elif known is None:  # section 3.3.4
            raise MqttError(ReasonCode.PROTOCOL_ERROR, f"topic alias {alias} has no topic yet")
        else:
            topic = known
        properties = msgspec.structs.replace(publish.properties, topic_alias=None)
        if properties == NO_PROPERTIES:
            properties = NO_PROPERTIES
        return Publish(topic, publish.payload, publish.qos, publish.retain, publish.dup, publish.packet_id, properties)


class OutgoingAliases:
    """The aliases that the hub made for a client.

    Args:
        maximum: the highest number that it may use [MQTT-3.1.2-26].
        max_characters: as for `IncomingAliases`; what is beyond it gets no alias.
    """

    def __init__(self, maximum: int, max_characters: int) -> None:
        self._maximum: int = maximum
        self._max_characters: int = max_characters
        self._numbers: dict[str, int] = {}
        self._characters: int = 0

    def find(self, topic: str) -> int:
        """Give the number that stands for a topic, 0 if none does."""
        return self._numbers.get(topic, 0)

    def offer(self, topic: str) -> int:
        """Give the number that a topic could have from now on, 0 if none is left or it would not pay."""
        size = len(topic)
        if (
            len(self._numbers) >= self._maximum
            or size < MIN_TOPIC_CHARACTERS
            or self._characters + size > self._max_characters
        ):
            return 0
        return len(self._numbers) + 1

    def keep(self, topic: str, number: int) -> None:
        """Note that the client has been told what `number` stands for."""
        self._numbers[topic] = number
        self._characters += len(topic)


def with_alias(properties: Properties, alias: int) -> Properties:
    """Give the properties of a PUBLISH with an alias added."""
    return msgspec.structs.replace(properties, topic_alias=alias)
