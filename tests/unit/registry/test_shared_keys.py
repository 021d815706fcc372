"""Pre-shared keys beside each other: no two devices have one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.errors import Conflict, LockgateError
from lockgate.model.device import Credential, CredentialKind
from lockgate.registry.registrar import Draft, Registrar
from lockgate.registry.shared_keys import SharedKeys, examine_secrets
from lockgate.registry.vault import SECRETS_FILE, Vault
from lockgate.store.registry_db import RegistryDb
from tests.support.registry import NOW, oscore, psk, rpk

KEY = bytes.fromhex("9f1c05b7e2d84a63b0f5de7713a84c2f")
OTHER = bytes.fromhex("61be09d7c85f42a3917be4d0286fc35a")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        yield db


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / SECRETS_FILE)


@pytest.fixture
def registrar(db: RegistryDb) -> Registrar:
    return Registrar(db, "anna", lambda: NOW)


def offered(name: str, key: bytes = KEY, identity: str = "") -> Credential:
    return Credential(0, name, CredentialKind.PSK, f"{identity or name}:{key.hex()}")


@pytest.mark.requirement("C2", "I8")
def test_a_key_that_another_device_has_is_refused(registrar: Registrar) -> None:
    registrar.add_device("lamp", [offered("lamp")])
    registrar.add_device("other", [offered("other", OTHER)])
    with pytest.raises(Conflict, match="another device's as well") as caught:
        registrar.add_device("kettle", [offered("kettle")])
    assert KEY.hex() not in f"{caught.value}{caught.value.fix}"
    registrar.revoke("lamp")
    with pytest.raises(Conflict, match="another device's as well"):
        registrar.add_device("kettle", [offered("kettle")])
    with pytest.raises(Conflict, match="an earlier one of its own"):
        registrar.add_credential("lamp", offered("lamp", identity="lamp/2"))


def test_two_new_devices_with_one_key_are_both_told(registrar: Registrar) -> None:
    drafts = [Draft("a", (offered("a"),)), Draft("b", (offered("b", OTHER),)), Draft("c", (offered("c"),))]
    assert list(registrar.problems(drafts)) == [2]
    with pytest.raises(Conflict, match="another device's"):
        registrar.add_devices(drafts)


def test_other_kinds_are_not_its_business(db: RegistryDb, vault: Vault) -> None:
    assert SharedKeys(db, vault).problems([rpk(), oscore(vault, "lamp", b"\xa1\xb2")]) == {}


def test_a_key_that_cannot_be_opened_stands_in_nobodys_way(
    registrar: Registrar, db: RegistryDb, vault: Vault, tmp_path: Path
) -> None:
    registrar.add_device("lamp", [offered("lamp")])
    (tmp_path / SECRETS_FILE).unlink()
    assert SharedKeys(db, Vault(vault.path)).problems([psk(Vault(vault.path), "kettle", KEY)]) == {}


def test_the_scan_finds_what_came_past_the_registry(vault: Vault, tmp_path: Path) -> None:
    good = [psk(vault, "lamp", KEY), psk(vault, "lamp", KEY, "lamp/2"), oscore(vault, "valve", b"\xa1\xb2"), rpk()]
    assert examine_secrets(good, vault) == []
    bad: list[tuple[Credential, str]] = [
        (psk(vault, "weak", b"\x01\x02" * 8), "weak: the pre-shared key of weak would be guessed"),
        (psk(vault, "short", KEY[:8]), "has 8"),
        (psk(vault, "twin", KEY), "twin and lamp share one secret"),
        (msgspec.structs.replace(psk(vault, "moved", OTHER), device="elsewhere"), "sealed for another device"),
        (psk(Vault(tmp_path / "lost.key"), "lost", OTHER), "does not hold the key"),
    ]
    found = examine_secrets([*good, *(credential for credential, _ in bad)], vault)
    assert [device for device, _ in found] == [credential.device for credential, _ in bad]
    for (_, text), (_, words) in zip(found, bad, strict=True):
        assert words in text
        assert KEY.hex() not in text


def test_the_registry_keeps_no_key_in_clear(registrar: Registrar, tmp_path: Path) -> None:
    registrar.add_device("lamp", [offered("lamp")])
    kept = (tmp_path / "registry.db").read_bytes()
    assert KEY not in kept
    assert KEY.hex().encode() not in kept
    with pytest.raises(LockgateError) as caught:
        registrar.add_device("bad", [offered("bad", b"\x01\x02" * 8)])
    assert "0102" not in str(caught.value)
