"""Threat: a broken name so long that the sentence about it fits no packet: an unexpected error and a traceback."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt.packets import Disconnect, Properties, Publish, ReasonCode, Suback, SubscriptionRequest
from lockgate.model.topic import TopicName
from tests.support.playbook import Playbook

# Each of the characters takes four in the sentence that names it.
LONG = "\x01" * 60_000 + "+"


@pytest.mark.parametrize(
    "publish",
    [
        Publish(TopicName(LONG), b"x"),
        Publish(TopicName(LONG[:-1] + "#"), b"x"),
        Publish(TopicName("a" + "/" * 65_000), b"x"),
        Publish(TopicName("a"), b"x", properties=Properties(response_topic=LONG)),
    ],
)
def test_a_long_name_that_is_none_ends_the_connection_with_its_own_reason(publish: Publish) -> None:
    hub = Playbook()
    hub.client("sensor").sends(publish).gets(Disconnect(ReasonCode.TOPIC_NAME_INVALID)).is_closed()
    assert [refusal.reason for refusal in hub.refusals()] == ["topic name invalid"]


@pytest.mark.parametrize("text", [LONG + "/x", "#/" + LONG, "a" + "/" * 65_000])
def test_a_long_filter_that_is_none_is_refused_and_nothing_more(text: str) -> None:
    sensor = Playbook().client("sensor")
    sensor.subscribes(SubscriptionRequest(text)).gets(Suback(1, (ReasonCode.TOPIC_FILTER_INVALID,))).is_open()
