"""How messages cross: QoS 0, 1 and 2 both ways, refusals, limits, expiry (sections 3.3 to 3.7, 4.3, 4.4)."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt.packets import (
    V5,
    V311,
    Connack,
    Connect,
    Disconnect,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    ReasonCode,
    Suback,
    SubscriptionRequest,
)
from lockgate.adapters.mqtt.sender import DELIVERIES_PER_WRITE
from lockgate.model.permission import Operation, Rule
from lockgate.model.topic import TopicName, topic_name
from lockgate.settings import HubSettings, MqttSettings, Settings
from tests.support.playbook import Playbook

A = topic_name("a")
KEPT = Properties(session_expiry_interval=3600)


def test_qos_0_is_sent_and_forgotten() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a")
    hub.client("sensor").publishes("a").gets_nothing()
    office.gets_publish("a")


def test_qos_1_is_settled_by_puback() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a", 1)
    hub.client("sensor").publishes("a", qos=1, packet_id=7).gets(Puback(7))
    office.gets_publish("a", qos=1).sends(Puback(1)).gets_nothing()
    assert office.handler.session is not None
    assert not office.handler.session.unsettled


def test_qos_2_crosses_exactly_once() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a", 2)
    sensor = hub.client("sensor").publishes("a", qos=2, packet_id=7).gets(Pubrec(7))
    office.gets_publish("a", qos=2)
    sensor.publishes("a", qos=2, packet_id=7, dup=True).gets(Pubrec(7))
    office.gets_nothing()
    sensor.sends(Pubrel(7)).gets(Pubcomp(7))
    office.sends(Pubrec(1)).gets(Pubrel(1)).sends(Pubcomp(1)).gets_nothing()
    sensor.publishes("a", b"next", qos=2, packet_id=7).gets(Pubrec(7))
    office.gets_publish("a", b"next", qos=2, packet_id=2)


def test_qos_2_repeated_in_the_same_breath_crosses_once() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a")
    message = Publish(A, b"x", 2, packet_id=7)
    hub.client("sensor").sends(message, message).gets(Pubrec(7))
    office.gets_publish("a")


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_delivery_has_the_lower_qos_of_publisher_and_subscriber(published: int, granted: int) -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a", granted)
    hub.client("sensor").publishes("a", qos=published)
    office.gets_publish("a", qos=min(published, granted))


def test_versions_hear_each_other() -> None:
    hub = Playbook()
    old, new = hub.subscriber("old", "a", 1, V311), hub.subscriber("new", "a", 1)
    words = Properties(content_type="text/plain", user_properties=(("k", "v"),), correlation_data=b"7")
    hub.client("sensor").publishes("a", properties=words)
    old.gets_publish("a")
    new.gets_publish("a", properties=words)
    hub.client("sensor/old", V311).publishes("a", qos=1).gets(Puback(1))
    old.gets_publish("a", qos=1)
    new.gets_publish("a", qos=1)


def test_a_publisher_of_5_0_learns_that_nobody_heard() -> None:
    hub = Playbook()
    sensor = hub.client("sensor").publishes("a", qos=1).gets(Puback(1, ReasonCode.NO_MATCHING_SUBSCRIBERS))
    sensor.publishes("a", qos=2).gets(Pubrec(1, ReasonCode.NO_MATCHING_SUBSCRIBERS))
    hub.client("old", V311).publishes("a", qos=1).gets(Puback(1))


def test_order_is_kept_at_each_qos() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a", 1)
    sensor = hub.client("sensor")
    sensor.sends(*(Publish(A, bytes([n]), 1, packet_id=n) for n in range(1, 6)))
    sensor.gets(*(Puback(n) for n in range(1, 6)))
    office.gets(*(Publish(A, bytes([n]), 1, packet_id=n) for n in range(1, 6)))


def test_a_settled_delivery_makes_room_for_the_next() -> None:
    hub = Playbook()
    office = hub.client("office", properties=Properties(receive_maximum=2))
    office.subscribes(SubscriptionRequest("a", 1)).gets(Suback(1, (1,)))
    sensor = hub.client("sensor")
    for number in range(1, 6):
        sensor.publishes("a", bytes([number]), 1)
    office.gets(Publish(A, b"\1", 1, packet_id=1), Publish(A, b"\2", 1, packet_id=2))
    office.sends(Puback(1)).gets(Publish(A, b"\3", 1, packet_id=3))
    office.sends(Puback(2), Puback(3)).gets(Publish(A, b"\4", 1, packet_id=4), Publish(A, b"\5", 1, packet_id=5))


def test_a_pubrec_that_refuses_settles_the_delivery() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a", 2)
    hub.client("sensor").publishes("a", qos=2)
    office.gets_publish("a", qos=2).sends(Pubrec(1, ReasonCode.QUOTA_EXCEEDED)).gets_nothing()
    office.sends(Pubrec(1)).gets(Pubrel(1, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))


def test_answers_to_packet_ids_that_are_not_in_use() -> None:
    hub = Playbook()
    new, old = hub.client("new"), hub.client("old", V311)
    new.sends(Puback(9), Pubcomp(9)).gets_nothing()
    new.sends(Pubrec(9)).gets(Pubrel(9, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
    new.sends(Pubrel(9)).gets(Pubcomp(9, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
    old.sends(Pubrec(9)).gets(Pubrel(9))
    old.sends(Pubrel(9)).gets(Pubcomp(9))


# Refusals


def test_5_0_at_qos_1_and_2_is_refused_by_code_and_goes_on() -> None:
    hub = Playbook(rules=())
    sensor = hub.client("sensor").publishes("devices/other/x", qos=1).gets(Puback(1, ReasonCode.NOT_AUTHORIZED))
    (refusal,) = hub.refusals()
    assert sensor.reasons == [f"not authorized: no rule allows it (reference {refusal.reference})"]
    allow = "lockgate policy allow --device sensor --publish=devices/other/x"
    assert refusal.fix == f"lockgate gateway bind sensor other, if sensor speaks for other; else {allow}"
    sensor.publishes("devices/other/x", qos=2).gets(Pubrec(1, ReasonCode.NOT_AUTHORIZED))
    sensor.sends(Pubrel(1)).gets(Pubcomp(1, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
    sensor.publishes("devices/sensor/x", qos=1).gets(Puback(1, ReasonCode.NO_MATCHING_SUBSCRIBERS))


def test_5_0_at_qos_0_is_dropped_and_noted() -> None:
    hub = Playbook(rules=())
    hub.client("sensor").publishes("devices/other/x").gets_nothing().is_open()
    assert [refusal.reason for refusal in hub.refusals()] == ["not authorized: no rule allows it"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_3_1_1_is_closed(qos: int) -> None:
    hub = Playbook(rules=())
    hub.client("sensor", V311).publishes("devices/other/x", qos=qos).is_closed()
    assert len(hub.refusals()) == 1


def test_3_1_1_may_be_told_a_comfortable_lie() -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(on_refused_publish="drop")), rules=())
    office = hub.subscriber("other", "devices/other/#")
    sensor = hub.client("sensor", V311).publishes("devices/other/x").gets_nothing()
    sensor.publishes("devices/other/x", qos=1).gets(Puback(1))
    sensor.publishes("devices/other/x", qos=2).gets(Pubrec(1)).sends(Pubrel(1)).gets(Pubcomp(1))
    office.gets_nothing()
    assert sum(refusal.count for refusal in hub.refusals()) == 3


def test_a_rule_limits_qos_and_retain() -> None:
    hub = Playbook(rules=(Rule("everyone", Operation.PUBLISH, "a", qos=(0, 1), retain=False),))
    sensor = hub.client("sensor")
    sensor.publishes("a", qos=1).gets(Puback(1, ReasonCode.NO_MATCHING_SUBSCRIBERS))
    sensor.publishes("a", qos=2).gets(Pubrec(1, ReasonCode.NOT_AUTHORIZED))
    sensor.publishes("a", qos=1, retain=True).gets(Puback(1, ReasonCode.NOT_AUTHORIZED))


def test_one_retained_message_too_many_is_refused() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_retained_messages=1)))
    sensor = hub.client("sensor").publishes("a", qos=1, retain=True).gets(Puback(1, 0x10))
    sensor.publishes("b", qos=1, retain=True).gets(Puback(1, ReasonCode.QUOTA_EXCEEDED))
    sensor.publishes("a", b"new", qos=1, retain=True).gets(Puback(1, 0x10))


def test_a_client_that_lost_its_right_to_receive_hears_nothing_more() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a")
    sensor = hub.client("sensor").publishes("a")
    office.gets_publish("a")
    hub.rules.change(hub.rules.rules[0])
    sensor.publishes("a")
    office.gets_nothing()


# Limits


def test_topic_aliases_that_were_not_granted_and_subscription_identifiers_end_the_connection() -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(topic_alias_maximum=0)))
    alias = hub.client("one").publishes("a", properties=Properties(topic_alias=1))
    alias.gets(Disconnect(ReasonCode.TOPIC_ALIAS_INVALID)).is_closed()
    identifier = hub.client("two").publishes("a", properties=Properties(subscription_identifiers=(1,)))
    identifier.gets(Disconnect(ReasonCode.PROTOCOL_ERROR)).is_closed()


def test_more_than_the_receive_maximum_in_flight_ends_a_5_0_connection() -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(receive_maximum=2)))
    new, old = hub.client("new"), hub.client("old", V311)
    for client in (new, old):
        client.sends(*(Publish(A, b"", 2, packet_id=n) for n in (1, 2)))
        client.publishes("a", qos=0)
    new.gets(Pubrec(1, 0x10), Pubrec(2, 0x10)).publishes("a", b"", qos=2, packet_id=2).gets(Pubrec(2))
    new.publishes("a", qos=1, packet_id=3).gets(Disconnect(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)).is_closed()
    old.gets(Pubrec(1), Pubrec(2)).publishes("a", qos=1, packet_id=3).gets(Puback(3))


def test_released_packet_ids_make_room_in_the_receive_maximum() -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(receive_maximum=1)))
    sensor = hub.client("sensor")
    for _ in range(3):
        sensor.publishes("a", qos=2).gets(Pubrec(1, 0x10)).sends(Pubrel(1)).gets(Pubcomp(1))
        sensor.publishes("a", qos=1).gets(Puback(1, 0x10))


def test_a_message_larger_than_the_client_takes_is_not_sent_to_it() -> None:
    hub = Playbook()
    office = hub.client("office", properties=Properties(maximum_packet_size=60))
    office.subscribes(SubscriptionRequest("a", 1)).gets(Suback(1, (1,)))
    sensor = hub.client("sensor").publishes("a", bytes(100), 1).gets(Puback(1))
    office.gets_nothing()
    sensor.publishes("a", bytes(10), 1)
    office.gets_publish("a", bytes(10), 1, packet_id=2)
    assert office.handler.session is not None
    assert set(office.handler.session.unsettled) == {2}


def test_a_reason_that_does_not_fit_is_left_out() -> None:
    hub = Playbook(rules=())
    sensor = hub.client("sensor", properties=Properties(maximum_packet_size=40))
    sensor.publishes("x", qos=1).gets(Puback(1, ReasonCode.NOT_AUTHORIZED))
    sensor.publishes("x", qos=2).gets(Pubrec(1, ReasonCode.NOT_AUTHORIZED))
    sensor.subscribes(SubscriptionRequest("x")).gets(Suback(1, (ReasonCode.NOT_AUTHORIZED,)))
    sensor.sends_bytes(b"\xf1\x00").gets(Disconnect(ReasonCode.MALFORMED_PACKET)).is_closed()
    assert sensor.reasons == []


def test_an_answer_that_cannot_fit_is_not_sent() -> None:
    hub = Playbook()
    sensor = hub.client("sensor", properties=Properties(maximum_packet_size=40))
    sensor.subscribes(*(SubscriptionRequest(f"x/{number}") for number in range(50))).gets_nothing().is_open()


def test_a_client_that_does_not_read_finds_the_oldest_messages_and_the_rest_is_counted() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_queued_messages=3)))
    office = hub.subscriber("office", "a")
    sensor = hub.client("sensor")
    office.handler.pause_writing()
    for number in range(5):
        sensor.publishes("a", bytes([number]))
    assert hub.journal._dropped == {("office", "its queue was full"): 1}, "told while it goes on"
    office.handler.resume_writing()
    office.gets(*(Publish(A, bytes([number])) for number in range(3)))
    assert hub.journal._dropped == {("office", "its queue was full"): 2}


def test_what_was_dropped_is_counted_also_when_the_client_never_reads_again() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_queued_messages=3)))
    office = hub.subscriber("office", "a")
    sensor = hub.client("sensor")
    office.handler.pause_writing()
    for number in range(5):
        sensor.publishes("a", bytes([number]))
    office.handler.connection_lost(None)
    assert hub.journal._dropped == {("office", "its queue was full"): 2}


def test_writing_stops_in_the_middle_when_the_client_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    count = DELIVERIES_PER_WRITE + 3
    hub = Playbook(Settings(hub=HubSettings(max_queued_messages=count, max_messages_per_second=0)))
    office = hub.subscriber("office", "a")
    handler = office.handler
    write = office.wire.write

    def full(data: bytes) -> None:
        write(data)
        handler.pause_writing()

    handler.pause_writing()
    messages = [Publish(A, str(number).encode()) for number in range(count)]
    hub.client("sensor").sends(*messages)
    office.gets_nothing()
    monkeypatch.setattr(office.wire, "write", full)
    handler.resume_writing()
    office.gets(*messages[:DELIVERIES_PER_WRITE])
    monkeypatch.setattr(office.wire, "write", write)
    handler.resume_writing()
    office.gets(*messages[DELIVERIES_PER_WRITE:])


# Expiry


def test_a_message_that_expired_is_not_delivered_and_what_is_left_goes_with_it() -> None:
    hub = Playbook()
    office = hub.client("office", properties=KEPT)
    office.subscribes(SubscriptionRequest("a", 1)).gets(Suback(1, (1,))).is_cut()
    sensor = hub.client("sensor")
    sensor.publishes("a", b"short", 1, properties=Properties(message_expiry_interval=10))
    sensor.publishes("a", b"long", 1, properties=Properties(message_expiry_interval=100))
    hub.passes(30)
    again = hub.link().sends(Connect(V5, "office", clean_start=False, properties=KEPT))
    connack, publish = again.packets()
    assert isinstance(connack, Connack)
    assert publish == Publish(A, b"long", 1, packet_id=2, properties=Properties(message_expiry_interval=70))


def test_a_message_grows_old_while_the_hub_is_down() -> None:
    hub = Playbook()
    office = hub.client("office", properties=KEPT)
    office.subscribes(SubscriptionRequest("a", 1)).gets(Suback(1, (1,))).is_cut()
    sensor = hub.client("sensor")
    for payload, seconds in ((b"short", 10), (b"long", 100)):
        sensor.publishes("a", payload, 1, properties=Properties(message_expiry_interval=seconds))
    hub.now += 30
    hub = hub.restarts()
    again = hub.link().sends(Connect(V5, "office", clean_start=False, properties=KEPT))
    _, publish = again.packets()
    assert publish == Publish(A, b"long", 1, dup=True, packet_id=2, properties=Properties(message_expiry_interval=70))


def test_a_waiting_message_says_how_long_it_still_lives() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a")
    office.handler.pause_writing()
    sensor = hub.client("sensor")
    sensor.publishes("a", b"short", properties=Properties(message_expiry_interval=10))
    sensor.publishes("a", b"long", properties=Properties(message_expiry_interval=100))
    hub.passes(30)
    office.handler.resume_writing()
    office.gets_publish("a", b"long", properties=Properties(message_expiry_interval=70))


def test_a_retained_message_says_to_each_subscriber_how_long_it_still_lives() -> None:
    hub = Playbook()
    sensor = hub.client("sensor")
    sensor.publishes("a", retain=True, properties=Properties(message_expiry_interval=100))
    for seconds, left in ((0, 100), (40, 60), (59.7, 1)):
        hub.passes(seconds)
        office = hub.client(f"office/{left}").subscribes(SubscriptionRequest("a"))
        office.gets(Suback(1, (0,)), Publish(A, b"x", retain=True, properties=Properties(message_expiry_interval=left)))
    hub.passes(0.3)
    late = hub.client("late").subscribes(SubscriptionRequest("a"))
    late.gets(Suback(1, (0,)))


# Topic aliases


def test_a_client_may_name_a_topic_by_its_alias() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "#", 1)
    sensor = hub.client("sensor")
    sensor.publishes("a/b", b"1", properties=Properties(topic_alias=1))
    sensor.publishes("a/c", b"2", properties=Properties(topic_alias=2))
    for alias in (2, 1):
        sensor.sends(Publish(TopicName(""), b"3", properties=Properties(topic_alias=alias, content_type="x")))
    x = Properties(content_type="x")
    a_b, a_c = topic_name("a/b"), topic_name("a/c")
    office.gets(
        Publish(a_b, b"1"), Publish(a_c, b"2"), Publish(a_c, b"3", properties=x), Publish(a_b, b"3", properties=x)
    )


def test_an_alias_ends_with_its_connection() -> None:
    hub = Playbook()
    hub.client("sensor").publishes("a", properties=Properties(topic_alias=1)).is_cut()
    again = hub.client("sensor").sends(Publish(TopicName(""), b"x", properties=Properties(topic_alias=1)))
    again.gets(Disconnect(ReasonCode.PROTOCOL_ERROR)).is_closed()


def test_a_client_that_takes_aliases_hears_a_long_topic_once() -> None:
    hub = Playbook()
    taker = hub.client("taker", properties=Properties(topic_alias_maximum=1))
    taker.subscribes(SubscriptionRequest("#")).gets(Suback(1, (0,)))
    other = hub.subscriber("other")
    sensor = hub.client("sensor")
    for topic in ("devices/sensor/a", "devices/sensor/a", "devices/sensor/b"):
        sensor.publishes(topic)
    first, second = topic_name("devices/sensor/a"), topic_name("devices/sensor/b")
    alias = Properties(topic_alias=1)
    taker.gets(
        Publish(first, b"x", properties=alias), Publish(TopicName(""), b"x", properties=alias), Publish(second, b"x")
    )
    other.gets(Publish(first, b"x"), Publish(first, b"x"), Publish(second, b"x"))


# Payload format


@pytest.mark.parametrize(("qos", "answer"), [(1, Puback(1, 0x99)), (2, Pubrec(1, 0x99))])
def test_a_payload_that_is_not_the_text_it_is_said_to_be_is_refused(qos: int, answer: Puback | Pubrec) -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a")
    text = Properties(payload_format_indicator=1)
    sensor = hub.client("sensor").publishes("a", b"\xff", qos, properties=text).gets(answer)
    sensor.publishes("a", b"\xff", properties=text).is_open()
    assert [(refusal.reason, refusal.count) for refusal in hub.refusals()] == [("payload format invalid", 2)]
    sensor.publishes("a", "é".encode(), properties=text)
    office.gets_publish("a", "é".encode(), properties=text)


# Acknowledged means stored


def test_answers_wait_for_their_commit_and_keep_their_order() -> None:
    hub = Playbook()
    office = hub.client("office", properties=KEPT)
    office.subscribes(SubscriptionRequest("a", 2)).gets(Suback(1, (2,)))
    hub.store.holds = True
    sensor = hub.client("sensor")
    sensor.publishes("a", qos=1, packet_id=1).publishes("b", qos=1, packet_id=2).publishes("a", qos=2, packet_id=3)
    sensor.gets_nothing()
    sensor.publishes("a", qos=2, packet_id=3, dup=True).gets_nothing()
    office.gets_publish("a", qos=1)
    hub.commits()
    sensor.gets(Puback(1), Puback(2, ReasonCode.NO_MATCHING_SUBSCRIBERS), Pubrec(3))
    office.gets_publish("a", qos=2, packet_id=2)


def test_a_subscription_of_a_kept_session_is_answered_when_it_is_stored() -> None:
    hub = Playbook()
    office = hub.client("office", properties=KEPT)
    hub.store.holds = True
    office.subscribes(SubscriptionRequest("a", 1)).gets_nothing()
    hub.commits()
    office.gets(Suback(1, (1,)))


def test_a_qos_2_message_and_the_note_that_it_came_are_stored_together() -> None:
    hub = Playbook()
    office = hub.client("office", properties=KEPT)
    office.subscribes(SubscriptionRequest("a", 2)).gets(Suback(1, (2,)))
    hub.client("sensor", properties=KEPT).publishes("a", qos=2).gets(Pubrec(1))
    assert hub.store.transactions == [["delivery", "incoming"]]


def test_who_clears_a_retained_message_again_waits_for_the_first_clearing() -> None:
    hub = Playbook()
    hub.client("first").publishes("a", retain=True).publishes("b", retain=True)
    hub.store.holds = True
    sensors = [hub.client(name).publishes("a", b"", qos=1, retain=True).gets_nothing() for name in ("one", "two")]
    hub.commits()
    for sensor in sensors:
        sensor.gets(Puback(1, ReasonCode.NO_MATCHING_SUBSCRIBERS))


def test_silence_while_the_hub_made_the_client_wait_does_not_count() -> None:
    hub = Playbook()
    office = hub.client("office", properties=KEPT)
    office.subscribes(SubscriptionRequest("a", 1))
    hub.store.holds = True
    sensor = hub.client("sensor", keep_alive_seconds=10).publishes("a", qos=1)
    hub.passes(14)
    hub.commits()
    hub.passes(14)
    sensor.gets(Puback(1)).is_open()


def test_a_client_too_far_ahead_of_the_disk_is_not_read_until_it_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockgate.adapters.mqtt.intake.MAX_WAITING_ANSWERS", 2)
    hub = Playbook()
    hub.store.holds = True
    sensor = hub.client("sensor")
    for number in range(1, 4):
        assert sensor.wire.is_reading
        sensor.publishes("a", qos=1, packet_id=number, retain=True)
    assert not sensor.wire.is_reading
    hub.commits()
    assert sensor.wire.is_reading
    sensor.gets(*(Puback(n, ReasonCode.NO_MATCHING_SUBSCRIBERS) for n in range(1, 4)))


def test_while_the_store_is_full_its_publishers_are_not_read() -> None:
    hub = Playbook()
    hub.store.holds = hub.store.is_full = True
    sensor = hub.client("sensor").publishes("a", qos=1, retain=True)
    assert not sensor.wire.is_reading
    hub.commits()
    assert not sensor.wire.is_reading, "its own answers are out, but the store is still full of others'"
    hub.store.is_full = False
    hub.commits()
    assert sensor.wire.is_reading
    sensor.gets(Puback(1, ReasonCode.NO_MATCHING_SUBSCRIBERS)).is_open()
