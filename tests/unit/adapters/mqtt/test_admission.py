from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.admission import MAX_LAB_NAME, Admission, Admissions, Renewal, Verdict
from lockgate.adapters.mqtt.packets import NO_PROPERTIES, V5, Auth, Connect, MqttError, Properties, ReasonCode
from lockgate.adapters.mqtt.protocol import MqttProtocol
from lockgate.errors import AuthenticationFailed, NotAuthorized, RateExceeded, Unavailable
from lockgate.identity import Authenticator
from lockgate.model.principal import Principal
from lockgate.settings import IdentitySettings, MqttSettings
from tests.support.fakes import FakeAuthenticator, FakeLink, FakeLoop, principal
from tests.support.registry import EC_KEY, NOW, FakeRegistry, es256, scram
from tests.support.scram import METHOD, ScramPeer
from tests.support.tokens import claims, token


class Entrance:
    """A door's admissions, and what they decided."""

    def __init__(self, places: int = 4, authenticator: Authenticator | None = None) -> None:
        self.loop = FakeLoop(0.0)
        loop: Any = self.loop
        self.authenticator = FakeAuthenticator()
        settings = IdentitySettings(max_waiting_password_checks=places, max_reauthentications_per_minute=2)
        self.now = NOW
        self.admissions = Admissions(authenticator or self.authenticator, Executor(), loop, lambda: self.now, settings)
        self.verdicts: list[Verdict] = []
        handler: Any = None
        self.link = FakeLink(self.loop, handler)
        self.protocol = MqttProtocol(MqttSettings(), 0.0)

    def comes(self, client_id: str, is_lab: bool = False, properties: Properties = NO_PROPERTIES) -> Admission:
        connect = Connect(V5, client_id, properties=properties)
        self.protocol.receive_data(wire.encode(connect, V5), 0.0)
        admission = Admission(self.admissions, self.link, self.protocol, is_lab, self.verdicts.append)
        admission.begin(connect)
        return admission

    def told(self) -> bytes:
        """Give the data of the one AUTH that was sent."""
        found = wire.decode(self.protocol.data_to_send(), 0, V5, 10_000)
        assert found is not None
        assert isinstance(found[0], Auth)
        return found[0].properties.authentication_data or b""


def test_a_client_that_is_known_is_let_in_at_once() -> None:
    entrance = Entrance()
    entrance.comes("sensor")
    assert entrance.verdicts == [principal("sensor")]


def test_a_refusal_is_the_verdict() -> None:
    entrance = Entrance()
    refusal = entrance.authenticator.refusals["sensor"] = AuthenticationFailed()
    entrance.comes("sensor")
    assert entrance.verdicts == [refusal]


def test_a_lab_client_proves_nothing_and_has_a_name_of_its_own() -> None:
    entrance = Entrance()
    entrance.comes("x" * 300, is_lab=True)
    entrance.comes("", is_lab=True)
    named, nameless = entrance.verdicts
    assert named == Principal("lab", "lab/" + "x" * MAX_LAB_NAME, "lab")
    assert isinstance(nameless, Principal)
    assert len(nameless.client_id) > len("lab/")


def test_a_slow_check_gives_its_verdict_when_the_worker_is_done() -> None:
    entrance = Entrance()
    entrance.authenticator.is_slow_for.add("sensor")
    entrance.comes("sensor")
    assert (entrance.verdicts, entrance.admissions.waiting_checks) == ([], 1)
    entrance.loop.do_work()
    assert (entrance.verdicts, entrance.admissions.waiting_checks) == ([principal("sensor")], 0)


def test_who_is_blocked_during_the_check_is_refused() -> None:
    entrance = Entrance()
    entrance.authenticator.is_slow_for.add("sensor")
    entrance.comes("sensor")
    done, check, arguments = entrance.loop.work.popleft()
    done.set_result(check(*arguments))
    refusal = entrance.authenticator.refusals["sensor"] = NotAuthorized("blocked")
    entrance.loop.run()
    assert entrance.verdicts == [refusal]


@pytest.mark.parametrize("error", [AuthenticationFailed(), ZeroDivisionError()])
def test_what_the_worker_raises_is_the_verdict(error: Exception) -> None:
    entrance = Entrance()
    entrance.authenticator.is_slow_for.add("sensor")
    entrance.comes("sensor")
    entrance.loop.work.popleft()[0].set_exception(error)
    entrance.loop.run()
    assert entrance.verdicts == [error]
    assert entrance.admissions.checks_by_host == {}


def test_a_check_that_the_hubs_stop_cancels_has_no_verdict() -> None:
    entrance = Entrance()
    entrance.authenticator.is_slow_for.add("sensor")
    entrance.comes("sensor")
    entrance.loop.work.popleft()[0].cancel()
    entrance.loop.run()
    assert (entrance.verdicts, entrance.admissions.waiting_checks) == ([], 0)


@pytest.mark.parametrize("places", [1, 4])
def test_an_address_takes_no_more_than_its_share_of_the_waiting_checks(places: int) -> None:
    entrance = Entrance(places)
    entrance.authenticator.is_slow_for |= {"one", "two"}
    entrance.comes("one")
    entrance.comes("two")
    (refusal,) = entrance.verdicts
    assert isinstance(refusal, Unavailable)
    assert entrance.admissions.waiting_checks == 1


