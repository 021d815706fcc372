"""What outlives a connection: sessions, their expiry, take-over and wills (sections 3.1.2.4 to 3.1.2.5, 4.1, 4.4)."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    V5,
    V311,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    ReasonCode,
    Suback,
    SubscriptionRequest,
    WillPacket,
)
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.topic import topic_name
from lockgate.settings import HubSettings, Settings
from tests.support.playbook import Client, Playbook

A = topic_name("a")
HOUR = Properties(session_expiry_interval=3600)
WILL = WillPacket("gone", b"sensor", 1)


def keeps(hub: Playbook, client_id: str = "office", qos: int = 2, version: int = V5) -> Client:
    """Connect a client whose session is kept, subscribed to "a"."""
    client = hub.client(client_id, version, clean_start=False, properties=HOUR)
    return client.subscribes(SubscriptionRequest("a", qos)).gets(Suback(1, (qos,)))


def comes_back(hub: Playbook, client_id: str = "office", version: int = V5, properties: Properties = HOUR) -> Client:
    """Connect again; the answers are still to be read."""
    return hub.link(version).sends(Connect(version, client_id, clean_start=False, properties=properties))


def resumed(*packets: Packet, client: Client) -> None:
    connack, *rest = client.packets()
    assert isinstance(connack, Connack)
    assert (connack.code, connack.session_present) == (0, True)
    assert rest == list(packets)


# Persistent sessions


@pytest.mark.parametrize("version", [V5, V311])
def test_a_kept_session_hears_later_what_was_published_while_it_was_away(version: int) -> None:
    hub = Playbook()
    keeps(hub, version=version).sends(Disconnect())
    sensor = hub.client("sensor")
    for qos in (0, 1, 2):
        sensor.publishes("a", bytes([qos]), qos)
    resumed(
        Publish(A, b"\1", 1, packet_id=1), Publish(A, b"\2", 2, packet_id=2), client=comes_back(hub, version=version)
    )


def test_a_clean_start_drops_the_session_that_waits() -> None:
    hub = Playbook()
    keeps(hub).is_cut()
    hub.client("sensor").publishes("a", qos=1)
    hub.client("office", clean_start=True, is_present=False).gets_nothing()
    hub.client("sensor").publishes("a", qos=1)
    assert not any((hub.store.sessions, hub.store.subscriptions, hub.store.deliveries))


def test_what_was_not_settled_is_sent_again_with_dup_and_in_order() -> None:
    hub = Playbook()
    office = keeps(hub)
    hub.client("sensor").publishes("a", b"1", 1).publishes("a", b"2", 2, 2).publishes("a", b"3", 2, 3)
    office.packets()
    office.sends(Pubrec(2)).gets(Pubrel(2)).is_cut()
    again = comes_back(hub)
    resumed(
        Publish(A, b"1", 1, dup=True, packet_id=1),
        Pubrel(2),
        Publish(A, b"3", 2, dup=True, packet_id=3),
        client=again,
    )
    again.sends(Puback(1), Pubcomp(2), Pubrec(3)).gets(Pubrel(3)).sends(Pubcomp(3)).is_cut()
    resumed(client=comes_back(hub))
    assert hub.store.deliveries == {}


def test_a_client_that_comes_back_with_a_smaller_receive_maximum_gets_no_more_at_once() -> None:
    hub = Playbook()
    office = keeps(hub, qos=1)
    hub.client("sensor").publishes("a", b"1", 1).publishes("a", b"2", 1).publishes("a", b"3", 1)
    office.packets()
    office.is_cut()
    again = comes_back(hub, properties=Properties(session_expiry_interval=3600, receive_maximum=1))
    resumed(Publish(A, b"1", 1, dup=True, packet_id=1), client=again)
    again.sends(Puback(1)).gets_publish("a", b"2", 1, dup=True, packet_id=2)
    again.sends(Puback(2)).gets_publish("a", b"3", 1, dup=True, packet_id=3)
    again.sends(Puback(3)).gets_nothing()
    assert hub.store.deliveries == {}


def test_what_no_longer_fits_the_client_is_given_up() -> None:
    hub = Playbook()
    office = keeps(hub, qos=1)
    hub.client("sensor").publishes("a", bytes(100), 1)
    office.gets_publish("a", bytes(100), 1).is_cut()
    small = Properties(session_expiry_interval=3600, maximum_packet_size=60)
    resumed(client=comes_back(hub, properties=small))
    assert hub.store.deliveries == {}


def test_a_qos_2_message_received_before_the_cut_is_not_published_again() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "a")
    sensor = keeps(hub, "sensor").publishes("a", qos=2, packet_id=7)
    sensor.gets(Pubrec(7), Publish(A, b"x", 2, packet_id=1)).is_cut()
    office.gets_publish("a")
    again = comes_back(hub, "sensor")
    resumed(Publish(A, b"x", 2, dup=True, packet_id=1), client=again)
    again.publishes("a", qos=2, packet_id=7, dup=True).gets(Pubrec(7)).sends(Pubrel(7)).gets(Pubcomp(7))
    office.gets_nothing()


def test_everything_of_a_kept_session_survives_a_restart() -> None:
    hub = Playbook()
    office = keeps(hub)
    sensor = keeps(hub, "sensor").publishes("a", b"1", 2, 7)
    sensor.packets()
    office.gets_publish("a", b"1", 2).sends(Pubrec(1)).gets(Pubrel(1))
    sensor.sends(Publish(A, b"2", 1, packet_id=8)).packets()
    hub = hub.restarts()
    again = comes_back(hub)
    resumed(Pubrel(1), Publish(A, b"2", 1, dup=True, packet_id=2), client=again)
    sensor = comes_back(hub, "sensor")
    sensor.packets()
    sensor.publishes("a", b"1", 2, 7, dup=True).gets(Pubrec(7))
    again.gets_nothing()
    sensor.publishes("a", b"3", 1).packets()
    again.gets_publish("a", b"3", 1, packet_id=3)


def test_what_was_never_sent_is_not_marked_as_sent_before() -> None:
    hub = Playbook()
    office = keeps(hub, qos=1)
    own = wire.encode(Publish(A, b"own", 1, packet_id=1), V5)
    office.sends_bytes(own + b"\xf1\x00").gets(Disconnect(ReasonCode.MALFORMED_PACKET)).is_closed()
    resumed(Publish(A, b"own", 1, packet_id=1), client=comes_back(hub))


def test_a_restart_forgets_sessions_that_were_not_to_be_kept() -> None:
    hub = Playbook()
    hub.subscriber("office", "a", 1)
    assert hub.restarts().hub.sessions == {}


def test_a_kept_session_opened_again_without_expiry_ends_with_that_connection() -> None:
    hub = Playbook()
    keeps(hub).is_cut()
    again = hub.client("office", clean_start=False, is_present=True)
    assert hub.store.sessions == {}
    hub.client("sensor").publishes("a", qos=1)
    again.gets_publish("a", qos=1).sends(Puback(1)).is_cut()
    assert "office" not in hub.hub.sessions


# Expiry


def test_a_session_waits_as_long_as_was_asked_and_no_longer() -> None:
    hub = Playbook()
    keeps(hub).is_cut()
    hub.passes(3599)
    comes_back(hub).is_cut()
    hub.passes(3599)
    comes_back(hub).is_cut()
    hub.passes(3600)
    assert not any((hub.hub.sessions, hub.store.sessions))


def test_the_hub_grants_at_most_its_limit_and_says_so() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_session_expiry_hours=1)))
    for asked, told in ((3600, None), (3601, 3600), (0xFFFF_FFFF, 3600)):
        properties = Properties(session_expiry_interval=asked)
        answer = hub.link().sends(Connect(V5, f"s/{asked}", properties=properties)).takes(Connack)
        assert answer.properties.session_expiry_interval == told


def test_a_3_1_1_session_that_is_not_clean_waits_as_long_as_the_hub_allows() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_session_expiry_hours=1)))
    keeps(hub, version=V311).is_cut()
    hub.passes(3599)
    comes_back(hub, version=V311).is_cut()
    hub.passes(3600)
    assert hub.hub.sessions == {}


def test_a_session_that_expired_while_the_hub_was_down_is_dropped_at_its_first_turn() -> None:
    hub = Playbook()
    keeps(hub).is_cut()
    hub.now += 4000
    hub = hub.restarts()
    hub.passes(0)
    assert not any((hub.hub.sessions, hub.store.sessions))


# Take-over


def test_a_newer_connection_takes_the_session_over() -> None:
    hub = Playbook()
    first = keeps(hub)
    second = comes_back(hub)
    resumed(client=second)
    first.gets(Disconnect(ReasonCode.SESSION_TAKEN_OVER)).is_closed()
    hub.client("sensor").publishes("a", qos=1)
    second.gets_publish("a", qos=1).is_open()


def test_a_3_1_1_client_is_taken_over_without_a_word() -> None:
    hub = Playbook()
    first = keeps(hub, version=V311)
    resumed(client=comes_back(hub, version=V311))
    first.is_closed()


def test_a_newer_connection_with_clean_start_begins_anew() -> None:
    hub = Playbook()
    first = keeps(hub)
    second = hub.client("office", properties=HOUR, is_present=False)
    first.gets(Disconnect(ReasonCode.SESSION_TAKEN_OVER)).is_closed()
    hub.client("sensor").publishes("a", qos=1)
    second.gets_nothing().is_open()


def test_what_the_older_connection_had_not_settled_goes_to_the_newer_one() -> None:
    hub = Playbook()
    first = keeps(hub)
    hub.client("sensor").publishes("a", qos=1)
    first.gets_publish("a", qos=1)
    resumed(Publish(A, b"x", 1, dup=True, packet_id=1), client=comes_back(hub))


def test_a_taken_over_connection_that_ends_later_does_not_touch_the_session() -> None:
    hub = Playbook()
    first = keeps(hub)
    hub.authenticator.is_slow_for.add("office")
    second = comes_back(hub)
    hub.loop.do_work()
    first.handler.connection_lost(None)
    resumed(client=second)
    second.is_open()


# Wills


def lost(hub: Playbook, will: WillPacket = WILL, properties: Properties = HOUR) -> Client:
    return hub.client("sensor", will=will, properties=properties)


@pytest.mark.parametrize("version", [V5, V311])
def test_a_will_goes_out_when_the_connection_is_lost(version: int) -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone", 2)
    hub.client("sensor", version, will=WILL).is_cut()
    office.gets_publish("gone", b"sensor", 1)
    hub.client("sensor", version, will=WILL).ends()
    office.gets_publish("gone", b"sensor", 1, packet_id=2)


def test_a_will_goes_out_when_the_client_breaks_the_protocol_or_falls_silent() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    hub.client("sensor", will=WILL).sends_bytes(b"\xf1\x00")
    office.gets_publish("gone", b"sensor")
    hub.client("sensor", will=WILL, keep_alive_seconds=10)
    hub.passes(15)
    office.gets_publish("gone", b"sensor")


def test_a_clean_disconnect_drops_the_will() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    lost(hub).sends(Disconnect()).is_closed()
    hub.passes(4000)
    office.gets_nothing()


@pytest.mark.parametrize("code", [ReasonCode.DISCONNECT_WITH_WILL, ReasonCode.UNSPECIFIED_ERROR])
def test_a_disconnect_with_any_other_code_sends_the_will(code: int) -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    lost(hub).sends(Disconnect(code)).is_closed()
    office.gets_publish("gone", b"sensor")


def test_a_delayed_will_goes_out_when_its_time_has_come_and_only_once() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    lost(hub, WillPacket("gone", b"w", properties=Properties(will_delay_interval=10))).is_cut()
    hub.passes(9.5)
    office.gets_nothing()
    hub.passes(0.5)
    office.gets_publish("gone", b"w")
    hub = hub.restarts()
    office = hub.subscriber("office", "gone")
    hub.passes(4000)
    office.gets_nothing()


def test_a_client_that_comes_back_in_time_takes_its_delayed_will_back() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    lost(hub, WillPacket("gone", b"w", properties=Properties(will_delay_interval=10))).is_cut()
    hub.passes(5)
    resumed(client=comes_back(hub, "sensor"))
    hub.passes(100)
    office.gets_nothing()


def test_a_delayed_will_goes_out_at_the_latest_when_the_session_ends() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    late = WillPacket("gone", b"w", properties=Properties(will_delay_interval=1000))
    lost(hub, late, Properties(session_expiry_interval=10)).is_cut()
    hub.passes(9)
    office.gets_nothing()
    hub.passes(1)
    office.gets_publish("gone", b"w")
    lost(hub, late, Properties()).is_cut()
    office.gets_publish("gone", b"w")
    lost(hub, late).is_cut()
    hub.client("sensor", clean_start=True)
    office.gets_publish("gone", b"w")


def test_take_over_sends_a_will_at_once_unless_it_has_a_delay() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    lost(hub)
    comes_back(hub, "sensor")
    office.gets_publish("gone", b"sensor")
    hub.client("other", will=WillPacket("gone", b"o", properties=Properties(will_delay_interval=9)), properties=HOUR)
    comes_back(hub, "other")
    hub.passes(100)
    office.gets_nothing()


def test_a_will_lives_as_long_as_it_says_from_the_moment_it_goes_out() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    lost(
        hub, WillPacket("gone", b"w", properties=Properties(will_delay_interval=10, message_expiry_interval=30))
    ).is_cut()
    hub.passes(10)
    office.gets_publish("gone", b"w", properties=Properties(message_expiry_interval=30))


def test_a_retained_will_is_retained() -> None:
    hub = Playbook()
    hub.client("sensor", will=WillPacket("gone", b"w", retain=True)).is_cut()
    office = hub.client("office").subscribes(SubscriptionRequest("gone"))
    office.gets(Suback(1, (0,)), Publish(topic_name("gone"), b"w", retain=True))


def test_a_will_that_is_no_longer_allowed_stays_in_and_is_reported() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "gone")
    sensor = hub.client("sensor", will=WILL)
    hub.rules.change(*(rule for rule in hub.rules.rules if rule.id == 2))
    sensor.is_cut()
    office.gets_nothing()
    assert [str(error) for error in hub.unheard] == ["sensor may not publish 'gone': no rule allows it"]


def test_a_will_on_a_topic_that_is_none_ends_the_connection() -> None:
    hub = Playbook()
    hub.link().sends(Connect(V5, "sensor", will=WillPacket("a/#", b""))).is_closed()


def test_after_a_crash_the_wills_of_kept_sessions_reach_kept_subscribers() -> None:
    hub = Playbook()
    lost(hub)
    office = hub.client("office", properties=HOUR)
    office.subscribes(SubscriptionRequest("gone", 1)).gets(Suback(1, (1,)))
    hub = hub.restarts()
    resumed(Publish(topic_name("gone"), b"sensor", 1, packet_id=1), client=comes_back(hub))


def test_the_delay_of_a_will_runs_on_while_the_hub_is_down() -> None:
    hub = Playbook()
    late = WillPacket("gone", b"w", properties=Properties(will_delay_interval=10))
    lost(hub, late, HOUR).is_cut()
    hub.passes(4)
    hub.now += 4
    hub = hub.restarts()
    office = hub.subscriber("office", "gone")
    hub.passes(1.5)
    office.gets_nothing()
    hub.passes(0.5)
    office.gets_publish("gone", b"w")


def test_a_client_that_comes_back_after_a_crash_in_time_takes_its_delayed_will_back() -> None:
    hub = Playbook()
    late = WillPacket("gone", b"w", properties=Properties(will_delay_interval=10))
    lost(hub, late, HOUR).is_cut()
    hub.now += 5
    hub = hub.restarts()
    office = hub.subscriber("office", "gone")
    resumed(client=comes_back(hub, "sensor"))
    hub.passes(100)
    office.gets_nothing()


DENIED = Rule("device:office", Operation.RECEIVE, "a", Effect.DENY)


def test_what_waits_is_not_sent_once_the_permission_is_gone() -> None:
    hub = Playbook()
    keeps(hub).sends(Disconnect())
    sensor = hub.client("sensor")
    for qos in (1, 2):
        sensor.publishes("a", b"secret", qos)
    hub.rules.change(*hub.rules.rules, DENIED)
    resumed(client=comes_back(hub))
    assert not hub.hub.sessions["office"].queue
    assert hub.store.load()[0].deliveries == ()


def test_what_was_sent_and_not_acknowledged_is_not_sent_again_once_the_permission_is_gone() -> None:
    hub = Playbook()
    office = keeps(hub)
    hub.client("sensor").publishes("a", b"secret", 1)
    office.gets(Publish(A, b"secret", 1, packet_id=1)).ends()
    hub.rules.change(*hub.rules.rules, DENIED)
    resumed(client=comes_back(hub))
    assert hub.hub.sessions["office"].unsettled == {}


def test_what_waits_for_a_client_that_reads_again_is_asked_about_again() -> None:
    hub = Playbook()
    office = hub.subscriber("office", "#")
    office.handler.pause_writing()
    sensor = hub.client("sensor")
    sensor.publishes("a", b"secret").publishes("b", b"open")
    hub.rules.change(*hub.rules.rules, DENIED)
    office.handler.resume_writing()
    office.gets(Publish(topic_name("b"), b"open")).is_open()


# A CONNACK promises nothing that a crash could undo


def test_a_connack_waits_until_its_session_is_stored() -> None:
    hub = Playbook()
    hub.store.holds = True
    office = comes_back(hub).gets_nothing()
    assert not office.wire.is_reading, "what follows the CONNECT waits as well"
    hub.door.committed(hub.store.committed)
    office.gets_nothing()
    hub.commits()
    assert office.takes(Connack).code == 0
    office.is_open()


def test_what_followed_the_connect_is_answered_behind_the_connack_that_waited() -> None:
    hub = Playbook()
    hub.store.holds = True
    office = hub.link().sends(
        Connect(V5, "office", clean_start=False, properties=HOUR), Publish(A, b"x", 1, packet_id=7), Disconnect()
    )
    office.gets_nothing()
    hub.commits()
    assert [type(packet) for packet in office.packets()] == [Connack, Puback]
    assert office.wire.is_closed


def test_nothing_is_delivered_or_sent_again_before_the_connack() -> None:
    hub = Playbook()
    office = keeps(hub, qos=1)
    hub.client("sensor").publishes("a", b"1", qos=1)
    office.is_cut()
    hub.store.holds = True
    office = comes_back(hub)
    hub.client("driver").publishes("a", b"2")
    office.gets_nothing()
    hub.commits()
    resumed(Publish(A, b"1", 1, dup=True, packet_id=1), Publish(A, b"2"), client=office)


def test_what_may_no_longer_be_received_is_not_sent_again_even_if_that_changed_before_the_connack() -> None:
    hub = Playbook()
    office = keeps(hub, qos=1)
    hub.client("sensor").publishes("a", qos=1)
    office.is_cut()
    hub.store.holds = True
    office = comes_back(hub)
    hub.rules.change(*hub.rules.rules, Rule("everyone", Operation.RECEIVE, "a", Effect.DENY))
    hub.commits()
    resumed(client=office)


def test_a_client_that_reads_again_before_its_connack_is_still_not_read() -> None:
    hub = Playbook()
    hub.store.holds = True
    office = comes_back(hub)
    office.handler.pause_writing()
    office.handler.resume_writing()
    assert not office.wire.is_reading
    hub.commits()
    assert office.takes(Connack).code == 0
    office.is_open()


def test_a_clean_start_is_told_when_the_session_that_it_dropped_is_gone_for_good() -> None:
    hub = Playbook()
    keeps(hub).is_cut()
    hub.store.holds = True
    office = hub.link().sends(Connect(V5, "office")).gets_nothing()
    hub.commits()
    assert not office.takes(Connack).session_present


def test_a_session_that_ended_a_moment_ago_is_gone_for_good_before_the_next_is_told_so() -> None:
    hub = Playbook()
    office = keeps(hub)
    hub.store.holds = True
    office.sends(Disconnect(0, Properties(session_expiry_interval=0)))
    office = hub.link().sends(Connect(V5, "office", clean_start=False)).gets_nothing()
    hub.commits()
    assert not office.takes(Connack).session_present


def test_a_session_that_shall_no_longer_be_kept_is_forgotten_before_its_connack() -> None:
    hub = Playbook()
    keeps(hub).is_cut()
    hub.store.holds = True
    office = comes_back(hub, properties=Properties()).gets_nothing()
    hub.commits()
    assert office.takes(Connack).session_present


def test_a_client_that_leaves_before_its_connack_leaves_its_session_waiting() -> None:
    hub = Playbook()
    hub.store.holds = True
    comes_back(hub).is_cut()
    comes_back(hub).ends()
    hub.commits()
    assert hub.hub.sessions["office"].outlet is None
    resumed_client = comes_back(hub)
    hub.commits()
    resumed(client=resumed_client)


@pytest.mark.parametrize(("version", "code"), [(V5, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR), (V311, 3)])
def test_a_client_taken_over_before_its_connack_gets_a_connack_that_says_no(version: int, code: int) -> None:
    hub = Playbook()
    hub.store.holds = True
    first = comes_back(hub, version=version)
    second = comes_back(hub, version=version)
    first.gets(Connack(code)).is_closed()
    hub.commits()
    resumed(client=second)


def test_a_hub_that_stops_refuses_whom_it_has_not_welcomed_yet() -> None:
    hub = Playbook()
    hub.store.holds = True
    office = comes_back(hub)
    hub.stops()
    office.gets(Connack(ReasonCode.SERVER_UNAVAILABLE)).is_closed()


@pytest.mark.parametrize(("version", "code"), [(V5, ReasonCode.SERVER_BUSY), (V311, 3)])
def test_a_client_whose_connect_cannot_be_stored_in_time_is_told_and_has_no_will(version: int, code: int) -> None:
    hub = Playbook()
    ear = hub.subscriber("ear", "gone")
    hub.store.holds = True
    office = hub.link(version).sends(Connect(version, "office", clean_start=False, properties=HOUR, will=WILL))
    hub.passes(9)
    office.gets_nothing()
    hub.passes(1)
    office.gets(Connack(code)).is_closed()
    hub.commits()
    ear.gets_nothing()


def test_a_release_said_again_on_a_new_connection_waits_for_the_first_forgetting() -> None:
    hub = Playbook()
    sensor = hub.client("sensor", clean_start=False, properties=HOUR).publishes("b", qos=2)
    hub.store.holds = True
    sensor.sends(Pubrel(1)).is_cut()
    again = comes_back(hub, "sensor").gets_nothing()
    hub.commits()
    resumed(client=again)
    again.sends(Pubrel(1)).gets(Pubcomp(1, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
