"""Threat: a password crosses the network in the clear, where anybody can read it."""

from __future__ import annotations

import pytest

from lockgate.model.principal import Principal
from tests.attacks.conftest import Target


@pytest.mark.requirement("Q11")
@pytest.mark.parametrize("secret", [b"right", b"wrong", b""])
@pytest.mark.parametrize("name", ["kettle", "nobody"])
def test_a_password_over_plaintext_is_refused_right_or_wrong(target: Target, secret: bytes, name: str) -> None:
    error = target.refuses(secret, name, is_protected=False)
    assert error.reason == "password needs TLS"
    assert "new password" in error.fix


def test_no_hash_tells_whether_the_password_over_plaintext_was_right(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target.identity._passwords, "_hasher", None)
    assert target.refuses(b"right", "kettle", is_protected=False).reason == "password needs TLS"


def test_the_same_password_over_tls_opens(target: Target) -> None:
    assert isinstance(target.shows(b"right", "kettle"), Principal)
