"""A device without a network: what it is made of, what it shows, and what its callbacks do with the hub's answers."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lockgate.client import Device
from lockgate.client.device import MAX_WAITING, _without_share
from lockgate.errors import (
    InvalidSettings,
    NotAuthorized,
    PayloadTooLarge,
    TopicFilterInvalid,
    TopicNameInvalid,
    Unavailable,
)
from lockgate.model.device import CredentialKind
from lockgate.model.message import Message
from lockgate.model.topic import TopicName
from lockgate.pki.authority import Authority
from lockgate.provision.bundle import make_bundle
from lockgate.provision.folder import HubAddress

NOW = datetime.now(UTC).timestamp()
ROOT = Authority.create_root(now=NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    hub = HubAddress("hub.local", 8883)
    make_bundle(CredentialKind.JWT_ES256, "sensor-1", out, hub, None, ROOT.certificate_pem(), "lockgate", NOW)
    return out


@pytest.fixture
def device(folder: Path) -> Device:
    return Device.open(folder, timeout_seconds=0)


def _connack(**values: Any) -> Properties:
    properties = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _accept(device: Device, **values: Any) -> None:
    code = ReasonCode(PacketTypes.CONNACK, "Success")
    device._on_connect(device._client, None, paho.ConnectFlags(False), code, _connack(**values))


def _message(topic: str, qos: int = 1, mid: int = 5) -> paho.MQTTMessage:
    message = paho.MQTTMessage(mid, topic.encode())
    message.payload, message.qos = b"21.5", qos
    return message


def _work_off(device: Device) -> None:
    device._received.put(None)
    device._run_callbacks()


def test_the_client_id_is_the_name_or_the_name_and_a_suffix(folder: Path) -> None:
    assert Device.open(folder).client_id == "sensor-1"
    assert Device.open(str(folder), "office").client_id == "sensor-1/office"


def test_repr_shows_who_and_where_and_no_secret(device: Device) -> None:
    assert repr(device) == "Device('sensor-1', 'hub.local', 8883)"


def test_publishing_takes_at_most_ten_lines() -> None:
    example = inspect.getdoc(Device) or ""
    lines = [line for line in example.partition("Example:")[2].partition("All methods")[0].splitlines() if line.strip()]
    compile("\n".join(line.removeprefix("    ") for line in lines), "example", "exec")
    assert 0 < len(lines) <= 10


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"holds no device\.json"):
        Device.open(tmp_path)


def test_the_will_is_handed_to_the_hub(folder: Path) -> None:
    device = Device.open(folder, will=Message(TopicName("devices/sensor-1/lost"), b"gone", 1, True))
    assert device._client.will_topic == "devices/sensor-1/lost"
    assert device._client.will_payload == b"gone"


def test_every_attempt_to_connect_signs_a_fresh_token(device: Device) -> None:
    device._on_pre_connect(device._client, None)
    first = device._client.password
    device._on_pre_connect(device._client, None)
    assert device._client.username == "sensor-1"
    assert first is not None
    assert device._client.password != first  # an ECDSA signature holds a random number


def test_a_key_that_went_away_ends_the_first_attempt_but_not_a_later_one(device: Device, folder: Path) -> None:
    device._on_pre_connect(device._client, None)
    last = device._client.password
    (folder / "device.key").unlink()
    with pytest.raises(InvalidSettings, match=r"holds no device\.key"):
        device._on_pre_connect(device._client, None)
    _accept(device)
    device._on_pre_connect(device._client, None)
    assert device._client.password == last


def test_a_refused_connection_carries_the_hubs_reason(device: Device) -> None:
    code = ReasonCode(PacketTypes.CONNACK, "Not authorized")
    device._on_connect(device._client, None, paho.ConnectFlags(False), code, _connack(ReasonString="device blocked"))
    assert isinstance(device._refusal, NotAuthorized)
    assert device._refusal.reason == "device blocked"
    assert not device._settled.is_set()  # the network thread still ends


def test_a_connection_lost_before_the_answer_is_a_refusal_too(device: Device) -> None:
    code = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
    device._on_disconnect(device._client, None, paho.DisconnectFlags(False), code, None)
    assert isinstance(device._refusal, Unavailable)
    assert device._settled.is_set()


def test_topics_and_filters_are_checked_before_anything_is_sent(device: Device) -> None:
    with pytest.raises(TopicNameInvalid):
        device.publish("devices/+/x", b"")
    with pytest.raises(TopicFilterInvalid):
        device.subscribe("devices/#/x", print)


def test_a_message_larger_than_the_hub_takes_is_not_sent(device: Device) -> None:
    _accept(device, MaximumPacketSize=100)
    with pytest.raises(PayloadTooLarge, match="makes a packet of 111 bytes, the hub takes 100"):
        device.publish("t", b"x" * 100)


def test_what_cannot_be_sent_is_unavailable(device: Device) -> None:
    for qos in (0, 1, 2):
        with pytest.raises(Unavailable):
            device.publish("devices/sensor-1/x", b"", qos=qos)
    with pytest.raises(Unavailable):
        device.subscribe("devices/sensor-1/x", print)
    with pytest.raises(Unavailable, match="is not connected"):
        _ = device.protection
    assert not device.is_connected
    assert not device._subscriptions  # what failed is not tried again


def test_a_message_reaches_each_callback_whose_filter_takes_it_in(device: Device) -> None:
    seen: list[tuple[str, Message]] = []

    def noting(wanted: str) -> Callable[[Message], None]:
        return lambda message: seen.append((wanted, message))

    for wanted in ("devices/+/x", "$share/group/devices/#", "other"):
        device._subscriptions[wanted] = (1, noting(wanted))
    device._on_message(device._client, None, _message("devices/sensor-1/x"))
    _work_off(device)
    message = Message(TopicName("devices/sensor-1/x"), b"21.5", 1)
    assert seen == [("devices/+/x", message), ("$share/group/devices/#", message)]


def test_a_message_is_acknowledged_after_its_callback_even_a_failing_one(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[object] = []

    def fail(message: Message) -> None:
        steps.append("called")
        raise ValueError("a bug of the user's")

    monkeypatch.setattr(device._client, "ack", lambda mid, qos: steps.append((mid, qos)))
    device._subscriptions["#"] = (1, fail)
    device._on_message(device._client, None, _message("t", qos=1, mid=9))
    _work_off(device)
    assert steps == ["called", (9, 1)]


def test_a_message_of_an_earlier_connection_is_not_acknowledged_on_the_next(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged: list[int] = []
    monkeypatch.setattr(device._client, "ack", lambda mid, qos: acknowledged.append(mid))
    device._on_message(device._client, None, _message("t", mid=9))
    code = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
    device._on_disconnect(device._client, None, paho.DisconnectFlags(False), code, None)
    device._on_message(device._client, None, _message("t", mid=10))
    _work_off(device)
    assert acknowledged == [10]


def test_messages_of_qos_0_beyond_the_bound_are_dropped_and_others_never(device: Device) -> None:
    for _ in range(MAX_WAITING + 5):
        device._on_message(device._client, None, _message("t", qos=0))
    device._on_message(device._client, None, _message("t", qos=1))
    assert device._received.qsize() == MAX_WAITING + 1


def test_a_new_connection_without_a_session_subscribes_again(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def subscribe(wanted: str, qos: int) -> tuple[int, int]:
        asked.append((wanted, qos))
        return 0, len(asked)

    monkeypatch.setattr(device._client, "subscribe", subscribe)
    device._subscriptions["a/#"] = (1, print)
    device._subscriptions["b"] = (0, print)
    _accept(device)
    assert asked == [("a/#", 1), ("b", 0)]
    device._on_connect(
        device._client, None, paho.ConnectFlags(True), ReasonCode(PacketTypes.CONNACK, "Success"), _connack()
    )
    assert len(asked) == 2


def test_closing_twice_or_unconnected_does_no_harm_and_leaves_no_thread(device: Device) -> None:
    before = threading.active_count()
    device.close()
    device.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("wanted", "part"), [("a/b", "a/b"), ("$share/g/a/#", "a/#"), ("$share/g", "$share/g")])
def test_a_shared_subscription_matches_by_its_own_filter(wanted: str, part: str) -> None:
    assert _without_share(wanted) == part
