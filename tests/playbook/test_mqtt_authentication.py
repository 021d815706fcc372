"""Enhanced authentication: proofs in rounds at CONNECT, and fresh proofs while the session goes on.

Source: MQTT 5.0 sections 3.15 and 4.12.
"""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.adapters.mqtt.packets import (
    V5,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Properties,
    Publish,
    ReasonCode,
    Subscribe,
    SubscriptionRequest,
)
from lockgate.model.permission import Operation
from lockgate.model.topic import topic_name
from tests.support.playbook import Client, Playbook
from tests.support.registry import EC_KEY, NOW, FakeRegistry, es256, scram
from tests.support.scram import (
    CLIENT_FINAL,
    CLIENT_FIRST,
    METHOD,
    SERVER_FINAL,
    SERVER_FIRST,
    ScramPeer,
    use_vector_nonce,
    vector_credential,
)
from tests.support.tokens import claims, token

JWT = "jwt"


def said(data: bytes | None = None, method: str = METHOD) -> Properties:
    return Properties(authentication_method=method, authentication_data=data)


def connect(client_id: str, data: bytes | None = None, method: str = METHOD, **words: Any) -> Connect:
    return Connect(V5, client_id, properties=said(data, method), **words)


def goes_on(data: bytes | None = None, method: str = METHOD) -> Auth:
    return Auth(ReasonCode.CONTINUE_AUTHENTICATION, said(data, method))


def anew(data: bytes | None = None, method: str = METHOD) -> Auth:
    return Auth(ReasonCode.REAUTHENTICATE, said(data, method))


def fresh(seconds: int) -> bytes:
    """Give a token that begins at NOW and ends so many seconds later; the skew of 60 s comes on top."""
    return token(EC_KEY, claims(exp=int(NOW) + seconds))


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("sensor", es256())
    registry.add("lamp", scram("right"))
    registry.add("user", vector_credential())
    for operation in Operation:
        registry.allow("everyone", operation, "#")
    return registry


@pytest.fixture
def hub(registry: FakeRegistry) -> Playbook:
    return Playbook(now=NOW, registry=registry)


def by_scram(hub: Playbook, client_id: str = "lamp") -> Client:
    """Connect by SCRAM."""
    peer, client = ScramPeer("lamp"), hub.link()
    challenge = client.sends(connect(client_id, peer.first())).takes(Auth)
    assert challenge == goes_on(challenge.properties.authentication_data)
    client.sends(goes_on(peer.final(challenge.properties.authentication_data)))
    answer = client.takes(Connack)
    assert (answer.code, answer.properties.authentication_method) == (0, METHOD)
    peer.check(answer.properties.authentication_data)
    return client


def by_token(hub: Playbook, seconds: int = 60) -> Client:
    """Connect by a token as authentication data."""
    client = hub.link().sends(connect("sensor", fresh(seconds), JWT))
    answer = client.takes(Connack)
    assert (answer.code, answer.properties.authentication_method) == (0, JWT)
    assert answer.properties.authentication_data is None
    return client


def refused(client: Client) -> int:
    """See that a client was refused, and that the connection is closed; give the code."""
    answer = client.takes(Connack)
    client.is_closed()
    return answer.code


def ended(client: Client) -> int:
    """See that a client was disconnected; give the code."""
    answer = client.takes(Disconnect)
    client.is_closed()
    return answer.code


# At CONNECT


def test_the_exchange_of_rfc_7677_crosses_the_door_to_the_byte(hub: Playbook, monkeypatch: pytest.MonkeyPatch) -> None:
    use_vector_nonce(monkeypatch)
    client = hub.link().sends(connect("user", CLIENT_FIRST)).gets(goes_on(SERVER_FIRST))
    answer = client.sends(goes_on(CLIENT_FINAL)).takes(Connack)
    assert answer.code == 0
    assert (answer.properties.authentication_method, answer.properties.authentication_data) == (METHOD, SERVER_FINAL)
    client.is_open()


def test_a_device_that_begins_without_data_is_asked_for_it(hub: Playbook) -> None:
    peer, client = ScramPeer("lamp"), hub.link()
    client.sends(connect("lamp")).gets(goes_on())
    challenge = client.sends(goes_on(peer.first())).takes(Auth)
    client.sends(goes_on(peer.final(challenge.properties.authentication_data)))
    peer.check(client.takes(Connack).properties.authentication_data)


