"""Whether a connection is read: rates, unfinished packets and back-pressure, by the door's own conversations."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Connack, Connect, Disconnect, Pingreq, Publish, ReasonCode
from lockgate.model.topic import topic_name
from lockgate.settings import HubSettings, MqttSettings, Settings
from tests.support.playbook import Client, Playbook

SLOW = HubSettings(max_messages_per_second=10, rate_burst_seconds=2)


def flood(client: Client, count: int, payload: bytes = b"x") -> Client:
    return client.sends(*[Publish(topic_name("a"), payload)] * count)


def test_a_device_that_floods_is_read_no_further_until_its_rate_allows_and_loses_nothing() -> None:
    hub = Playbook(Settings(hub=SLOW))
    office = hub.subscriber("office")
    sensor = hub.client("sensor")
    flood(sensor, 50)
    assert len(office.packets()) == 50, "what has come is served"
    assert not sensor.wire.is_reading
    hub.passes(2.9)
    assert not sensor.wire.is_reading
    hub.passes(0.2)
    assert sensor.wire.is_reading
    flood(sensor, 1)
    assert len(office.packets()) == 1


def test_another_device_is_served_meanwhile_and_another_connection_of_the_same_is_slowed() -> None:
    hub = Playbook(Settings(hub=SLOW))
    twin = hub.client("sensor/twin")
    other = hub.client("camera")
    flood(hub.client("sensor"), 50)
    flood(other, 1)
    assert other.wire.is_reading
    flood(twin, 1)
    assert not twin.wire.is_reading


def test_a_flood_is_noted_once_with_the_limit_and_what_mends_it() -> None:
    hub = Playbook(Settings(hub=SLOW))
    sensor = hub.client("sensor")
    for _ in range(5):
        flood(sensor, 50)
        hub.passes(10)
    (refusal,) = hub.refusals()
    assert (refusal.reason, refusal.device, refusal.count) == ("rate exceeded", "sensor", 1)
    assert "10 messages per second" in refusal.message
    assert "hub.max_messages_per_second" in refusal.fix
    assert hub.journal.refused_by_reason["rate exceeded"] == 1


def test_the_connection_ends_when_the_settings_say_so() -> None:
    slow = HubSettings(max_messages_per_second=10, rate_burst_seconds=2, on_exceeded_rate="disconnect")
    hub = Playbook(Settings(hub=slow))
    sensor = flood(hub.client("sensor"), 21)
    sensor.gets(Disconnect(ReasonCode.MESSAGE_RATE_TOO_HIGH)).is_closed()
    assert hub.refusals()[0].reason == "rate exceeded"
    again = hub.link().sends(Connect(V5, "sensor"))
    assert [type(packet) for packet in again.packets()] == [Connack, Disconnect], "it owes time still"
    hub.passes(3)
    hub.client("sensor").is_open()


def test_bytes_are_limited_too_and_pings_count_as_messages() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_bytes_per_second=1000, rate_burst_seconds=2)))
    sensor = flood(hub.client("sensor"), 1, bytes(3000))
    assert not sensor.wire.is_reading
    pinging = Playbook(Settings(hub=SLOW)).client("sensor").sends(*[Pingreq()] * 21)
    assert not pinging.wire.is_reading


def test_who_is_slowed_does_not_run_into_its_keep_alive() -> None:
    hub = Playbook(Settings(hub=SLOW))
    sensor = flood(hub.client("sensor", keep_alive_seconds=2), 100)
    for _ in range(79):
        hub.passes(0.1)
    assert not sensor.wire.is_reading
    for _ in range(2):
        hub.passes(0.1)
    assert sensor.wire.is_reading
    hub.passes(2.9)
    sensor.is_open()
    hub.passes(3.1)
    sensor.gets(Disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT)).is_closed()


@pytest.mark.parametrize("keep_alive", [0, 60_000])
def test_a_packet_that_comes_byte_by_byte_is_broken_off_at_its_deadline(keep_alive: int) -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(packet_deadline_seconds=100)))
    sensor = hub.client("sensor", keep_alive_seconds=keep_alive)
    data = wire.encode(Publish(topic_name("a"), bytes(1000)), V5)
    for byte in data[:3]:
        sensor.sends_bytes(bytes([byte]))
        hub.passes(31)
    assert not sensor.wire.is_closed
    sensor.sends_bytes(data[3:4])
    hub.passes(31)
    assert sensor.wire.is_closed
    assert [refusal.reason for refusal in hub.refusals()] == ["packet not finished"]


def test_one_byte_a_minute_does_not_outlast_the_keep_alive() -> None:
    hub = Playbook()
    sensor = hub.client("sensor", keep_alive_seconds=60)
    for byte in wire.encode(Publish(topic_name("a"), bytes(1000)), V5)[:2]:
        sensor.sends_bytes(bytes([byte]))
        hub.passes(60)
    sensor.gets(Disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT)).is_closed()


def test_half_packets_of_all_clients_together_are_bounded_and_the_first_begun_goes() -> None:
    hub = Playbook(Settings(mqtt=MqttSettings(max_partial_bytes=100_000)))
    data = wire.encode(Publish(topic_name("a"), bytes(50_000)), V5)
    clients = [hub.client(f"sensor-{number}") for number in range(4)]
    for client in clients:
        client.sends_bytes(data[:40_000])
    clients[0].gets(Disconnect(ReasonCode.QUOTA_EXCEEDED)).is_closed()
    clients[1].gets(Disconnect(ReasonCode.QUOTA_EXCEEDED)).is_closed()
    assert hub.door.intakes.partials.bytes == 80_000
    for client in clients[2:]:
        client.sends_bytes(data[40_000:]).is_open()
    assert hub.door.intakes.partials.bytes == 0
    assert {refusal.reason for refusal in hub.refusals()} == {"too many unfinished packets"}


def test_a_connection_that_is_gone_holds_nothing() -> None:
    hub = Playbook()
    hub.client("sensor").sends_bytes(wire.encode(Publish(topic_name("a"), bytes(100)), V5)[:50]).is_cut()
    assert hub.door.intakes.partials.bytes == 0
