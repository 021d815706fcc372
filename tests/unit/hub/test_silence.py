"""Silence: who is shut out ends, with all that it had and nothing that was another's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lockgate.errors import LockgateError, ProofExpired, ShutOut
from lockgate.hub import Hub, Session
from lockgate.hub.silence import Silence, drop_gone
from lockgate.identity import Authenticator
from lockgate.model.message import Message
from lockgate.model.outcome import Traces
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription, Will
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.policy import LAB_DEVICE, PolicyEngine
from lockgate.settings import HubSettings, IdentitySettings
from tests.support.fakes import FakeOutlet, FakeStore
from tests.support.registry import NOW, OTHER_EC_KEY, FakeRegistry, es256

LAST_WORDS = Will(Message(TopicName("wills/sensor"), b"gone", 1, publisher="sensor"))


class World:
    """A hub over a registry with a sensor, a watcher that hears everything, and the silence between them."""

    def __init__(self, clears: bool = True, store: FakeStore | None = None) -> None:
        self.registry = FakeRegistry()
        self.registry.add("sensor", es256(), es256(OTHER_EC_KEY))
        self.registry.add("watcher")
        for operation in Operation:
            self.registry.allow("everyone", operation, "#")
        self.store = store or FakeStore()
        self.hub = Hub(PolicyEngine(self.registry), self.store, HubSettings(), self._report)
        identity = Authenticator(self.registry, IdentitySettings())
        self.silence = Silence(self.hub, self.store, self.registry, identity.verdict, clears)
        self.watcher = self.opens("watcher")
        self.hub.subscribe(self.watcher, Subscription(TopicFilter("#"), 1), NOW)
        self._sequence = 0

    def _report(self, error: LockgateError, who: Principal) -> None:
        """Wills that are refused are of no interest here."""

    def opens(self, client_id: str, credential: int = 0, **fields: Any) -> Session:
        """Connect a client of a device, proven by its credential of that place."""
        device = self.registry.devices[client_id.partition("/")[0]]
        who = Principal(
            device.name, client_id, "jwt-es256", device.credentials[credential].id, fields.get("expires_at")
        )
        will = fields.get("will")
        return self.hub.open_session(who, FakeOutlet(), False, fields.get("expiry", 600.0), will, 9, NOW).session

    def leaves(self, session: Session) -> None:
        """Cut a session's connection."""
        assert session.outlet is not None
        self.hub.close_session(session, session.outlet, True, NOW)

    def says(self, device: str, topic: str, retain: bool = False) -> None:
        """Publish by a device's first credential."""
        who = self.registry.principal(device)
        outcome = self.hub.publish(who, Message(TopicName(topic), b"x", 1, retain, publisher=device))
        assert not isinstance(outcome, LockgateError)

    def applies(self, name: str = "sensor") -> tuple[Traces, Traces] | None:
        """Apply a change; give what was found and what remains."""
        self._sequence += 1
        outcome = self.silence.apply(self._sequence, name, NOW)
        return None if outcome is None else (outcome.found, outcome.remaining)

    def revokes(self, place: int) -> None:
        """Revoke one credential of the sensor."""
        credentials = list(self.registry.devices["sensor"].credentials)
        credentials[place] = msgspec.structs.replace(credentials[place], is_revoked=True)
        self.registry.change("sensor", credentials=tuple(credentials))

    def heard(self) -> list[str]:
        """Give the topics that the watcher heard since the last time."""
        topics = [str(delivery.message.topic) for delivery in self.watcher.queue]
        self.watcher.queue.clear()
        return topics


def why(session_outlet: object) -> list[tuple[type[LockgateError], str]]:
    assert isinstance(session_outlet, FakeOutlet)
    return [(type(error), error.reason) for error in session_outlet.ended]


@pytest.fixture
def world() -> World:
    return World()


def full(world: World) -> tuple[Session, object]:
    """Give a sensor that has everything that can be left behind."""
    sensor, waiting = world.opens("sensor", will=LAST_WORDS), world.opens("sensor/2")
    world.hub.subscribe(sensor, Subscription(TopicFilter("to/sensor"), 1), NOW)
    world.hub.subscribe(waiting, Subscription(TopicFilter("to/sensor"), 1), NOW)
    world.leaves(waiting)
    world.says("watcher", "to/sensor")
    world.says("sensor", "words/kept", retain=True)
    world.says("watcher", "words/of/another", retain=True)
    world.heard()
    return sensor, sensor.outlet


