"""How a connection begins and ends: CONNECT, its refusals, keep-alive, time, DISCONNECT (sections 3.1, 3.2, 3.14)."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    V311,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Publish,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
    WillPacket,
)
from lockgate.errors import (
    AuthenticationFailed,
    LockgateError,
    NotAuthorized,
    QuotaExceeded,
    RateExceeded,
    ShutOut,
    Unavailable,
)
from lockgate.model.topic import topic_name
from lockgate.settings import HubSettings, IdentitySettings, MqttSettings, Settings
from tests.support.playbook import START, Playbook

GRANTED = Properties(receive_maximum=1024, maximum_packet_size=1_048_576, topic_alias_maximum=32)


def test_a_5_0_client_is_told_what_the_hub_grants() -> None:
    hub = Playbook()
    hub.link().sends(Connect(V5, "sensor")).gets(Connack(0, False, GRANTED)).is_open()


def test_a_3_1_1_client_is_let_in_without_properties() -> None:
    hub = Playbook()
    hub.link(V311).sends(Connect(V311, "sensor")).gets(Connack(0)).is_open()


def test_bytes_may_come_one_by_one() -> None:
    client = Playbook().link()
    for byte in wire.encode(Connect(V5, "sensor"), V5) + wire.encode(Pingreq(), V5):
        client.sends_bytes(bytes([byte]))
    client.gets(Connack(0, False, GRANTED), Pingresp())


def test_packets_sent_behind_connect_are_answered_after_it() -> None:
    hub = Playbook()
    topic = topic_name("a")
    hub.link().sends(
        Connect(V5, "sensor"),
        Subscribe(1, (SubscriptionRequest("a", 1),)),
        Publish(topic, b"x", 1, packet_id=2),
        Pingreq(),
    ).gets(
        Connack(0, False, GRANTED),
        Pingresp(),
        Suback(1, (1,)),
        Publish(topic, b"x", 1, packet_id=1),
        Puback(2),
    )


def test_connect_and_disconnect_in_one_piece_are_answered_when_the_session_is_stored() -> None:
    hub = Playbook()
    office = hub.subscriber("office")
    hub.store.holds = True
    kept = Properties(session_expiry_interval=60)
    piece = Connect(V5, "sensor", will=WillPacket("gone", b""), properties=kept), Publish(topic_name("a"), b"21")
    client = hub.link().sends(*piece, Disconnect()).gets_nothing()
    assert not client.wire.is_reading, "its end waits as well"
    hub.commits()
    assert client.takes(Connack).code == 0
    client.is_closed()
    hub.commits()
    office.gets_publish("a", b"21")


def test_packets_sent_behind_a_connect_whose_check_is_slow_wait_for_it() -> None:
    hub = Playbook()
    hub.authenticator.is_slow_for.add("sensor")
    client = hub.link().sends(Connect(V5, "sensor"), Pingreq())
    client.gets_nothing()
    assert not client.wire.is_reading, "what a stranger sends must not pile up"
    hub.loop.do_work()
    client.gets(Connack(0, False, GRANTED), Pingresp())
    assert client.wire.is_reading


def test_a_slow_check_that_fails_is_told() -> None:
    hub = Playbook()
    hub.authenticator.is_slow_for.add("sensor")
    hub.authenticator.refusals["sensor"] = AuthenticationFailed()
    client = hub.link().sends(Connect(V5, "sensor"))
    hub.loop.do_work()
    client.gets(Connack(ReasonCode.BAD_USER_NAME_OR_PASSWORD)).is_closed()


def test_a_device_blocked_while_its_password_is_checked_is_refused() -> None:
    hub = Playbook()
    hub.authenticator.is_slow_for.add("sensor")
    client = hub.link().sends(Connect(V5, "sensor"))
    done, check, arguments = hub.loop.work.popleft()
    done.set_result(check(*arguments))
    hub.authenticator.refusals["sensor"] = NotAuthorized("sensor is blocked")
    hub.loop.run()
    client.gets(Connack(ReasonCode.NOT_AUTHORIZED)).is_closed()


def test_a_client_that_leaves_during_the_check_leaves_nothing_behind() -> None:
    hub = Playbook()
    hub.authenticator.is_slow_for.add("sensor")
    hub.link().sends(Connect(V5, "sensor")).is_cut()
    hub.loop.do_work()
    assert hub.hub.sessions == {}
    assert hub.door.admissions.waiting_checks == 0


def test_a_check_cancelled_by_the_hubs_stop_is_no_error() -> None:
    hub = Playbook()
    hub.authenticator.is_slow_for.add("sensor")
    client = hub.link().sends(Connect(V5, "sensor"))
    hub.loop.work.popleft()[0].cancel()
    hub.stops()
    client.is_closed()
    assert hub.refusals() == []


def test_when_too_many_checks_wait_a_client_is_told_that_the_hub_is_busy() -> None:
    hub = Playbook(Settings(identity=IdentitySettings(max_waiting_password_checks=1)))
    hub.authenticator.is_slow_for |= {"one", "two"}
    hub.link().sends(Connect(V5, "one")).gets_nothing()
    hub.link().sends(Connect(V5, "two")).gets(Connack(ReasonCode.SERVER_UNAVAILABLE)).is_closed()


@pytest.mark.parametrize(
    ("error", "v5", "v311"),
    [
        (AuthenticationFailed(), 0x86, 4),
        (NotAuthorized(), 0x87, 5),
        (Unavailable(), 0x88, 3),
        (QuotaExceeded(), 0x97, 3),
        (RateExceeded(), 0x97, 3),
        (LockgateError(), 0x80, 5),
    ],
)
def test_a_refused_connect_gets_its_code_and_the_connection_ends(error: LockgateError, v5: int, v311: int) -> None:
    hub = Playbook()
    hub.authenticator.refusals["sensor"] = error
    client = hub.link(V5).sends(Connect(V5, "sensor"))
    client.gets(Connack(v5)).is_closed()
    (refusal,) = hub.refusals()
    assert client.reasons == [f"{error.reason} (reference {refusal.reference})"]
    hub.link(V311).sends(Connect(V311, "sensor")).gets(Connack(v311)).is_closed()


def test_an_unknown_version_gets_return_code_1() -> None:
    for level in (3, 6):
        name = b"\x00\x06MQIsdp" if level == 3 else b"\x00\x04MQTT"
        body = name + bytes([level]) + b"\x02\x00\x00\x00\x01a"
        client = Playbook().link(V311).sends_bytes(bytes([0x10, len(body)]) + body)
        client.gets(Connack(1)).is_closed()


def test_a_connect_that_is_no_mqtt_is_closed_without_a_word() -> None:
    Playbook().link().sends_bytes(b"GET / HTTP/1.1\r\n\r\n").is_closed()


def test_a_first_packet_other_than_connect_is_closed_without_a_word() -> None:
    for first in (Pingreq(), Publish(topic_name("a"), b""), Disconnect()):
        Playbook().link(V311).sends(first).is_closed()


def test_a_second_connect_is_a_protocol_error() -> None:
    client = Playbook().client("sensor").sends(Connect(V5, "sensor"))
    client.gets(Disconnect(ReasonCode.PROTOCOL_ERROR)).is_closed()


def test_a_second_connect_of_an_unknown_version_is_one_too() -> None:
    client = Playbook().client("sensor")
    connect = bytearray(wire.encode(Connect(V5, "sensor"), V5))
    connect[8] = 6
    client.sends_bytes(bytes(connect)).gets(Disconnect(ReasonCode.PROTOCOL_ERROR)).is_closed()


def test_a_5_0_client_without_client_id_is_told_the_one_it_got() -> None:
    hub = Playbook()
    answer = hub.link().sends(Connect(V5, "", user_name="sensor")).takes(Connack)
    assert answer.properties.assigned_client_identifier == "sensor/auto-1"
    assert list(hub.hub.sessions) == ["sensor/auto-1"]


def test_a_3_1_1_client_without_client_id_may_only_ask_for_a_clean_session() -> None:
    hub = Playbook()
    hub.link(V311).sends(Connect(V311, "", clean_start=True)).gets(Connack(0))
    hub.link(V311).sends(Connect(V311, "", clean_start=False)).gets(Connack(2)).is_closed()


def test_a_client_that_says_no_connect_in_time_is_closed() -> None:
    hub = Playbook()
    client = hub.link()
    hub.passes(9.9)
    assert not client.wire.is_closed
    hub.passes(0.1)
    client.is_closed()


def test_a_client_that_is_silent_for_one_and_a_half_keep_alives_is_closed() -> None:
    hub = Playbook()
    client = hub.client("sensor", keep_alive_seconds=10)
    old = hub.client("old", V311, keep_alive_seconds=10)
    hub.passes(14.9)
    client.is_open()
    old.is_open()
    hub.passes(14.9)
    client.is_open()
    hub.passes(0.1)
    old.is_closed()
    hub.passes(14.9)
    client.gets(Disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT)).is_closed()


def test_a_keep_alive_of_zero_never_ends() -> None:
    hub = Playbook()
    client = hub.client("sensor", keep_alive_seconds=0)
    hub.passes(1e9)
    client.is_open()


def test_the_hub_may_grant_a_shorter_keep_alive_and_says_so() -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(max_keep_alive_seconds=20)))
    for asked in (0, 21):
        answer = hub.link().sends(Connect(V5, f"s/{asked}", keep_alive_seconds=asked)).takes(Connack)
        assert answer.properties.server_keep_alive == 20
    within = hub.link().sends(Connect(V5, "within", keep_alive_seconds=20)).takes(Connack)
    assert within.properties.server_keep_alive is None
    old = hub.client("old", V311)
    hub.passes(31)
    old.is_open()
    assert set(hub.hub.sessions) == {"old"}


def test_the_connection_ends_when_the_token_does() -> None:
    hub = Playbook()
    hub.authenticator.expires_at["sensor"] = START + 60
    client = hub.client("sensor", properties=Properties(session_expiry_interval=3600))
    hub.passes(59.9)
    client.is_open()
    hub.passes(0.1)
    client.gets(Disconnect(ReasonCode.MAXIMUM_CONNECT_TIME)).is_closed()
    (reason,) = client.reasons
    assert reason == f"credential expired (reference {hub.refusals()[-1].reference})"
    assert "sensor" in hub.hub.sessions, "the session itself waits for a fresh token"
    hub.authenticator.expires_at["sensor"] = START + 120
    again = hub.client("sensor", clean_start=False, is_present=True)
    hub.passes(59)
    again.is_open()
    hub.passes(2)
    again.gets(Disconnect(ReasonCode.MAXIMUM_CONNECT_TIME)).is_closed()


def test_when_the_hub_stops_each_client_is_told() -> None:
    hub = Playbook()
    new, old, silent = hub.client("new"), hub.client("old", V311), hub.link()
    hub.stops()
    new.gets(Disconnect(ReasonCode.SERVER_SHUTTING_DOWN)).is_closed()
    old.is_closed()
    silent.is_closed()
    assert silent.wire.is_aborted


def test_nothing_is_answered_behind_a_disconnect() -> None:
    hub = Playbook()
    client = hub.client("sensor").sends(Disconnect(), Pingreq()).is_closed()
    assert hub.hub.sessions == {}
    client.is_closed()


def test_nothing_is_sent_behind_the_hubs_own_disconnect() -> None:
    hub = Playbook()
    client = hub.subscriber("sensor", "#", 1)
    whole = Publish(topic_name("a"), b"x", 1, packet_id=1)
    client.sends_bytes(wire.encode(whole, V5) + b"\xf1\x00")
    client.gets(Disconnect(ReasonCode.MALFORMED_PACKET)).is_closed()


def test_a_packet_larger_than_the_limit_is_told_before_its_body_comes() -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(max_packet_bytes=2048)))
    client = hub.client("sensor")
    client.sends_bytes(b"\x30\xff\x7f").gets(Disconnect(ReasonCode.PACKET_TOO_LARGE)).is_closed()


def test_a_connect_larger_than_strangers_may_send_is_closed() -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(max_connect_bytes=1024)))
    hub.link().sends(Connect(V5, "sensor", user_name="x" * 2000)).is_closed()


def test_one_session_too_many_is_refused_and_the_present_ones_stay() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_sessions=1)))
    first = hub.client("one")
    hub.link().sends(Connect(V5, "two")).gets(Connack(ReasonCode.QUOTA_EXCEEDED)).is_closed()
    first.is_open()
    hub.client("one")


def test_a_will_on_a_forbidden_topic_is_refused_at_connect() -> None:
    hub = Playbook(rules=())
    refused = Connect(V5, "sensor", will=WillPacket("devices/other/gone", b""))
    hub.link().sends(refused).gets(Connack(ReasonCode.NOT_AUTHORIZED)).is_closed()
    assert hub.hub.sessions == {}
    hub.link().sends(Connect(V5, "sensor", will=WillPacket("devices/sensor/gone", b""))).takes(Connack)


def test_a_lab_client_gets_a_session_of_its_own() -> None:
    hub = Playbook()
    device = hub.client("sensor")
    hub.link(is_lab=True).sends(Connect(V5, "sensor")).takes(Connack)
    assert set(hub.hub.sessions) == {"sensor", "lab/sensor"}
    device.is_open()


def test_a_lab_client_without_a_name_is_told_one_that_finds_its_session_again() -> None:
    hub = Playbook()
    first = hub.link(is_lab=True).sends(Connect(V5, "", properties=Properties(session_expiry_interval=60)))
    name = first.takes(Connack).properties.assigned_client_identifier
    assert name
    assert set(hub.hub.sessions) == {f"lab/{name}"}
    again = hub.link(is_lab=True).sends(Connect(V5, name, clean_start=False))
    assert again.takes(Connack).session_present


def test_a_host_name_that_the_certificate_lacks_is_noted() -> None:
    hub = Playbook()
    client = hub.link()
    client.wire.server_name, client.wire.is_name_covered = "hub.example", False
    client.handler.connection_made(client.wire)
    (refusal,) = hub.refusals()
    assert refusal.fix == "lockgate server-cert add-name hub.example"


def test_an_unexpected_error_is_logged_with_a_reference_and_ends_only_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Playbook()
    other, victim, old = hub.client("other"), hub.client("victim"), hub.client("old", V311)

    def break_down(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(hub.store, "keep_retained", break_down)
    victim.publishes("a", retain=True).gets(Disconnect(ReasonCode.UNSPECIFIED_ERROR)).is_closed()
    (refusal,) = hub.refusals()
    assert victim.reasons == [f"unspecified error (reference {refusal.reference})"]
    old.publishes("a", retain=True).is_closed()
    other.is_open()
    monkeypatch.setattr(hub.authenticator, "authenticate", break_down)
    hub.link().sends(Connect(V5, "x")).gets(Connack(ReasonCode.UNSPECIFIED_ERROR)).is_closed()
    hub.authenticator.is_slow_for.add("y")
    slow = hub.link().sends(Connect(V5, "y"))
    hub.loop.do_work()
    slow.gets(Connack(ReasonCode.UNSPECIFIED_ERROR)).is_closed()


def test_a_disconnect_may_change_how_long_the_session_waits() -> None:
    hub = Playbook()
    properties = Properties(session_expiry_interval=100)
    hub.client("sensor", properties=properties).sends(Disconnect(0, Properties(session_expiry_interval=10))).is_closed()
    hub.passes(9)
    assert "sensor" in hub.hub.sessions
    hub.passes(1)
    assert "sensor" not in hub.hub.sessions


def test_a_session_that_was_to_end_with_the_connection_cannot_be_kept_by_disconnect() -> None:
    hub = Playbook()
    client = hub.client("sensor").sends(Disconnect(0, Properties(session_expiry_interval=10)))
    client.gets(Disconnect(ReasonCode.PROTOCOL_ERROR)).is_closed()
    assert hub.hub.sessions == {}


def test_a_client_that_asks_for_no_reasons_gets_none_but_in_connack_and_disconnect() -> None:
    hub = Playbook(rules=())
    terse = Properties(request_problem_information=0)
    client = hub.client("sensor", properties=terse)
    client.publishes("a", qos=1).gets(Puback(1, ReasonCode.NOT_AUTHORIZED))
    client.subscribes(SubscriptionRequest("a")).gets(Suback(1, (ReasonCode.NOT_AUTHORIZED,)))
    assert client.reasons == []
    client.sends(Connect(V5, "sensor")).gets(Disconnect(ReasonCode.PROTOCOL_ERROR)).is_closed()
    assert client.reasons != []


def test_a_password_never_stands_in_what_is_noted() -> None:
    hub = Playbook()
    hub.authenticator.refusals["sensor"] = AuthenticationFailed()
    hub.link().sends(Connect(V5, "sensor", user_name="sensor", password=b"hunter2")).takes(Connack)
    assert "hunter2" not in str(hub.refusals())
    assert "hunter2" not in repr(Connect(V5, "sensor", password=b"hunter2", properties=NO_PROPERTIES))


def test_who_asks_for_it_is_told_a_topic_for_responses_that_it_may_use() -> None:
    hub = Playbook(rules=())
    client = hub.link().sends(Connect(V5, "sensor", properties=Properties(request_response_information=1)))
    topic = client.takes(Connack).properties.response_information
    assert topic == "devices/sensor/response"
    client.subscribes(SubscriptionRequest(f"{topic}/#")).gets(Suback(1, (0,)))
    not_asked = hub.link().sends(Connect(V5, "other", properties=Properties(request_response_information=0)))
    assert not_asked.takes(Connack).properties.response_information is None


def test_a_will_that_is_not_the_text_it_is_said_to_be_is_refused() -> None:
    will = WillPacket("a", b"\xff", properties=Properties(payload_format_indicator=1))
    client = Playbook().link().sends(Connect(V5, "sensor", will=will))
    client.gets(Connack(ReasonCode.PAYLOAD_FORMAT_INVALID)).is_closed()


# Another server


REFERENCE = Settings(mqtt=MqttSettings(server_reference="other.example:8883"), hub=HubSettings(max_sessions=1))
OTHER = Properties(server_reference="other.example:8883")


def test_a_hub_that_stops_sends_5_0_clients_to_the_other_one() -> None:
    hub = Playbook(REFERENCE)
    client = hub.client("sensor")
    hub.stops()
    client.gets(Disconnect(ReasonCode.USE_ANOTHER_SERVER, OTHER)).is_closed()


@pytest.mark.parametrize(
    ("version", "answer"), [(V5, Connack(ReasonCode.USE_ANOTHER_SERVER, False, OTHER)), (V311, Connack(3))]
)
def test_a_hub_that_is_full_sends_5_0_clients_to_the_other_one(version: int, answer: Connack) -> None:
    hub = Playbook(REFERENCE)
    hub.client("sensor")
    hub.link(version).sends(Connect(version, "one-too-many")).gets(answer).is_closed()


def test_a_client_with_a_wrong_credential_is_not_sent_elsewhere() -> None:
    hub = Playbook(REFERENCE)
    hub.authenticator.refusals["sensor"] = AuthenticationFailed()
    hub.link().sends(Connect(V5, "sensor")).gets(Connack(ReasonCode.BAD_USER_NAME_OR_PASSWORD)).is_closed()


def test_a_client_that_takes_no_connack_as_large_as_it_must_be_is_refused() -> None:
    client = Playbook().link().sends(Connect(V5, "sensor", properties=Properties(maximum_packet_size=10)))
    client.gets(Connack(ReasonCode.PACKET_TOO_LARGE)).is_closed()


def test_who_is_shut_out_while_it_does_not_read_hears_no_more_of_what_waits_to_be_sent() -> None:
    hub = Playbook()
    for client_id, unsent in (("slow", 100_000), ("quick", 10)):
        client = hub.client(client_id)
        client.wire.unsent_bytes = unsent
        client.handler.shut_out(ShutOut("blocked", reason="device blocked"))
        hub.loop.run()
        assert client.wire.is_aborted is (client_id == "slow")
        assert [type(packet) for packet in client.packets()] == ([] if client_id == "slow" else [Disconnect])
