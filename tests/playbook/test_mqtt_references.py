"""Whoever is refused, or sent away, gets the reference under which `lockgate why` tells the reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lockgate.adapters.mqtt.packets import V5, V311, Connect, Properties, Publish
from lockgate.errors import Step
from lockgate.model.topic import topic_name
from tests.support.playbook import Client, Playbook

BROKEN = b"\xff\x00"


def taken_over(hub: Playbook) -> Client:
    older = hub.client("sensor")
    hub.client("sensor")
    return older


def silent(hub: Playbook) -> Client:
    client = hub.link(V5).sends(Connect(V5, "sensor", keep_alive_seconds=10))
    hub.passes(16)
    return client


def malformed(hub: Playbook) -> Client:
    return hub.client("sensor").sends_bytes(BROKEN)


def aliased(hub: Playbook) -> Client:
    alias = Properties(topic_alias=9999)
    return hub.client("sensor").sends(Publish(topic_name("a"), b"", properties=alias))


def stopped(hub: Playbook) -> Client:
    client = hub.client("sensor")
    hub.stops()
    return client


def proof_over(hub: Playbook) -> Client:
    hub.authenticator.expires_at["sensor"] = hub.now + 60
    client = hub.client("sensor")
    hub.passes(61)
    return client


GOODBYES: list[tuple[Callable[[Playbook], Client], str, Step]] = [
    (taken_over, "session taken over", Step.HUB),
    (silent, "keep alive timeout", Step.LIMIT),
    (malformed, "malformed packet", Step.PROTOCOL),
    (aliased, "topic alias invalid", Step.PROTOCOL),
    (stopped, "server shutting down", Step.HUB),
    (proof_over, "credential expired", Step.CREDENTIAL),
]


@pytest.mark.parametrize(("act", "reason", "step"), GOODBYES)
def test_every_goodbye_carries_its_reference_and_has_a_fix(
    act: Callable[[Playbook], Client], reason: str, step: Step
) -> None:
    hub = Playbook()
    client = act(hub)
    client.packets()
    (told,) = hub.refusals()
    assert (told.reason, told.step, told.count) == (reason, step, 1)
    assert told.fix
    assert client.reasons[-1].endswith(f" (reference {told.reference})")
    assert client.wire.parting == f"{reason} (reference {told.reference})", "a WebSocket's close frame says it too"


def test_a_3_1_1_client_hears_it_from_the_link_alone() -> None:
    hub = Playbook()
    client = hub.client("sensor", V311).sends_bytes(BROKEN)
    assert client.packets() == []
    (told,) = hub.refusals()
    assert client.wire.parting == f"malformed packet (reference {told.reference})"


def test_a_version_that_nobody_speaks_is_noted_too() -> None:
    hub = Playbook()
    client = hub.link(V311).sends_bytes(b"\x10\x0f\x00\x04MQTT\x06\x02\x00\x3c\x00\x03abc")
    assert bytes(client.wire.written) == b"\x20\x02\x00\x01"
    (told,) = hub.refusals()
    assert (told.reason, told.step) == ("unsupported protocol version", Step.PROTOCOL)
    assert "3.1.1 or 5.0" in told.fix


def test_who_leaves_in_order_is_told_nothing() -> None:
    hub = Playbook()
    client = hub.client("sensor").sends_bytes(b"\xe0\x00")
    assert client.wire.is_closed
    assert client.wire.parting == ""
    assert hub.refusals() == []


def test_who_finishes_tls_and_leaves_without_a_word_is_noted_once() -> None:
    hub = Playbook()
    hub.link(V5).ends()
    (told,) = hub.refusals()
    assert (told.reason, told.step) == ("client left before CONNECT", Step.TLS)
    assert "ca.pem" in told.fix
    hub.link(V5).is_cut()
    (told,) = hub.refusals()
    assert told.count == 2
    hub.link(V5).sends_bytes(b"\x10").ends()
    hub.client("sensor").sends_bytes(b"\xe0\x00").ends()
    hub.link(V5)
    hub.stops()
    assert hub.refusals() == []


def test_http_on_the_port_of_mqtt_is_named_as_such() -> None:
    hub = Playbook()
    client = hub.link(V5).sends_bytes(
        b"GET / HTTP/1.1\r\nHost: hub.example\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"
    )
    assert client.wire.is_closed
    (told,) = hub.refusals()
    assert (told.reason, told.step) == ("not MQTT", Step.PROTOCOL)
    assert "8884" in told.fix