def test_who_is_in_by_scram_publishes_and_hears(hub: Playbook) -> None:
    lamp = by_scram(hub, "lamp/1")
    lamp.subscribes(SubscriptionRequest("a")).packets()
    lamp.publishes("a").gets_publish("a")
    assert list(hub.hub.sessions) == ["lamp/1"]


def test_a_token_as_authentication_data_lets_in_as_the_password_field_does(hub: Playbook) -> None:
    by_token(hub).is_open()
    in_password = hub.link().sends(Connect(V5, "sensor/2", user_name="x", password=fresh(60)))
    assert in_password.takes(Connack).code == 0
    assert [hub.hub.sessions[name].principal.expires_at for name in ("sensor", "sensor/2")] == [NOW + 120, NOW + 120]


def test_a_client_id_is_assigned_after_the_proof(hub: Playbook) -> None:
    peer, client = ScramPeer("lamp"), hub.link()
    challenge = client.sends(connect("", peer.first())).takes(Auth)
    client.sends(goes_on(peer.final(challenge.properties.authentication_data)))
    given = client.takes(Connack).properties.assigned_client_identifier
    assert (given or "").startswith("lamp/auto-")


@pytest.mark.parametrize(("name", "secret"), [("lamp", "wrong"), ("nobody", "right"), ("sensor", "right")])
def test_every_wrong_password_is_refused_alike(hub: Playbook, name: str, secret: str) -> None:
    peer, client = ScramPeer(name, secret), hub.link()
    challenge = client.sends(connect(name, peer.first())).takes(Auth)
    client.sends(goes_on(peer.final(challenge.properties.authentication_data)))
    assert refused(client) == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    (refusal,) = hub.refusals()
    assert (refusal.reason, refusal.device) == ("bad user name or password", name)
    assert client.reasons == [f"bad user name or password (reference {refusal.reference})"]


@pytest.mark.parametrize("method", ["PLAIN", "scram-sha-256", "SCRAM-SHA-256-PLUS", ""])
def test_a_method_that_is_not_offered_is_refused_with_its_code(hub: Playbook, method: str) -> None:
    client = hub.link().sends(connect("lamp", b"x", method))
    assert refused(client) == ReasonCode.BAD_AUTHENTICATION_METHOD


def test_data_without_a_method_is_a_protocol_error(hub: Playbook) -> None:
    body = b"\x00\x04MQTT\x05\x02\x00\x00" + b"\x04\x16\x00\x01x" + b"\x00\x04lamp"
    hub.link().sends_bytes(bytes([0x10, len(body)]) + body).is_closed()
    assert [refusal.reason for refusal in hub.refusals()] == ["protocol error"]


@pytest.mark.parametrize(
    "packet", [Pingreq(), Publish(topic_name("a"), b"x"), Subscribe(1, (SubscriptionRequest("a"),))]
)
def test_nothing_else_comes_during_the_exchange(hub: Playbook, packet: Packet) -> None:
    client = hub.link().sends(connect("lamp", ScramPeer("lamp").first()))
    client.takes(Auth)
    assert refused(client.sends(packet)) == ReasonCode.PROTOCOL_ERROR
    assert hub.hub.sessions == {}


def test_who_gives_up_during_the_exchange_leaves_nothing(hub: Playbook) -> None:
    client = hub.link().sends(connect("lamp", ScramPeer("lamp").first()))
    client.takes(Auth)
    client.sends(Disconnect()).is_closed()
    assert (hub.hub.sessions, hub.refusals()) == ({}, [])


def test_an_exchange_that_does_not_end_in_time_is_refused(hub: Playbook) -> None:
    client = hub.link().sends(connect("lamp", ScramPeer("lamp").first()))
    client.takes(Auth)
    hub.passes(hub.settings.mqtt.connect_deadline_seconds + 1)
    assert refused(client) == ReasonCode.NOT_AUTHORIZED


def test_a_device_that_is_blocked_during_the_exchange_is_refused(hub: Playbook, registry: FakeRegistry) -> None:
    peer, client = ScramPeer("lamp"), hub.link()
    challenge = client.sends(connect("lamp", peer.first())).takes(Auth)
    registry.change("lamp", is_blocked=True)
    client.sends(goes_on(peer.final(challenge.properties.authentication_data)))
    assert refused(client) == ReasonCode.NOT_AUTHORIZED


