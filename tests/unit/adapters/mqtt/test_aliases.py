"""Topic aliases of both directions: what they stand for, and what bounds them."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt.aliases import IncomingAliases, OutgoingAliases, with_alias
from lockgate.adapters.mqtt.packets import NO_PROPERTIES, MqttError, Properties, Publish, ReasonCode
from lockgate.model.topic import TopicName

MOST = 1000


def aliased(topic: str, alias: int, content_type: str | None = None) -> Publish:
    return Publish(TopicName(topic), b"x", properties=Properties(topic_alias=alias, content_type=content_type))


def refused(aliases: IncomingAliases, publish: Publish) -> ReasonCode:
    with pytest.raises(MqttError) as caught:
        aliases.resolve(publish)
    return caught.value.code


def test_an_alias_stands_for_the_topic_that_came_with_it_last() -> None:
    aliases = IncomingAliases(2, MOST)
    for topic in ("a", "b"):
        assert aliases.resolve(aliased(topic, 1)).topic == topic
        assert aliases.resolve(aliased("", 1)) == Publish(TopicName(topic), b"x")


def test_what_is_left_of_the_properties_stays() -> None:
    aliases = IncomingAliases(2, MOST)
    assert aliases.resolve(aliased("a", 1)).properties is NO_PROPERTIES
    assert aliases.resolve(aliased("a", 1, "text")).properties == Properties(content_type="text")


def test_an_alias_above_the_maximum_or_without_a_topic_is_refused() -> None:
    assert refused(IncomingAliases(2, MOST), aliased("a", 3)) is ReasonCode.TOPIC_ALIAS_INVALID
    assert refused(IncomingAliases(2, MOST), aliased("", 2)) is ReasonCode.PROTOCOL_ERROR


def test_the_topics_of_a_connection_are_bounded_together() -> None:
    aliases = IncomingAliases(100, MOST)
    half = "x" * (MOST // 2)
    for alias in (1, 2, 2, 1):
        aliases.resolve(aliased(half, alias))
    assert refused(aliases, aliased("a", 3)) is ReasonCode.QUOTA_EXCEEDED


def test_the_first_topics_get_an_alias_and_keep_it() -> None:
    aliases = OutgoingAliases(2, MOST)
    for topic in ("topic/one", "topic/two"):
        assert aliases.find(topic) == 0
        aliases.keep(topic, aliases.offer(topic))
    assert (aliases.find("topic/one"), aliases.find("topic/two")) == (1, 2)
    assert aliases.offer("topic/three") == 0


def test_a_topic_too_short_to_gain_or_too_long_to_keep_gets_none() -> None:
    aliases = OutgoingAliases(2, MOST)
    assert aliases.offer("short") == 0
    assert aliases.offer("x" * MOST) == 1
    assert aliases.offer("x" * (MOST + 1)) == 0


def test_an_offer_that_is_not_taken_changes_nothing() -> None:
    aliases = OutgoingAliases(1, MOST)
    assert aliases.offer("topic/one") == aliases.offer("topic/two") == 1


def test_an_alias_is_added_to_the_other_properties() -> None:
    assert with_alias(Properties(content_type="x"), 3) == Properties(content_type="x", topic_alias=3)
