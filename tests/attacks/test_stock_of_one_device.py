"""Threat: one device takes what is there for all: sessions under ever new client ids, room for retained messages."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lockgate.errors import LockgateError, QuotaExceeded
from lockgate.hub import Hub, Session
from lockgate.model.message import Message, MessageProperties
from lockgate.model.session import Subscription
from lockgate.model.topic import topic_filter, topic_name
from lockgate.policy import PolicyEngine
from lockgate.settings import HubSettings
from tests.attacks.conftest import Target
from tests.support.fakes import FakeOutlet
from tests.support.registry import NOW

BOUND_BYTES = 1_000_000
HEAVY = MessageProperties(user_properties=(("", ""),) * 1000)


def bounded(target: Target, **settings: int) -> Hub:
    target.hub = Hub(PolicyEngine(target.registry), target.store, replace(HubSettings(), **settings), lambda *_: None)
    return target.hub


def test_a_device_with_ever_new_client_ids_leaves_room_for_others(target: Target) -> None:
    hub = bounded(target, max_sessions=10, max_sessions_per_device=3)
    for number in range(3):
        target.opens(target.registry.principal("sensor", f"sensor/{number}"), expiry_seconds=600)
    for name in ("sensor/3", "sensor"):
        with pytest.raises(QuotaExceeded) as caught:
            target.opens(target.registry.principal("sensor", name), expiry_seconds=600)
        assert "hub.max_sessions_per_device" in caught.value.fix
    target.opens(target.registry.principal("camera"))
    again = target.registry.principal("sensor", "sensor/0")
    assert hub.open_session(again, FakeOutlet(), False, 600, None, 100, NOW).is_present
    hub.end_session(hub.sessions["sensor/1"], NOW)
    target.opens(target.registry.principal("sensor", "sensor/3"))


@pytest.mark.parametrize(
    ("tail", "payload", "properties"),
    [("", b"x" * 100_000, None), ("", b"", HEAVY), ("/x" * 28, b"x", None), ("/" + "x" * 60_000, b"x", None)],
    ids=["payload", "properties", "levels", "topic"],
)
def test_retained_messages_are_bounded_in_bytes(
    target: Target, tail: str, payload: bytes, properties: MessageProperties | None
) -> None:
    hub = bounded(target, max_retained_bytes=BOUND_BYTES)
    sensor = target.registry.principal("sensor")

    def keeps(number: int, content: bytes) -> bool:
        topic = topic_name(f"devices/sensor/{number}{tail}")
        outcome = hub.publish(sensor, Message(topic, content, retain=True, properties=properties))
        assert not isinstance(outcome, LockgateError) or "hub.max_retained_bytes" in outcome.fix
        return not isinstance(outcome, LockgateError)

    kept = sum(keeps(number, payload or b"x") for number in range(200))
    assert 0 < kept < 150
    assert keeps(0, b"y"), "a smaller last word has room"
    assert not keeps(0, b"y" * BOUND_BYTES)
    for number in range(kept):
        assert keeps(number, b"")
    assert hub.retained._bytes == 0
    assert keeps(199, payload or b"x")


def test_what_was_kept_before_a_restart_is_kept_when_the_bounds_are_lower_now(target: Target) -> None:
    hub = bounded(target, max_retained_messages=1, max_retained_bytes=1)
    hub.restore([], [Message(topic_name(f"a/{number}"), b"x", retain=True) for number in range(3)], NOW)
    assert len(hub.retained) == 3
    office = target.registry.principal("sensor")
    assert isinstance(hub.publish(office, Message(topic_name("devices/sensor/x"), b"x", retain=True)), QuotaExceeded)


def test_filters_as_long_as_they_may_be_in_ever_new_sessions_are_bounded_together(target: Target) -> None:
    hub = bounded(target, max_subscription_bytes_per_device=BOUND_BYTES)

    def asks(session: Session, number: int) -> bool:
        try:
            hub.subscribe(session, Subscription(topic_filter(f"devices/sensor/{number}/" + "x" * 60_000)), NOW)
        except QuotaExceeded:
            return False
        return True

    sessions = [target.opens(target.registry.principal("sensor", f"sensor/{number}")) for number in range(10)]
    assert 0 < sum(asks(session, number) for session in sessions for number in range(10)) < 10
    other = target.opens(target.registry.principal("camera"))
    hub.subscribe(other, Subscription(topic_filter("devices/camera/#")), NOW)
    for session in sessions:
        hub.end_session(session, NOW)
    assert asks(target.opens(target.registry.principal("sensor")), 0)


def test_empty_messages_that_wait_in_many_sessions_are_bounded_together(target: Target) -> None:
    hub = bounded(target, max_queued_bytes_total=BOUND_BYTES)
    for number in range(20):
        session = target.opens(target.registry.principal("sensor", f"sensor/{number}"), expiry_seconds=600)
        hub.subscribe(session, Subscription(topic_filter("devices/sensor/#"), 1), NOW)
        hub.close_session(session, session.outlet or FakeOutlet(), False, NOW)
    sensor = target.registry.principal("sensor")
    for _ in range(1000):
        hub.publish(sensor, Message(topic_name("devices/sensor/x"), b"", 1))
    held = sum(len(session.queue) for session in hub.sessions.values())
    assert 1000 < held < BOUND_BYTES / 200, "each takes memory, whatever it says"
    for session in list(hub.sessions.values()):
        hub.end_session(session, NOW)
    assert hub._waiting.bytes == 0
