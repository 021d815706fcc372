"""Passwords: bound to the device, over TLS only, counted when wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lockgate.errors import AuthenticationFailed, RateExceeded, Step
from lockgate.identity import password as room
from lockgate.identity.credentials import Credentials
from lockgate.identity.lockout import Lockout
from lockgate.identity.password import MAX_PASSWORD_BYTES, PasswordVerifier
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.mosquitto_hash import PREFIX
from lockgate.settings import IdentitySettings
from tests.support.registry import CHEAP_HASHER, NOW, FakeRegistry, es256, password
from tests.unit.model.test_mosquitto_hash import OFTEN, ONCE

SHOWN = Credentials("kettle", "kettle", b"right", host="192.0.2.1")
SETTINGS = IdentitySettings(wrong_passwords_before_lockout=3, lockout_seconds=60)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    monkeypatch.setattr(room, "PasswordHasher", lambda: CHEAP_HASHER)
    registry = FakeRegistry()
    registry.add("kettle", password("right"))
    registry.add("sensor", es256())
    return registry


@pytest.fixture
def verifier(registry: FakeRegistry) -> PasswordVerifier:
    return PasswordVerifier(registry, Lockout(registry, SETTINGS))


def shown(**changes: object) -> Credentials:
    return msgspec.structs.replace(SHOWN, **changes)


def refused(verifier: PasswordVerifier, now: float = NOW, **changes: Any) -> AuthenticationFailed:
    with pytest.raises(AuthenticationFailed) as caught:
        verifier.verify(shown(**changes), now)
    return caught.value


def test_the_right_password_gives_the_credential(registry: FakeRegistry, verifier: PasswordVerifier) -> None:
    assert verifier.verify(SHOWN, NOW) == registry.devices["kettle"].credentials[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": b"wrong"},
        {"secret": b""},
        {"secret": None},
        {"secret": b"\xff\x00"},
        {"secret": b"x" * (MAX_PASSWORD_BYTES + 1)},
        {"user_name": "nobody"},
        {"user_name": "sensor"},
        {"user_name": ""},
        {"user_name": None},
    ],
)
def test_every_wrong_pair_gets_the_same_reason(verifier: PasswordVerifier, changes: dict[str, Any]) -> None:
    assert refused(verifier, **changes).reason == "bad user name or password"


def test_a_password_of_the_longest_length_is_checked(registry: FakeRegistry, verifier: PasswordVerifier) -> None:
    registry.add("long", password("x" * MAX_PASSWORD_BYTES))
    assert verifier.verify(shown(user_name="long", secret=b"x" * MAX_PASSWORD_BYTES), NOW).device == "long"


def test_passwords_overlap_while_they_rotate_and_a_live_one_comes_before_a_revoked_one(
    registry: FakeRegistry, verifier: PasswordVerifier
) -> None:
    device = registry.add("kettle", password("old"), password("new"), password("old"))
    first = msgspec.structs.replace(device.credentials[0], is_revoked=True)
    registry.change("kettle", credentials=(first, *device.credentials[1:]))
    assert verifier.verify(shown(secret=b"new"), NOW) == device.credentials[1]
    assert verifier.verify(shown(secret=b"old"), NOW) == device.credentials[2]


def test_a_hash_in_the_registry_that_cannot_be_read_matches_nothing(
    registry: FakeRegistry, verifier: PasswordVerifier
) -> None:
    registry.change_credentials("kettle", public="no hash")
    assert refused(verifier).reason == "bad user name or password"


def test_too_many_wrong_passwords_lock_out_and_the_fix_says_for_how_long(verifier: PasswordVerifier) -> None:
    for _ in range(3):
        refused(verifier, secret=b"wrong")
    with pytest.raises(RateExceeded, match="3 wrong passwords") as caught:
        verifier.verify(SHOWN, NOW)
    assert caught.value.step is Step.CREDENTIAL
    assert "60 s" in caught.value.fix


def test_the_right_password_clears_the_count(verifier: PasswordVerifier) -> None:
    for _ in range(3):
        refused(verifier, secret=b"wrong")
        refused(verifier, secret=b"wrong")
        verifier.verify(SHOWN, NOW)


@pytest.mark.requirement("F19")
def test_a_password_that_came_from_mosquitto_is_checked_as_it_is(
    registry: FakeRegistry, verifier: PasswordVerifier
) -> None:
    for name, hashed, secret in (("once", ONCE, b"secret1"), ("often", OFTEN, b"secret2")):
        registry.add(name, Credential(0, name, CredentialKind.PASSWORD, PREFIX + hashed))
        assert verifier.verify(shown(user_name=name, secret=secret), NOW).device == name
        assert refused(verifier, user_name=name, secret=b"secret").reason == "bad user name or password"


def test_a_password_that_came_from_mosquitto_is_hashed_anew_once_it_was_shown(
    registry: FakeRegistry, verifier: PasswordVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add("once", Credential(7, "once", CredentialKind.PASSWORD, PREFIX + ONCE))
    refused(verifier, user_name="once", secret=b"wrong")
    verifier.verify(SHOWN, NOW)
    assert verifier.take_rehashed() == {}
    number = verifier.verify(shown(user_name="once", secret=b"secret1"), NOW).id
    ((rehashed, text),) = verifier.take_rehashed().items()
    assert rehashed == number
    assert CHEAP_HASHER.verify(text, b"secret1")
    monkeypatch.setattr(room, "MAX_REHASHED", 0)
    verifier.verify(shown(user_name="once", secret=b"secret1"), NOW)
    assert verifier.take_rehashed() == {}
