"""The walk of one message: through each room once, in the one order, and no way round.

sensor -> server -> protocol -> mapping -> hub (policy, retained, trie, session) -> mapping -> protocol -> office
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import lockgate
from lockgate.adapters.coap import mapping as coap_mapping
from lockgate.adapters.coap.messages import Code
from lockgate.adapters.coap.observing import Observer
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.adapters.coap.server import CoapConnection
from lockgate.adapters.mqtt import mapping
from lockgate.adapters.mqtt.packets import V5, V311, Puback, WillPacket
from lockgate.adapters.mqtt.protocol import MqttProtocol
from lockgate.adapters.mqtt.sender import Sender
from lockgate.adapters.mqtt.server import MqttConnection
from lockgate.adapters.mqtt.writing import Writing
from lockgate.errors import NotAuthorized
from lockgate.hub.hub import Hub
from lockgate.hub.retained import Retained
from lockgate.hub.session import Session
from lockgate.hub.trie import Trie
from lockgate.model.message import Message
from lockgate.model.permission import Operation
from lockgate.model.topic import TopicName
from lockgate.policy import Decision, Grant, PolicyEngine
from tests.support.coap_book import CoapBook, FakeDatagramLink
from tests.support.fakes import FakeLink, principal
from tests.support.playbook import Playbook

SOURCE = Path(lockgate.__file__).parent

ROOMS: list[tuple[Any, str]] = [
    (MqttConnection, "data_received"),
    (MqttProtocol, "receive_data"),
    (mapping, "to_message"),
    (Hub, "publish"),
    (PolicyEngine, "authorize"),
    (Retained, "keep"),
    (Trie, "match"),
    (Session, "deliver"),
    (Sender, "send"),
    (Writing, "packet"),
    (MqttProtocol, "put"),
    (FakeLink, "write"),
    (CoapConnection, "datagram_received"),
    (CoapProtocol, "receive_datagram"),
    (coap_mapping, "said_by"),
    (coap_mapping, "to_message"),
    (coap_mapping, "representation"),
    (Observer, "send"),
    (CoapProtocol, "notify"),
    (CoapProtocol, "respond"),
    (FakeDatagramLink, "send"),
]


class Walk:
    """Notes each room as it is entered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        for owner, name in ROOMS:
            monkeypatch.setattr(owner, name, self._noted(getattr(owner, name)))

    def _noted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def spy(*args: Any, **kwargs: Any) -> Any:
            operation = [word.value for word in args if isinstance(word, Operation)]
            self.steps.append(" ".join([function.__qualname__, *operation]))
            return function(*args, **kwargs)

        return spy