EVERYTHING = Traces(connections=1, sessions=2, subscriptions=2, queued=2, wills=1, retained=1)


@pytest.mark.parametrize("act", ["revoke", "remove"])
def test_of_a_device_that_is_gone_nothing_remains(world: World, act: str) -> None:
    _, outlet = full(world)
    if act == "revoke":
        world.registry.change_credentials("sensor", is_revoked=True)
    else:
        world.registry.remove("sensor")
    assert world.applies() == (EVERYTHING, Traces())
    reason = "credential revoked" if act == "revoke" else "device not registered"
    assert why(outlet) == [(ShutOut, reason)]
    assert world.heard() == [], "not even its will goes out"
    assert (set(world.hub.sessions), set(world.store.sessions)) == ({"watcher"}, {"watcher"})
    assert set(world.store.retained) == {"words/of/another"}
    assert world.store.deliveries.keys() == {("watcher", tag) for _, tag in world.store.deliveries}


@pytest.mark.parametrize("act", ["device", "group"])
def test_a_blocked_device_is_silent_and_what_it_had_waits(world: World, act: str) -> None:
    sensor, outlet = full(world)
    if act == "device":
        world.registry.change("sensor", is_blocked=True)
    else:
        world.registry.change("sensor", is_blocked=True, blocked_groups=("floor",))
    found, remaining = world.applies() or (None, None)
    assert found == EVERYTHING
    assert remaining == Traces(sessions=2, subscriptions=2, queued=2, retained=1)
    assert [kind for kind, _ in why(outlet)] == [ShutOut]
    assert sensor.outlet is None
    assert world.heard() == []


def test_a_will_that_waits_for_its_delay_does_not_outlast_the_block(world: World) -> None:
    session = world.opens("sensor", will=Will(LAST_WORDS.message, delay_seconds=60.0))
    world.leaves(session)
    world.registry.change("sensor", is_blocked=True)
    assert world.applies() == (Traces(sessions=1, wills=1), Traces(sessions=1))
    assert world.store.sessions["sensor"].will is None
    world.registry.change("sensor", is_blocked=False)
    world.hub.handle_timer(NOW + 61)
    assert world.heard() == []


def test_only_the_sessions_that_a_credential_has_proven_end_with_it(world: World) -> None:
    by_first, by_second = world.opens("sensor"), world.opens("sensor/2", credential=1)
    outlet = by_first.outlet
    world.says("sensor", "words/kept", retain=True)
    world.revokes(0)
    assert world.applies() == (Traces(1 + 1, 2, retained=1), Traces(1, 1, retained=1))
    assert why(outlet) == [(ShutOut, "credential revoked")]
    assert world.hub.sessions["sensor/2"] is by_second
    assert by_second.outlet is not None


def test_a_good_device_is_left_alone_and_told_of_in_no_outcome(world: World) -> None:
    session = world.opens("sensor")
    world.registry.change("sensor", groups=("floor",))
    assert world.applies() is None
    assert session.outlet is not None


def test_who_was_removed_and_added_again_at_once_inherits_nothing(world: World) -> None:
    outlet = world.opens("sensor").outlet
    world.registry.remove("sensor")
    world.registry.add("sensor", es256())
    assert world.applies() is None
    assert why(outlet) == [(ShutOut, "credential revoked")]
    assert set(world.hub.sessions) == {"watcher"}


def test_an_expired_credential_ends_the_connection_and_what_waits_goes_on_waiting(world: World) -> None:
    session = world.opens("sensor", will=LAST_WORDS)
    outlet = session.outlet
    world.registry.change_credentials("sensor", expires_at=NOW - 1)
    world.applies()
    assert why(outlet) == [(ProofExpired, "credential expired")]
    assert world.heard() == ["wills/sensor"], "its last word is an honest one"
    assert "sensor" in world.hub.sessions


