"""Threat: the rounds of an authentication are replayed, mixed, drawn out or repeated until somebody else is in."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt.packets import V5, Auth, Connack, Connect, Disconnect, Properties, ReasonCode
from lockgate.settings import IdentitySettings, Settings
from tests.support.playbook import Client, Playbook
from tests.support.registry import EC_KEY, NOW, OTHER_EC_KEY, FakeRegistry, es256, scram
from tests.support.scram import METHOD, ScramPeer
from tests.support.tokens import claims, token

JWT = "jwt"


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("sensor", es256())
    registry.add("camera", es256(OTHER_EC_KEY))
    registry.add("lamp", scram("right"))
    registry.add("door", scram("other"))
    return registry


@pytest.fixture
def hub(registry: FakeRegistry) -> Playbook:
    limits = IdentitySettings(max_reauthentications_per_minute=5, wrong_passwords_before_lockout=3)
    return Playbook(Settings(identity=limits), now=NOW, registry=registry)


def said(data: bytes | None, method: str = METHOD) -> Properties:
    return Properties(authentication_method=method, authentication_data=data)


def begins(hub: Playbook, client_id: str, data: bytes | None, method: str = METHOD) -> Client:
    return hub.link().sends(Connect(V5, client_id, properties=said(data, method)))


def answers(client: Client, data: bytes | None, method: str = METHOD) -> Client:
    return client.sends(Auth(ReasonCode.CONTINUE_AUTHENTICATION, said(data, method)))


def renews(client: Client, data: bytes | None, method: str = JWT) -> Client:
    return client.sends(Auth(ReasonCode.REAUTHENTICATE, said(data, method)))


def asked(client: Client) -> bytes:
    return client.takes(Auth).properties.authentication_data or b""


def refused(client: Client) -> int:
    code = client.takes(Connack).code
    client.is_closed()
    return code


def ended(client: Client) -> int:
    code = client.takes(Disconnect).code
    client.is_closed()
    return code


def sensor(hub: Playbook) -> Client:
    client = begins(hub, "sensor", token(EC_KEY), JWT)
    assert client.takes(Connack).code == 0
    return client


def test_a_recorded_exchange_opens_nothing_when_it_is_replayed(hub: Playbook) -> None:
    peer = ScramPeer("lamp")
    first = peer.first()
    honest = begins(hub, "lamp", first)
    final = peer.final(asked(honest))
    assert answers(honest, final).takes(Connack).code == 0
    replay = begins(hub, "lamp/thief", first)
    asked(replay)
    assert refused(answers(replay, final)) == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert list(hub.hub.sessions) == ["lamp"]


def test_the_method_cannot_be_changed_midway(hub: Playbook) -> None:
    client = begins(hub, "sensor", ScramPeer("lamp").first())
    asked(client)
    assert refused(answers(client, token(EC_KEY), JWT)) == ReasonCode.PROTOCOL_ERROR


def test_a_password_in_the_connect_counts_for_nothing_beside_a_method(hub: Playbook) -> None:
    shown = Connect(V5, "sensor", user_name="sensor", password=token(EC_KEY), properties=said(b"no token", JWT))
    assert refused(hub.link().sends(shown)) == ReasonCode.BAD_USER_NAME_OR_PASSWORD


def test_the_right_password_of_one_device_does_not_open_anothers_client_id(hub: Playbook) -> None:
    peer = ScramPeer("lamp")
    client = begins(hub, "door", peer.first())
    assert refused(answers(client, peer.final(asked(client)))) == ReasonCode.NOT_AUTHORIZED
    (refusal,) = hub.refusals()
    assert (refusal.reason, refusal.device) == ("client id belongs to another device", "lamp")


def test_an_exchange_has_no_more_rounds_than_it_needs(hub: Playbook) -> None:
    client = begins(hub, "lamp", None)
    assert asked(client) == b""
    assert refused(answers(client, None)) == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    peer = ScramPeer("lamp")
    client = begins(hub, "lamp", peer.first())
    asked(client)
    assert refused(answers(client, ScramPeer("lamp").first())) == ReasonCode.BAD_USER_NAME_OR_PASSWORD


def test_large_rounds_are_refused_unread(hub: Playbook) -> None:
    client = begins(hub, "lamp", b"n,,n=lamp,r=" + b"x" * 2000)
    assert refused(client) == ReasonCode.BAD_USER_NAME_OR_PASSWORD


def test_guessing_by_scram_is_stopped_even_when_the_right_one_comes_next(hub: Playbook) -> None:
    for _ in range(3):
        peer = ScramPeer("lamp", "guess")
        client = begins(hub, "lamp", peer.first())
        assert refused(answers(client, peer.final(asked(client)))) == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert refused(begins(hub, "lamp", ScramPeer("lamp").first())) == ReasonCode.SERVER_BUSY


def test_exchanges_begun_at_once_do_not_get_around_the_lockout(hub: Playbook) -> None:
    peers = [ScramPeer("lamp", "guess") for _ in range(4)]
    clients = [begins(hub, "lamp", peer.first()) for peer in peers]
    finals = [peer.final(asked(client)) for peer, client in zip(peers, clients, strict=True)]
    codes = [refused(answers(client, final)) for client, final in zip(clients, finals, strict=True)]
    assert codes == [ReasonCode.BAD_USER_NAME_OR_PASSWORD] * 3 + [ReasonCode.SERVER_BUSY]


def test_guessing_by_reauthentication_is_counted_too(hub: Playbook) -> None:
    peer = ScramPeer("lamp")
    lamps = [begins(hub, f"lamp/{number}", None) for number in range(4)]
    for lamp in lamps:
        asked(lamp)
        peer = ScramPeer("lamp")
        answers(lamp, peer.first())
        answers(lamp, peer.final(asked(lamp))).takes(Connack)
    codes = []
    for lamp in lamps:
        liar = ScramPeer("lamp", "guess")
        renews(lamp, liar.first(), METHOD)
        packet = lamp.packets()[0]
        if isinstance(packet, Auth):
            answers(lamp, liar.final(packet.properties.authentication_data))
            codes.append(ended(lamp))
        else:
            assert isinstance(packet, Disconnect)
            codes.append(packet.code)
    assert codes == [ReasonCode.NOT_AUTHORIZED] * 3 + [ReasonCode.SERVER_BUSY]


def test_a_session_cannot_become_another_device(hub: Playbook) -> None:
    client = sensor(hub)
    assert ended(renews(client, token(OTHER_EC_KEY, claims(sub="camera")))) == ReasonCode.NOT_AUTHORIZED
    assert hub.hub.sessions == {}
    peer = ScramPeer("lamp")
    lamp = begins(hub, "lamp", peer.first())
    answers(lamp, peer.final(asked(lamp))).takes(Connack)
    other = ScramPeer("door", "other")
    renews(lamp, other.first(), METHOD)
    assert ended(answers(lamp, other.final(asked(lamp)))) == ReasonCode.NOT_AUTHORIZED


@pytest.mark.parametrize(
    "shown",
    [
        token(EC_KEY, claims(iat=int(NOW) - 200, exp=int(NOW) - 61)),
        token(EC_KEY, claims(aud="elsewhere")),
        token(EC_KEY, claims(exp=int(NOW) + 90_000)),
        token(OTHER_EC_KEY),
        b"eyJhbGciOiJub25lIn0.e30.",
        b"no token",
    ],
)
def test_no_bad_token_prolongs_a_session(hub: Playbook, shown: bytes) -> None:
    assert ended(renews(sensor(hub), shown)) == ReasonCode.NOT_AUTHORIZED


def test_a_flood_of_reauthentications_ends_the_connection(hub: Playbook) -> None:
    client = sensor(hub)
    for _ in range(5):
        assert renews(client, token(EC_KEY)).takes(Auth).code == 0
    assert ended(renews(client, token(EC_KEY))) == ReasonCode.SERVER_BUSY
    (refusal,) = hub.refusals()
    assert refusal.reason == "too many re-authentications"


def test_an_unfinished_reauthentication_does_not_hold_the_old_proof_open(hub: Playbook) -> None:
    client = sensor(hub)
    renews(client, None)
    asked(client)
    hub.passes(3661)
    assert ended(client) == ReasonCode.MAXIMUM_CONNECT_TIME


def test_a_stranger_who_stops_midway_is_closed_at_the_deadline_and_leaves_nothing(hub: Playbook) -> None:
    crowd = [begins(hub, f"nobody-{number}", ScramPeer("nobody").first()) for number in range(50)]
    hub.passes(hub.settings.mqtt.connect_deadline_seconds + 1)
    for client in crowd:
        assert [type(packet) for packet in client.packets()] == [Auth, Connack]
    assert (hub.door.connections, hub.hub.sessions) == (set(), {})
