"""Threat: a token that was good is shown once more: by somebody else, elsewhere, or after its device was shut out."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.errors import LockgateError, NotAuthorized
from lockgate.identity import Credentials
from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, NOW, es256
from tests.support.tokens import claims, token

GOOD = token(EC_KEY, claims(sub="sensor"))


def reason(target: Target, shown: bytes = GOOD, client_id: str = "sensor") -> str:
    with pytest.raises(LockgateError) as caught:
        target.shows(shown, client_id)
    return caught.value.reason


@pytest.mark.parametrize("client_id", ["camera", "kettle", "office", "nobody", "camera/sensor", "lab", "hub"])
def test_a_caught_token_opens_nobody_elses_session(target: Target, client_id: str) -> None:
    assert reason(target, GOOD, client_id) in {
        "no key for this token", "token algorithm not allowed", "token signature wrong", "token subject wrong",
    }  # fmt: skip


def test_a_caught_token_opens_only_sessions_of_its_own_device(target: Target) -> None:
    for client_id in ("sensor", "sensor/other", ""):
        assert target.shows(GOOD, client_id).device == "sensor"
    with pytest.raises(NotAuthorized):
        target.shows(GOOD, "sensor/+")


def test_a_token_dies_with_its_key(target: Target) -> None:
    assert target.shows(GOOD)
    target.registry.change_credentials("sensor", is_revoked=True)
    assert reason(target) == "credential revoked"
    target.registry.remove("sensor")
    assert reason(target) == "no key for this token"


def test_a_token_of_the_old_key_dies_when_the_device_gets_another(target: Target) -> None:
    fresh = ec.generate_private_key(ec.SECP256R1())
    target.registry.remove("sensor")
    target.registry.add("sensor", es256(fresh))
    assert reason(target) == "token signature wrong"
    assert target.shows(token(fresh)).device == "sensor"


def test_a_token_sleeps_while_its_device_is_blocked(target: Target) -> None:
    target.registry.change("sensor", is_blocked=True)
    assert reason(target) == "device blocked"
    target.registry.change("sensor", is_blocked=False)
    assert target.shows(GOOD)


def test_a_token_of_a_key_that_ended_is_over_before_its_own_end(target: Target) -> None:
    target.registry.change_credentials("sensor", expires_at=NOW)
    assert reason(target) == "credential expired"


def test_who_issued_and_what_it_is_called_open_nothing(target: Target) -> None:
    thief = ec.generate_private_key(ec.SECP256R1())
    target.registry.add("thief", es256(thief))
    for extra in ({"iss": "sensor"}, {"iss": "lockgate"}, {"jti": "1"}, {"azp": "sensor"}, {"client_id": "sensor"}):
        assert reason(target, token(thief, {**claims(), **extra}), "sensor") == "token signature wrong"
        assert target.shows(token(thief, {**claims(), **extra}), "thief").device == "thief"
    assert reason(target, token(thief, claims(sub="sensor")), "thief") == "token subject wrong"


def test_a_token_in_the_wrong_field_is_no_password(target: Target) -> None:
    with pytest.raises(LockgateError):
        target.identity.authenticate(
            msgspec.structs.replace(target_credentials(), user_name=GOOD.decode(), secret=b"x"), NOW
        )


def target_credentials() -> Credentials:
    return Credentials("sensor")
