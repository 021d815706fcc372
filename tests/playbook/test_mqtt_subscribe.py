"""Who hears what: SUBSCRIBE, UNSUBSCRIBE and retained messages (sections 3.3.1.3, 3.8 to 3.11, 4.7)."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt.packets import (
    V5,
    V311,
    Disconnect,
    Properties,
    Puback,
    Publish,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.topic import topic_name
from lockgate.settings import HubSettings, Settings
from tests.support.playbook import Client, Playbook

A = topic_name("a")


def retains(hub: Playbook, topic: str, payload: bytes = b"x", qos: int = 0) -> None:
    hub.client("keeper", V311).publishes(topic, payload, qos, retain=True)


def subscribed(client: Client, *codes: int) -> Suback:
    return Suback(1, codes)


# Codes


def test_each_filter_gets_its_own_code() -> None:
    rules = (
        Rule("everyone", Operation.RECEIVE, "a/#", qos=(0, 1)),
        Rule("everyone", Operation.RECEIVE, "a/secret", Effect.DENY),
    )
    hub = Playbook(Settings(hub=HubSettings(max_subscriptions=4)), rules)
    client = hub.client("office").subscribes(
        SubscriptionRequest("devices/office/x", 2),
        SubscriptionRequest("a/b", 2),
        SubscriptionRequest("a/secret"),
        SubscriptionRequest("#"),
        SubscriptionRequest("a/#/b"),
        SubscriptionRequest("$share/g/a/b"),
        SubscriptionRequest("$share/g/a/secret"),
        SubscriptionRequest("$share/+/a"),
        SubscriptionRequest("a/c", 0),
        SubscriptionRequest("a/one-too-many"),
    )
    client.gets(Suback(1, (2, 1, 0x87, 0x87, 0x8F, 0, 0x87, 0x8F, 0, 0x97)))
    assert sum(refusal.count for refusal in hub.refusals()) == 6
    (reason,) = client.reasons
    assert reason.startswith("filter 3: not authorized")
    assert "filter 10: too many subscriptions" in reason


def test_3_1_1_has_one_code_for_every_refusal() -> None:
    hub = Playbook(rules=())
    client = hub.client("office", V311).subscribes(
        SubscriptionRequest("devices/office/x", 2),
        SubscriptionRequest("other"),
        SubscriptionRequest("a/#/b"),
        SubscriptionRequest("$share/g/a"),
    )
    client.gets(Suback(1, (2, 0x80, 0x80, 0x80))).is_open()


def test_unsubscribe_says_what_was_there() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a")
    office.sends(Unsubscribe(2, ("a", "b"))).gets(Unsuback(2, (0, ReasonCode.NO_SUBSCRIPTION_EXISTED)))
    hub.client("sensor").publishes("a")
    office.gets_nothing()


def test_what_is_no_filter_cannot_be_unsubscribed() -> None:
    office = Playbook().subscriber("office", "a")
    office.sends(Unsubscribe(2, ("a/#/b", "a"))).gets(Unsuback(2, (ReasonCode.TOPIC_FILTER_INVALID, 0)))
    assert office.reasons[0].startswith("filter 1: ")


def test_more_filters_to_unsubscribe_than_there_is_sense_in_end_the_connection() -> None:
    office = Playbook().client("office").sends(Unsubscribe(2, ("a",) * 1001))
    office.gets(Disconnect(ReasonCode.QUOTA_EXCEEDED)).is_closed()


def test_unsubscribe_in_3_1_1_has_no_codes() -> None:
    hub = Playbook()
    hub.subscriber("office", "a", version=V311).sends(Unsubscribe(2, ("a", "b"))).gets(Unsuback(2))


def test_an_unsubscribe_of_a_kept_session_is_answered_when_it_is_stored() -> None:
    hub = Playbook()
    office = hub.client("office", properties=Properties(session_expiry_interval=60))
    office.subscribes(SubscriptionRequest("a")).gets(Suback(1, (0,)))
    hub.store.holds = True
    office.sends(Unsubscribe(2, ("a",))).gets_nothing()
    hub.commits()
    office.gets(Unsuback(2, (0,)))
    assert hub.store.subscriptions == {}


# Matching


@pytest.mark.parametrize(
    ("topic_filter", "topic", "is_heard"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("+", "/a", False),
        ("+/+", "/a", True),
        ("#", "$mine/x", False),
        ("+/x", "$mine/x", False),
        ("$mine/#", "$mine/x", True),
        ("A", "a", False),
    ],
)
def test_wildcards_take_in_what_the_standard_says(topic_filter: str, topic: str, is_heard: bool) -> None:
    rules = tuple(Rule("everyone", operation, tree) for operation in Operation for tree in ("#", "$mine/#"))
    hub = Playbook(rules=rules)
    office = hub.subscriber("office", topic_filter)
    hub.client("sensor").publishes(topic)
    assert len(office.packets()) == is_heard


def test_overlapping_subscriptions_make_one_delivery_at_the_highest_qos_with_all_identifiers() -> None:
    hub = Playbook()
    office = hub.client("office")
    office.subscribes(SubscriptionRequest("a/#", 1), identifier=5).gets(Suback(1, (1,)))
    office.subscribes(SubscriptionRequest("a/+", 2), identifier=268_435_455).gets(Suback(1, (2,)))
    office.subscribes(SubscriptionRequest("a/b", 0)).gets(Suback(1, (0,)))
    hub.client("sensor").publishes("a/b", qos=2)
    publish = office.takes(Publish)
    assert publish.qos == 2
    assert sorted(publish.properties.subscription_identifiers) == [5, 268_435_455]


def test_a_new_subscription_to_the_same_filter_replaces_the_old_one() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a", 2)
    office.subscribes(SubscriptionRequest("a", 0), identifier=9).gets(Suback(1, (0,)))
    hub.client("sensor").publishes("a", qos=2)
    office.gets_publish("a", properties=Properties(subscription_identifiers=(9,)))


def test_no_local_keeps_back_the_clients_own_messages_only() -> None:
    hub = Playbook()
    office = hub.client("office").subscribes(SubscriptionRequest("a", no_local=True)).gets(Suback(1, (0,)))
    office.publishes("a").gets_nothing()
    hub.client("sensor").publishes("a")
    office.gets_publish("a")
    office.subscribes(SubscriptionRequest("+")).gets(Suback(1, (0,)))
    office.publishes("a").gets_publish("a")


# Retained messages


def test_a_retained_message_waits_for_later_subscribers() -> None:
    hub = Playbook()
    retains(hub, "a", b"old", 1)
    retains(hub, "a", b"new", 1)
    for version, qos in ((V5, 0), (V311, 1)):
        client = hub.client(f"office/{version}", version).subscribes(SubscriptionRequest("#", qos))
        client.gets(Suback(1, (qos,)), Publish(A, b"new", qos, retain=True, packet_id=min(qos, 1)))


def test_an_empty_payload_clears_the_topic_and_still_reaches_present_subscribers() -> None:
    hub = Playbook()
    retains(hub, "a")
    office = hub.subscriber("office", "b")
    retains(hub, "b", b"")
    office.gets_publish("b", b"")
    retains(hub, "a", b"")
    hub.subscriber("late", "#").gets_nothing()
    assert hub.store.retained == {}


def test_a_message_goes_to_present_subscribers_without_the_retain_flag_unless_asked_for() -> None:
    hub = Playbook()
    plain = hub.subscriber("plain", "a")
    asking = hub.client("asking").subscribes(SubscriptionRequest("a", retain_as_published=True)).gets(Suback(1, (0,)))
    retains(hub, "a")
    plain.gets_publish("a")
    asking.gets_publish("a", retain=True)
    hub.client("sensor").publishes("a")
    asking.gets_publish("a")


@pytest.mark.parametrize(
    ("handling", "at_first", "again"), [(0, True, True), (1, True, False), (2, False, False)]
)  # [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
def test_retain_handling_says_when_retained_messages_are_sent(handling: int, at_first: bool, again: bool) -> None:
    hub = Playbook()
    retains(hub, "a")
    office = hub.client("office")
    for is_sent in (at_first, again):
        office.subscribes(SubscriptionRequest("a", retain_handling=handling))
        office.gets(Suback(1, (0,)), *([Publish(A, b"x", retain=True)] if is_sent else []))


def test_a_retained_message_carries_the_subscription_identifier() -> None:
    hub = Playbook()
    retains(hub, "a")
    office = hub.client("office").subscribes(SubscriptionRequest("a"), identifier=3)
    office.gets(Suback(1, (0,)), Publish(A, b"x", retain=True, properties=Properties(subscription_identifiers=(3,))))


def test_retained_messages_that_the_client_may_not_receive_stay_hidden() -> None:
    rules = (
        Rule("device:keeper", Operation.PUBLISH, "#"),
        Rule("everyone", Operation.RECEIVE, "a/#", qos=(0, 1)),
        Rule("everyone", Operation.RECEIVE, "a/secret", Effect.DENY),
    )
    hub = Playbook(rules=rules)
    retains(hub, "a/secret", qos=2)
    retains(hub, "a/open", qos=2)
    office = hub.client("office").subscribes(SubscriptionRequest("a/#", 2))
    office.gets(Suback(1, (1,)), Publish(topic_name("a/open"), b"x", 1, retain=True, packet_id=1))


def test_retained_messages_survive_a_restart() -> None:
    hub = Playbook()
    retains(hub, "a")
    hub.restarts().client("office").subscribes(SubscriptionRequest("a")).gets(
        Suback(1, (0,)), Publish(A, b"x", retain=True)
    )


def test_a_subscription_made_while_messages_flow_holds_from_its_suback_on() -> None:
    hub = Playbook()
    sensor = hub.client("sensor").publishes("a", b"before")
    office = hub.client("office")
    office.sends(
        Subscribe(1, (SubscriptionRequest("a", 1),)), Publish(A, b"own", 1, packet_id=2), Unsubscribe(3, ("a",))
    )
    office.gets(Suback(1, (1,)), Publish(A, b"own", 1, packet_id=1), Puback(2), Unsuback(3, (0,)))
    sensor.publishes("a", b"after")
    office.gets_nothing()


def test_a_topic_name_with_a_wildcard_ends_the_connection() -> None:
    client = Playbook().client("sensor").sends_bytes(b"\x30\x05\x00\x01#\x00x")
    client.gets(Disconnect(ReasonCode.TOPIC_NAME_INVALID)).is_closed()
