"""The door and all behind it against a small model: connect, subscribe, publish, settle, time, loss, crash."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lockgate.adapters.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    WillPacket,
)
from lockgate.model.permission import Operation, Rule
from lockgate.model.topic import TopicName
from lockgate.settings import HubSettings, Settings
from tests.fuzz.model import Item, Model, Sub
from tests.support.playbook import Client, Playbook

WINDOW = 3
RULES = tuple(Rule("everyone", operation, tree) for operation in Operation for tree in ("#", "$own/#"))
NAMES = ("ann", "bob", "cyd")
WILL_OWNER = "ann"
names = st.sampled_from(NAMES)
topics = st.sampled_from(("a", "a/b", "a/b/c", "$own/a", "will"))
filters = st.sampled_from(("a", "a/#", "a/+", "+/b", "#", "$own/#", "+", "will"))
levels = st.integers(0, 2)


class Hub(RuleBasedStateMachine):
    """Does the same to a hub and to the model, and compares what each client sees."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Playbook(Settings(hub=HubSettings(max_in_flight=WINDOW)), RULES)
        self.model = Model(WINDOW)
        self.clients: dict[str, Client] = {}
        self.owed: dict[str, list[Packet]] = {name: [] for name in NAMES}
        """Packets by which a client would settle what it got."""
        self.sent: dict[str, dict[int, Publish]] = {name: {} for name in NAMES}
        """QoS 2 messages that a client sent and has not released."""
        self.count = 0
        self.has_crashed = False

    @initialize()
    def begin(self) -> None:
        for name, topic_filter in zip(NAMES, ("a/#", "a/+", "#"), strict=True):
            self.connect(name, True, 100.0, False)
            self.subscribe(name, topic_filter, 2, False, False)

    @rule(name=names, is_clean=st.booleans(), expiry=st.sampled_from((0.0, 20.0, 100.0)), has_will=st.booleans())
    def connect(self, name: str, is_clean: bool, expiry: float, has_will: bool) -> None:
        will = WillPacket("will", b"gone", 1) if has_will and name == WILL_OWNER else None
        old = self.clients.get(name)
        is_present = self.model.connect(name, is_clean, expiry, Item("will", b"gone", 1) if will else None)
        client = self.clients[name] = self.hub.link()
        properties = Properties(session_expiry_interval=int(expiry))
        client.sends(Connect(5, name, is_clean, will=will, properties=properties))
        if old is not None:
            assert [p.code for p in old.packets() if isinstance(p, Disconnect)] == [0x8E]
            assert old.wire.is_closed
        connack, *rest = client.packets()
        assert isinstance(connack, Connack)
        assert (connack.code, connack.session_present) == (0, is_present)
        self.owed[name] = []
        if not is_present:
            self.sent[name] = {}
        session = self.model.sessions[name]
        for tag, item in session.flying.items():
            packet = rest.pop(0)
            if tag in session.released:
                assert packet == Pubrel(tag)
                self.owed[name].append(Pubcomp(tag))
            else:
                assert isinstance(packet, Publish)
                assert (packet.topic, packet.payload, packet.packet_id) == (item.topic, item.payload, tag)
                assert packet.dup, "it may have had it before"
                self.owed[name].append(Puback(tag) if item.qos == 1 else Pubrec(tag))
        self.see(name, rest)

    @rule(name=names, is_clean=st.booleans())
    def leave(self, name: str, is_clean: bool) -> None:
        client = self.clients.pop(name, None)
        if client is None:
            return
        if is_clean:
            client.sends(Disconnect())
            assert client.wire.is_closed
            client.ends()
        else:
            client.is_cut()
        self.model.lose(name, is_clean)

    @rule(name=names, topic_filter=filters, qos=levels, no_local=st.booleans(), keeps=st.booleans())
    def subscribe(self, name: str, topic_filter: str, qos: int, no_local: bool, keeps: bool) -> None:
        client = self.there(name)
        client.sends(Subscribe(99, (SubscriptionRequest(topic_filter, qos, no_local, keeps),)))
        self.model.subscribe(name, topic_filter, Sub(qos, no_local, keeps))
        self.see(name, client.packets(), Suback(99, (qos,)))

    def there(self, name: str) -> Client:
        """Give a client; one that is away comes back first."""
        if name not in self.clients:
            self.connect(name, False, 100.0, False)
        return self.clients[name]

    @rule(name=names, topic_filter=filters)
    def unsubscribe(self, name: str, topic_filter: str) -> None:
        client = self.clients.get(name)
        if client is not None:
            client.sends(Unsubscribe(98, (topic_filter,)))
            was_there = self.model.sessions[name].subs.pop(topic_filter, None) is not None
            self.see(name, client.packets(), Unsuback(98, (0 if was_there else 0x11,)))

    @rule(name=names, topic=topics, qos=levels, retain=st.booleans(), is_empty=st.booleans(), expires=st.booleans())
    def publish(self, name: str, topic: str, qos: int, retain: bool, is_empty: bool, expires: bool) -> None:
        client = self.there(name)
        self.count += 1
        qos = 1 if retain else qos  # bursts of retained messages are of one QoS: their order is open
        payload = b"" if is_empty and retain else b"%d" % self.count
        tag = self.count % 60_000 + 1 if qos else 0
        properties = Properties(message_expiry_interval=10) if expires else Properties()
        packet = Publish(TopicName(topic), payload, qos, retain, packet_id=tag, properties=properties)
        client.sends(packet)
        expires_at = self.model.now + 10 if expires else None
        heard = self.model.publish(name, Item(topic, payload, qos, retain, expires_at))
        code = 0 if heard else 0x10
        answers: list[Packet] = [[], [Puback(tag, code)], [Pubrec(tag, code)]][qos]  # type: ignore[assignment]
        if qos == 2:
            self.sent[name][tag] = packet
            self.model.sessions[name].received.add(tag)
        self.see(name, client.packets(), *answers)

    @rule(name=names, choice=st.randoms(use_true_random=False))
    def repeat_or_release(self, name: str, choice: Any) -> None:
        if not self.sent[name]:
            return
        client = self.there(name)
        if not self.sent[name]:
            return  # its session was gone
        tag = choice.choice(list(self.sent[name]))
        received = self.model.sessions[name].received
        if choice.random() < 0.3 and tag in received:
            again = self.sent[name][tag]
            client.sends(Publish(again.topic, again.payload, 2, again.retain, True, tag, again.properties))
            self.see(name, client.packets(), Pubrec(tag))
            return
        del self.sent[name][tag]
        code = 0 if tag in received else 0x92
        received.discard(tag)
        client.sends(Pubrel(tag))
        self.see(name, client.packets(), Pubcomp(tag, code))

    @rule(name=names, many=st.booleans())
    def settle(self, name: str, many: bool) -> None:
        client = self.there(name)
        for _ in range(len(self.owed[name]) if many else 1):
            if not self.owed[name]:
                return
            packet = self.owed[name].pop(0)
            session = self.model.sessions[name]
            answers: list[Packet] = []
            assert isinstance(packet, Puback | Pubrec | Pubcomp)
            tag = packet.packet_id
            if isinstance(packet, Pubrec):
                session.released.add(tag)
                answers.append(Pubrel(tag))
                self.owed[name].append(Pubcomp(tag))
            else:
                del session.flying[tag]
                session.released.discard(tag)
            client.sends(packet)
            self.see(name, client.packets(), *answers)

    @rule(seconds=st.sampled_from((5.0, 10.0, 30.0)))
    def pass_time(self, seconds: float) -> None:
        self.hub.passes(seconds)
        self.model.pass_time(seconds)
        for name in NAMES:
            if name not in self.model.sessions:
                self.sent[name] = {}

    @precondition(lambda self: self.count > 3)
    @rule()
    def crash(self) -> None:
        self.hub = self.hub.restarts()
        self.clients = {}
        self.model.crash()
        self.has_crashed = True

    @invariant()
    def everybody_has_seen_what_the_model_says(self) -> None:
        for name, client in self.clients.items():
            assert not client.wire.is_closed
            client.sends(Pingreq())  # whatever comes makes the hub look: what expired may have made room
            self.see(name, client.packets(), Pingresp())
        assert set(self.hub.hub.sessions) == set(self.model.sessions)
        assert {refusal.reason for refusal in self.hub.refusals()} <= {"session taken over"}

    def see(self, name: str, packets: list[Packet], *answers: Packet) -> None:
        """Compare what a client got with what the model says it gets: answers in order, messages in order."""
        messages = [packet for packet in packets if isinstance(packet, Publish)]
        assert [packet for packet in packets if not isinstance(packet, Publish)] == list(answers)
        session = self.model.sessions[name]
        for packet in messages:
            seen = (packet.topic, packet.payload, packet.qos, packet.retain)
            allowed = self.model.next_items(name)
            item = next((i for i in allowed if (i.topic, i.payload, i.qos, i.retain) == seen), None)
            assert item is not None, f"{name} got {packet}, not one of {allowed}"
            session.queue.remove(item)
            if item.expires_at is not None:
                assert packet.properties.message_expiry_interval == max(1, round(item.expires_at - self.model.now))
            if item.qos:
                tag = packet.packet_id
                assert tag not in session.flying
                assert item.tag in (0, tag), "what was in flight keeps its packet identifier"
                assert self.has_crashed or not packet.dup
                session.flying[tag] = item
                self.owed[name].append(Puback(tag) if item.qos == 1 else Pubrec(tag))
        assert self.model.next_items(name) == [], f"{name} still waits for {self.model.next_items(name)}"


CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def test_the_hub_does_what_the_model_does() -> None:
    quick = settings(max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=CHECKS)
    run_state_machine_as_test(Hub, settings=quick)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_hub_does_what_the_model_does_for_long() -> None:
    slow = settings(max_examples=3000, stateful_step_count=80, deadline=None, suppress_health_check=CHECKS)
    run_state_machine_as_test(Hub, settings=slow)