# While the session goes on


def test_a_fresh_token_prolongs_the_session_without_a_reconnect(hub: Playbook) -> None:
    sensor = by_token(hub, 60)
    sensor.subscribes(SubscriptionRequest("a")).packets()
    hub.passes(100)
    sensor.sends(anew(fresh(200), JWT)).gets(Auth(0, said(None, JWT)))
    hub.passes(100)
    sensor.publishes("a").gets_publish("a")
    hub.passes(60)
    assert ended(sensor) == ReasonCode.MAXIMUM_CONNECT_TIME
    assert sensor.reasons[0].startswith("token expired (reference ")


def test_a_session_may_be_prolonged_again_and_again(hub: Playbook) -> None:
    sensor = by_token(hub, 60)
    for seconds in (120, 180, 240):
        hub.passes(60)
        sensor.sends(anew(fresh(seconds), JWT)).gets(Auth(0, said(None, JWT))).is_open()


def test_a_token_that_ends_sooner_ends_the_session_sooner(hub: Playbook) -> None:
    sensor = by_token(hub, 600)
    sensor.sends(anew(fresh(10), JWT)).gets(Auth(0, said(None, JWT)))
    hub.passes(70)
    assert ended(sensor) == ReasonCode.MAXIMUM_CONNECT_TIME


def test_scram_proves_anew_while_messages_flow(hub: Playbook) -> None:
    lamp, peer = by_scram(hub), ScramPeer("lamp")
    lamp.subscribes(SubscriptionRequest("a")).packets()
    challenge = lamp.sends(anew(peer.first())).takes(Auth)
    lamp.publishes("a").gets_publish("a")
    answer = lamp.sends(goes_on(peer.final(challenge.properties.authentication_data))).takes(Auth)
    assert answer.code == 0
    peer.check(answer.properties.authentication_data)
    lamp.publishes("a").gets_publish("a")


def test_a_failed_proof_ends_the_connection_with_its_reason_and_the_will(hub: Playbook) -> None:
    lamp, peer = by_scram(hub), ScramPeer("lamp", "wrong")
    challenge = lamp.sends(anew(peer.first())).takes(Auth)
    lamp.sends(goes_on(peer.final(challenge.properties.authentication_data)))
    assert ended(lamp) == ReasonCode.NOT_AUTHORIZED
    (refusal,) = hub.refusals()
    assert lamp.reasons == [f"bad user name or password (reference {refusal.reference})"]
    assert (refusal.device, refusal.is_verified) == ("lamp", True)
    assert hub.hub.sessions == {}


@pytest.mark.parametrize(("change", "reason"), [({"is_blocked": True}, "device blocked"), ({}, "credential revoked")])
def test_who_is_shut_out_meanwhile_cannot_prolong(
    hub: Playbook, registry: FakeRegistry, change: dict[str, bool], reason: str
) -> None:
    sensor = by_token(hub)
    if change:
        registry.change("sensor", **change)
    else:
        registry.change_credentials("sensor", is_revoked=True)
    assert ended(sensor.sends(anew(fresh(100), JWT))) == ReasonCode.ADMINISTRATIVE_ACTION
    assert sensor.reasons[0].startswith(reason)


def test_who_connected_with_the_token_in_the_password_field_cannot_use_auth(hub: Playbook) -> None:
    client = hub.link().sends(Connect(V5, "sensor", user_name="x", password=fresh(60)))
    assert client.takes(Connack).properties.authentication_method is None
    assert ended(client.sends(anew(fresh(100), JWT))) == ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "wrong", [goes_on(b"x", JWT), Auth(0, said(b"x", JWT)), anew(b"x", METHOD), Auth(), Auth(0x19)]
)
def test_an_auth_that_begins_nothing_is_a_protocol_error(hub: Playbook, wrong: Auth) -> None:
    sensor = by_token(hub).sends(wrong)
    assert ended(sensor) == ReasonCode.PROTOCOL_ERROR


def test_a_reauthentication_without_data_is_asked_for_it(hub: Playbook) -> None:
    sensor = by_token(hub).sends(anew(None, JWT)).gets(goes_on(None, JWT))
    sensor.sends(goes_on(fresh(100), JWT)).gets(Auth(0, said(None, JWT)))