# Enhanced authentication


def registered() -> Authenticator:
    registry = FakeRegistry()
    registry.add("sensor", es256())
    registry.add("lamp", scram("right"))
    return Authenticator(registry, IdentitySettings())


def said(method: str, data: bytes | None) -> Properties:
    return Properties(authentication_method=method, authentication_data=data)


def auth(data: bytes, code: int = ReasonCode.CONTINUE_AUTHENTICATION, method: str = METHOD) -> Auth:
    return Auth(code, said(method, data))


def test_a_token_as_authentication_data_is_a_verdict_at_once() -> None:
    entrance = Entrance(authenticator=registered())
    entrance.comes("sensor", properties=said("jwt", token(EC_KEY)))
    assert entrance.verdicts == [Principal("sensor", "sensor", "jwt-es256", 1, NOW + 3660)]


@pytest.mark.parametrize("is_first_in_connect", [True, False])
def test_scram_takes_its_rounds_and_the_hub_has_the_last_word(is_first_in_connect: bool) -> None:
    entrance, peer = Entrance(authenticator=registered()), ScramPeer("lamp")
    first = peer.first()
    admission = entrance.comes("lamp", properties=said(METHOD, first if is_first_in_connect else None))
    if not is_first_in_connect:
        assert entrance.told() == b""
        admission.proceed(auth(first))
    assert entrance.verdicts == []
    admission.proceed(auth(peer.final(entrance.told())))
    assert entrance.verdicts == [Principal("lamp", "lamp", "scram-sha-256", 2)]
    assert admission.user_name == "lamp"
    peer.check(entrance.protocol.last_word)


def test_a_wrong_password_is_the_verdict_and_names_who_it_was_for() -> None:
    entrance, peer = Entrance(authenticator=registered()), ScramPeer("lamp", "wrong")
    admission = entrance.comes("lamp", properties=said(METHOD, peer.first()))
    admission.proceed(auth(peer.final(entrance.told())))
    (refusal,) = entrance.verdicts
    assert isinstance(refusal, AuthenticationFailed)
    assert admission.user_name == "lamp"


@pytest.mark.parametrize(("method", "is_lab"), [("PLAIN", False), (METHOD, True), ("jwt", True)])
def test_a_method_that_is_not_offered_is_named_as_that(method: str, is_lab: bool) -> None:
    entrance = Entrance(authenticator=registered())
    admission = entrance.comes("lamp", is_lab, said(method, b"x"))
    (refusal,) = entrance.verdicts
    assert isinstance(refusal, MqttError)
    assert refusal.code is ReasonCode.BAD_AUTHENTICATION_METHOD
    assert admission.user_name == ""


def test_no_authentication_begins_without_tls() -> None:
    entrance = Entrance(authenticator=registered())
    entrance.link.protection = None
    entrance.comes("lamp", properties=said(METHOD, b"x"))
    (refusal,) = entrance.verdicts
    assert isinstance(refusal, AuthenticationFailed)
    assert refusal.reason == "password needs TLS"


SENSOR = Principal("sensor", "sensor/1", "jwt-es256", 1, NOW + 5)


def fresh(exp: int = 60) -> Auth:
    return auth(token(EC_KEY, claims(exp=int(NOW) + exp)), ReasonCode.REAUTHENTICATE, "jwt")


def test_a_renewal_by_token_gives_the_principal_with_its_new_end() -> None:
    entrance = Entrance(authenticator=registered())
    renewal = Renewal(entrance.admissions, entrance.link, "jwt")
    assert renewal.proceed(fresh(), SENSOR).principal == Principal("sensor", "sensor/1", "jwt-es256", 1, NOW + 120)


def test_a_renewal_by_scram_takes_its_rounds() -> None:
    entrance, peer = Entrance(authenticator=registered()), ScramPeer("lamp")
    lamp = Principal("lamp", "lamp", "scram-sha-256", 2)
    renewal = Renewal(entrance.admissions, entrance.link, METHOD)
    turn = renewal.proceed(auth(peer.first(), ReasonCode.REAUTHENTICATE), lamp)
    assert turn.principal is None
    turn = renewal.proceed(auth(peer.final(turn.data)), lamp)
    assert turn.principal == lamp
    peer.check(turn.data)


def test_a_client_may_renew_so_often_in_a_minute_and_again_in_the_next() -> None:
    entrance = Entrance(authenticator=registered())
    renewal = Renewal(entrance.admissions, entrance.link, "jwt")
    for _ in range(2):
        renewal.proceed(fresh(), SENSOR)
    with pytest.raises(RateExceeded, match="more than 2 times"):
        renewal.proceed(fresh(), SENSOR)
    entrance.now += 59.9
    with pytest.raises(RateExceeded):
        renewal.proceed(fresh(), SENSOR)
    entrance.now += 0.1
    assert renewal.proceed(fresh(), SENSOR).principal is not None
    entrance.now -= 3600  # the clock was set back
    assert renewal.proceed(auth(token(EC_KEY, claims(iat=int(NOW) - 3600)), 0x19, "jwt"), SENSOR).principal is not None
