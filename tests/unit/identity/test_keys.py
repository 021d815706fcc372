"""What a DTLS handshake asks of the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.identity.keys import DtlsKeyring
from lockgate.pki.authority import Authority
from lockgate.registry.vault import Vault
from tests.support.registry import EC_KEY, NOW, OTHER_EC_KEY, FakeRegistry, psk, rpk, spki, x509_key

ISSUING = Authority.create_root(now=NOW).create_issuing(now=NOW)
LEAF = ISSUING.issue_device("office", OTHER_EC_KEY.public_key(), now=NOW, life_seconds=5000)
KEY = b"k" * 32


@pytest.fixture
def registry(tmp_path: Path) -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("lamp", psk(Vault(tmp_path / "secrets.key"), "lamp", KEY))
    registry.add("meter", rpk(EC_KEY))
    registry.add("office", x509_key(OTHER_EC_KEY))
    return registry


@pytest.fixture
def keyring(registry: FakeRegistry, tmp_path: Path) -> DtlsKeyring:
    return DtlsKeyring(registry, Vault(tmp_path / "secrets.key"))


@pytest.mark.requirement("C2")
def test_it_knows_keys_and_certificates_that_hold(keyring: DtlsKeyring) -> None:
    assert keyring.psk(b"lamp") == KEY
    assert keyring.is_known_key(spki(EC_KEY))
    assert not keyring.is_barred(LEAF)


def test_it_knows_nothing_of_strangers(keyring: DtlsKeyring) -> None:
    assert keyring.psk(b"kettle") is None
    assert not keyring.is_known_key(spki(OTHER_EC_KEY))
    assert keyring.is_barred(ISSUING.issue_device("x", EC_KEY.public_key(), now=NOW, life_seconds=5000)) is False
    stranger = ISSUING.issue_device("nobody", Authority.create_root(now=NOW).certificate.public_key(), now=NOW)  # type: ignore[arg-type]
    assert keyring.is_barred(stranger)


def test_whoever_is_revoked_ends_at_the_handshake_at_once(keyring: DtlsKeyring, registry: FakeRegistry) -> None:
    for name in ("lamp", "meter", "office"):
        registry.change_credentials(name, is_revoked=True)
    assert keyring.psk(b"lamp") is None
    assert not keyring.is_known_key(spki(EC_KEY))
    assert keyring.is_barred(LEAF)


def test_who_is_blocked_or_late_gets_through_and_is_told_by_the_door(
    keyring: DtlsKeyring, registry: FakeRegistry
) -> None:
    registry.change_credentials("lamp", expires_at=NOW - 1)
    registry.change("meter", is_blocked=True)
    assert keyring.psk(b"lamp") == KEY
    assert keyring.is_known_key(spki(EC_KEY))


def test_a_vault_that_does_not_open_is_no_key_and_not_an_exception_in_the_library(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    assert DtlsKeyring(registry, Vault(tmp_path / "other.key")).psk(b"lamp") is None