@pytest.mark.parametrize("version", [V5, V311])
def test_a_message_passes_each_room_once_and_in_order(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Playbook()
    office, sensor = hub.subscriber("office", "a/#", version=version), hub.client("sensor", version)
    walk = Walk(monkeypatch)
    sensor.publishes("a/b", retain=True)
    office.gets_publish("a/b")
    assert walk.steps == [
        "MqttConnection.data_received",
        "MqttProtocol.receive_data",
        "to_message",
        "Hub.publish",
        "PolicyEngine.authorize publish",
        "Retained.keep",
        "Trie.match",
        "PolicyEngine.authorize receive",
        "Session.deliver",
        "Sender.send",
        "Writing.packet",
        "MqttProtocol.put",
        "FakeLink.write",
    ]


def test_a_topic_seen_before_takes_the_same_way_with_a_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Playbook()
    office, sensor = hub.subscriber("office", "a/#"), hub.client("sensor").publishes("a/b")
    walk = Walk(monkeypatch)
    sensor.publishes("a/b")
    assert walk.steps == [
        "MqttConnection.data_received",
        "MqttProtocol.receive_data",
        "to_message",
        "Hub.publish",
        "Session.deliver",
        "Sender.send",
        "Writing.packet",
        "MqttProtocol.put",
        "FakeLink.write",
    ]
    hub.rules.change(*hub.rules.rules)
    walk.steps.clear()
    sensor.publishes("a/b")
    assert walk.steps[4:7] == ["PolicyEngine.authorize publish", "Trie.match", "PolicyEngine.authorize receive"]
    assert len(office.packets()) == 3


def test_a_message_crosses_from_mqtt_to_coap(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = CoapBook()
    phone, sensor = hub.device("phone"), hub.client("sensor")
    phone.observes("a/b")
    walk = Walk(monkeypatch)
    sensor.publishes("a/b", retain=True)
    phone.gets(b"x")
    assert walk.steps == [
        "MqttConnection.data_received",
        "MqttProtocol.receive_data",
        "to_message",
        "Hub.publish",
        "PolicyEngine.authorize publish",
        "Retained.keep",
        "Trie.match",
        "PolicyEngine.authorize receive",
        "Session.deliver",
        "Observer.send",
        "representation",
        "CoapProtocol.notify",
        "FakeDatagramLink.send",
    ]


def test_a_message_crosses_from_coap_to_mqtt(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = CoapBook()
    sensor, office = hub.device("sensor"), hub.subscriber("office", "a/#")
    walk = Walk(monkeypatch)
    assert sensor.asks(Code.POST, "a/b", b"x").code == Code.CHANGED
    office.gets_publish("a/b")
    assert walk.steps == [
        "CoapConnection.datagram_received",
        "CoapProtocol.receive_datagram",
        "said_by",
        "to_message",
        "Hub.publish",
        "PolicyEngine.authorize publish",
        "Trie.match",
        "PolicyEngine.authorize receive",
        "Session.deliver",
        "Sender.send",
        "Writing.packet",
        "MqttProtocol.put",
        "CoapProtocol.respond",
        "FakeDatagramLink.send",
        "FakeLink.write",
    ]


def test_a_refused_message_goes_no_further_than_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Playbook(rules=())
    sensor = hub.client("sensor")
    walk = Walk(monkeypatch)
    sensor.publishes("elsewhere", qos=1, retain=True).gets(Puback(1, 0x87))
    assert walk.steps == [
        "MqttConnection.data_received",
        "MqttProtocol.receive_data",
        "to_message",
        "Hub.publish",
        "PolicyEngine.authorize publish",
        "FakeLink.write",
    ]


def test_a_will_takes_the_same_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Playbook()
    hub.subscriber("office", "gone")
    sensor = hub.client("sensor", will=WillPacket("gone", b"w"))
    walk = Walk(monkeypatch)
    sensor.is_cut()
    assert walk.steps[:3] == ["Hub.publish", "PolicyEngine.authorize publish", "Trie.match"]


def test_without_a_grant_the_hub_publishes_nothing_even_if_policy_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Playbook()
    office = hub.subscriber("office", "#")
    for answer in (None, True, object(), NotAuthorized()):
        monkeypatch.setattr(PolicyEngine, "authorize", lambda *_, answer=answer: answer)
        outcome = hub.hub.publish(principal("sensor"), Message(TopicName("a"), b"x", retain=True))
        assert outcome is answer
    hub.loop.run()
    office.gets_nothing()
    assert hub.store.retained == {}


def test_a_decision_is_no_yes_and_a_grant_cannot_be_widened() -> None:
    decision = Decision(True, principal("sensor"), Operation.PUBLISH, "a", "x")
    with pytest.raises(TypeError):
        bool(decision)
    grant = Grant(decision, 1, False, 0b11, 9, 0.0, "sensor", True, True)
    with pytest.raises(AttributeError):
        grant.max_qos = 2  # type: ignore[misc]
    assert isinstance(grant, msgspec.Struct)


def calls(name: str) -> set[str]:
    """Give the files of lockgate that call something of this name."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                function = node.func
                called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                if called == name:
                    found.add(path.relative_to(SOURCE).as_posix())
    return found


@pytest.mark.parametrize(
    ("name", "rooms"),
    [
        ("Grant", {"policy/engine.py"}),
        ("deliver", {"hub/hub.py", "hub/replays.py"}),
        ("enqueue", {"hub/session.py"}),
        ("keep_retained", {"hub/hub.py"}),
        ("Target", {"hub/routes.py"}),
        ("Retained", {"hub/hub.py"}),
        ("Trie", {"hub/hub.py"}),
    ],
)
def test_each_step_is_taken_in_one_room_only(name: str, rooms: set[str]) -> None:
    assert calls(name) == rooms