@pytest.mark.parametrize("before", [None, NOW + 500])
def test_a_credential_that_now_ends_sooner_ends_its_live_session_sooner(world: World, before: float | None) -> None:
    session = world.opens("sensor", expires_at=before)
    absent = world.opens("sensor/2")
    world.leaves(absent)
    outlet = session.outlet
    world.registry.change_credentials("sensor", expires_at=NOW + 60)
    world.applies()
    world.hub.handle_timer(NOW + 59)
    assert session.outlet is outlet
    world.hub.handle_timer(NOW + 60)
    assert [kind for kind, _ in why(outlet)] == [ProofExpired]


def test_a_credential_that_ends_later_than_its_token_changes_nothing(world: World) -> None:
    session = world.opens("sensor", expires_at=NOW + 10)
    world.registry.change_credentials("sensor", expires_at=NOW + 60)
    world.applies()
    assert session.principal.expires_at == NOW + 10


# Retained messages


@pytest.mark.parametrize(
    ("clears", "chosen", "is_left"),
    [(True, None, False), (False, None, True), (True, False, True), (False, True, False)],
)
def test_what_becomes_of_retained_messages_is_a_setting_and_a_choice(
    clears: bool, chosen: bool | None, is_left: bool
) -> None:
    world = World(clears)
    world.says("sensor", "words/kept", retain=True)
    if chosen is not None:
        world.silence.choose("sensor", chosen)
    world.registry.remove("sensor")
    assert world.applies() == (Traces(retained=1), Traces(retained=int(is_left)))
    assert ("words/kept" in world.store.retained) is is_left
    assert ("sensor" in world.store.kept_publishers) is is_left
    world.registry.remove("watcher")
    world.applies("watcher")
    again = restarted(world)
    assert ("words/kept" in again) is is_left, "a restart asks nobody again"


def test_a_choice_to_keep_is_forgotten_when_the_name_is_good_again(world: World) -> None:
    world.says("sensor", "words/kept", retain=True)
    world.silence.choose("sensor", False)
    world.registry.remove("sensor")
    world.applies()
    world.registry.add("sensor", es256())
    world.applies()
    assert world.store.kept_publishers == set()
    world.registry.remove("sensor")
    assert world.applies() == (Traces(retained=1), Traces())


def test_a_choice_that_led_to_nothing_does_not_wait_for_the_next_time(world: World) -> None:
    world.silence.choose("sensor", False)
    world.applies()
    world.says("sensor", "words/kept", retain=True)
    world.registry.remove("sensor")
    assert world.applies() == (Traces(retained=1), Traces())


# What the store held


def restarted(world: World) -> set[str]:
    """Give the retained topics that come back after a restart."""
    store = world.store
    kept = store.kept_publishers
    found = drop_gone(store, store.load(), store.retained.values(), world.registry, True, kept)
    return {str(message.topic) for message in found.retained}


def test_nothing_of_those_who_are_gone_comes_back_after_a_restart(world: World) -> None:
    full(world)
    world.says("watcher", "words/kept/2", retain=True)
    world.store.keep_retained(Message(TopicName("old"), b"x", 1, True))
    world.store.keep_retained(Message(TopicName("lab"), b"x", 1, True, publisher=LAB_DEVICE))
    lab = Principal(LAB_DEVICE, "lab/x", "lab")
    world.hub.open_session(lab, FakeOutlet(), False, 600.0, None, 9, NOW)
    world.registry.change_credentials("sensor", is_revoked=True)
    store = world.store
    found = drop_gone(store, store.load(), list(store.retained.values()), world.registry, True)
    assert {each.record.principal.client_id for each in found.sessions} == {"watcher", "lab/x"}
    assert {str(message.topic) for message in found.retained} == {"words/of/another", "words/kept/2", "old", "lab"}
    assert found.dropped == {"sensor": Traces(sessions=2, subscriptions=2, queued=2, wills=1, retained=1)}
    assert set(store.sessions) == {"watcher", "lab/x"}
    assert "words/kept" not in store.retained


def test_a_store_may_keep_what_those_who_are_gone_published(world: World) -> None:
    world.says("sensor", "words/kept", retain=True)
    world.registry.remove("sensor")
    found = drop_gone(world.store, [], list(world.store.retained.values()), world.registry, False)
    assert [str(message.topic) for message in found.retained] == ["words/kept"]
