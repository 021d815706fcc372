"""Connections that are not let in yet end when the key behind them does; nobody else's does."""

from __future__ import annotations

from lockgate.adapters.mqtt.packets import V5, Connack, Connect, ReasonCode
from lockgate.adapters.mqtt.strangers import end_strangers
from tests.support.certificates import Authority
from tests.support.playbook import Client, Playbook

CA = Authority("Hub CA")


def by_certificate(hub: Playbook, name: str) -> Client:
    client = hub.link()
    client.wire.peer_certificate = CA.issue(name).certificate
    return client


def test_who_has_said_nothing_yet_ends_with_its_key() -> None:
    hub = Playbook()
    stolen, other, bare = by_certificate(hub, "stolen"), by_certificate(hub, "other"), hub.link()
    worthless = stolen.wire.peer_certificate
    ended = end_strangers(hub.door.connections, lambda shown: "stolen" if shown == worthless else "")
    hub.loop.run()
    assert ended == {"stolen": 1}
    stolen.is_closed()
    assert not other.wire.is_closed
    assert not bare.wire.is_closed


def test_who_is_in_is_left_to_the_hub() -> None:
    hub = Playbook()
    client = hub.client("sensor")
    client.wire.peer_certificate = CA.issue("sensor").certificate
    assert end_strangers(hub.door.connections, lambda _: "sensor") == {}
    client.is_open()


def test_who_waits_for_a_password_check_is_told_that_it_may_not() -> None:
    hub = Playbook()
    hub.authenticator.is_slow_for.add("sensor")
    client = by_certificate(hub, "sensor")
    client.sends(Connect(V5, "sensor"))
    assert end_strangers(hub.door.connections, lambda _: "sensor") == {"sensor": 1}
    hub.loop.run()
    assert client.takes(Connack).code == ReasonCode.NOT_AUTHORIZED
    client.is_closed()
    hub.loop.do_work()
    assert hub.hub.sessions == {}
