"""Threat: a will goes out where its owner may not publish: the field's most repeated bug."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Connect, Properties, WillPacket
from lockgate.errors import NotAuthorized
from lockgate.model.message import Message
from lockgate.model.permission import Operation
from lockgate.model.session import Will
from lockgate.model.topic import topic_name
from tests.attacks.conftest import Target, heard
from tests.support.fakes import FakeStore
from tests.support.playbook import Playbook
from tests.support.registry import NOW, es256


def will(topic: str, qos: int = 0, retain: bool = False, delay_seconds: float = 0.0) -> Will:
    return Will(Message(topic_name(topic), b"gone", qos, retain, publisher="sensor"), delay_seconds)


@pytest.mark.requirement("Q6")
@pytest.mark.parametrize("topic", ["devices/office/x", "x", "devices", "$SYS/x", "devices/sensor2/x"])
def test_a_will_on_a_forbidden_topic_is_refused_and_opens_no_session(target: Target, topic: str) -> None:
    with pytest.raises(NotAuthorized):
        target.opens(target.registry.principal("sensor"), will(topic))
    assert target.hub.sessions == {}


def test_a_will_above_the_rules_qos_or_retained_against_it_is_refused(target: Target) -> None:
    target.registry.allow("device:sensor", Operation.PUBLISH, "out", max_qos=0, retain=False)
    for forbidden in (will("out", qos=1), will("out", retain=True)):
        with pytest.raises(NotAuthorized):
            target.opens(target.registry.principal("sensor"), forbidden)
    assert target.opens(target.registry.principal("sensor"), will("out"))


def test_a_refused_will_does_not_end_the_session_that_it_wanted_to_take_over(target: Target) -> None:
    session = target.opens(target.registry.principal("sensor"))
    with pytest.raises(NotAuthorized):
        target.opens(target.registry.principal("sensor"), will("x"))
    assert session.outlet is not None


def deny(target: Target) -> None:
    target.registry.deny("device:sensor", Operation.PUBLISH, "devices/sensor/#")


def block(target: Target) -> None:
    target.registry.change("sensor", is_blocked=True)


def revoke(target: Target) -> None:
    target.registry.change_credentials("sensor", is_revoked=True)


def remove(target: Target) -> None:
    target.registry.remove("sensor")


def replace(target: Target) -> None:
    target.registry.add("sensor", es256())


@pytest.mark.requirement("Q6")
@pytest.mark.parametrize("act", [deny, block, revoke, remove, replace])
@pytest.mark.parametrize("ending", ["lost", "lost and delayed", "ended", "taken over"])
def test_a_will_is_checked_again_when_it_goes_out(target: Target, act: object, ending: str) -> None:
    assert callable(act)
    target.registry.allow("device:office", Operation.RECEIVE, "#")
    office = target.listens("office", "#")
    delay = 30.0 if "delayed" in ending else 0.0
    principal = target.registry.principal("sensor")
    session = target.opens(principal, will("devices/sensor/will", delay_seconds=delay), 60.0 if delay else 0.0)
    target.publishes(principal, "devices/sensor/will")
    assert heard(office) == ["devices/sensor/will"]
    act(target)
    outlet = session.outlet
    assert outlet is not None
    if ending == "ended":
        target.hub.end_session(session, NOW)
    elif ending == "taken over":
        target.opens(principal)
    else:
        target.hub.close_session(session, outlet, True, NOW)
        target.hub.handle_timer(NOW + delay)
    assert heard(office) == []
    assert [type(error).__mro__[1] for error in target.unheard] == [NotAuthorized]


def test_a_will_that_is_allowed_goes_out(target: Target) -> None:
    target.registry.allow("device:office", Operation.RECEIVE, "#")
    office = target.listens("office", "#")
    session = target.opens(target.registry.principal("sensor"), will("devices/sensor/will"))
    assert session.outlet is not None
    target.hub.close_session(session, session.outlet, True, NOW)
    assert heard(office) == ["devices/sensor/will"]
    assert target.unheard == []


def test_who_leaves_before_the_connack_has_not_left_a_will() -> None:
    store = FakeStore()
    hub = Playbook(store=store)
    office = hub.subscriber("office", "a")
    store.holds = True
    sensor = hub.link()
    will = WillPacket("a", b"w", 0, False)
    sensor.handler.data_received(
        wire.encode(Connect(V5, "sensor", will=will, properties=Properties(session_expiry_interval=60)), V5)
    )
    hub.loop.run()
    sensor.gets_nothing().is_cut()
    hub.commits()
    hub.passes(70)
    office.gets_nothing()
