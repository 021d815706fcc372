"""Threat: one address keeps all password checks busy with names that it makes up, and nobody else gets in."""

from __future__ import annotations

import msgspec

from lockgate.adapters.mqtt.packets import V5, Connack, Connect, ReasonCode
from lockgate.settings import IdentitySettings, Settings
from tests.support.playbook import Client, Playbook

PLACES = 8
NAMES = [f"made-up-{number}" for number in range(PLACES)]


def attacked() -> tuple[Playbook, list[Client]]:
    hub = Playbook(Settings(identity=IdentitySettings(max_waiting_password_checks=PLACES)))
    hub.authenticator.is_slow_for |= {"sensor", *NAMES}
    return hub, [hub.link().sends(Connect(V5, name)) for name in NAMES]


def elsewhere(hub: Playbook) -> Client:
    client = hub.link()
    client.wire.peer = msgspec.structs.replace(client.wire.peer, host="192.0.2.99")
    return client


def test_an_address_that_floods_takes_a_share_and_leaves_the_rest() -> None:
    hub, flood = attacked()
    busy = [client for client in flood if client.packets() == [Connack(ReasonCode.SERVER_UNAVAILABLE)]]
    assert len(busy) == PLACES - PLACES // 4
    sensor = elsewhere(hub).sends(Connect(V5, "sensor"))
    hub.loop.do_work()
    assert sensor.takes(Connack).code == 0


def test_places_are_given_back_to_the_address_that_had_them() -> None:
    hub, flood = attacked()
    flood[0].is_cut()
    hub.loop.do_work()
    assert hub.door.admissions.waiting_checks == 0
    assert hub.door.admissions.checks_by_host == {}
    again = hub.link().sends(Connect(V5, "sensor"))
    hub.loop.do_work()
    assert again.takes(Connack).code == 0
