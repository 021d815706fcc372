"""Threat: the time that a refusal takes tells which devices exist. Both take the same steps (no clock is read here)."""

from __future__ import annotations

import pytest

from lockgate.identity.password import MAX_PASSWORD_BYTES
from lockgate.model.device import Credential
from tests.attacks.conftest import Target
from tests.support.registry import CHEAP_HASHER


class CountingHasher:
    """Counts what is asked of the hasher."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def hash(self, secret: bytes) -> str:
        """Hash, and count it."""
        self.calls.append("hash")
        return CHEAP_HASHER.hash(secret)

    def verify(self, phc: str, secret: bytes) -> bool:
        """Verify, and count it."""
        self.calls.append("verify")
        return CHEAP_HASHER.verify(phc, secret)


@pytest.fixture
def hasher(target: Target, monkeypatch: pytest.MonkeyPatch) -> CountingHasher:
    hasher = CountingHasher()
    monkeypatch.setattr(target.identity._passwords, "_hasher", hasher)
    return hasher


WRONG = [("kettle", "known"), ("nobody", "unknown"), ("sensor", "without a password"), ("", "without a name")]


@pytest.mark.requirement("Q9")
@pytest.mark.parametrize(("name", "_what"), WRONG)
def test_every_first_wrong_password_costs_the_same(
    target: Target, hasher: CountingHasher, name: str, _what: str
) -> None:
    target.refuses(b"wrong", name)
    assert sorted(hasher.calls) == ["hash", "verify"]


@pytest.mark.parametrize(("name", "_what"), WRONG)
def test_every_further_wrong_password_costs_one_verification(
    target: Target, hasher: CountingHasher, name: str, _what: str
) -> None:
    target.refuses(b"wrong", "somebody")
    hasher.calls.clear()
    target.refuses(b"wrong", name)
    assert hasher.calls == ["verify"]


@pytest.mark.parametrize(("name", "_what"), WRONG)
def test_a_password_that_is_too_long_is_hashed_for_nobody(
    target: Target, hasher: CountingHasher, name: str, _what: str
) -> None:
    target.refuses(b"x" * (MAX_PASSWORD_BYTES + 1), name)
    assert "verify" not in hasher.calls


def test_the_answer_is_the_same_too(target: Target) -> None:
    answers = {target.refuses(b"wrong", name).reason for name, _ in WRONG}
    assert answers == {"bad user name or password"}


def test_a_blocked_or_revoked_device_is_not_told_apart_without_the_password(target: Target) -> None:
    target.registry.change("kettle", is_blocked=True)
    assert target.refuses(b"wrong", "kettle").reason == "bad user name or password"
    target.registry.change_credentials("kettle", is_revoked=True)
    credential: Credential = target.registry.devices["kettle"].credentials[0]
    assert credential.is_revoked
    assert target.refuses(b"wrong", "kettle").reason == "bad user name or password"
