"""Shared secrets sealed anew: the same secrets, by another key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.events import Event
from lockgate.model.device import Credential, CredentialKind
from lockgate.registry.registrar import Registrar
from lockgate.registry.registry import Registry
from lockgate.registry.resealing import reseal
from lockgate.registry.shared_secrets import bound_to
from lockgate.registry.vault import SECRETS_FILE, Vault
from lockgate.store.registry_db import RegistryDb
from tests.support.registry import NOW, es256

KEY = bytes.fromhex("9f1c05b7e2d84a63b0f5de7713a84c2f")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        registrar = Registrar(db, "anna", lambda: NOW)
        registrar.add_device("lamp", [Credential(0, "lamp", CredentialKind.PSK, f"lamp:{KEY.hex()}")])
        valve = Credential(0, "valve", CredentialKind.OSCORE, f"a1b2:{'5e' * 16}:{'5a' * 8}")
        registrar.add_device("valve", [valve, es256()])
        yield db


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / SECRETS_FILE)


def seals(db: RegistryDb) -> dict[str, Credential]:
    return {device.name: device.credentials[0] for device in db.devices()}


def test_every_secret_is_sealed_by_a_new_key_and_the_same_as_before(db: RegistryDb, vault: Vault) -> None:
    before = seals(db)
    running = Registry(db)
    done = reseal(db, vault, actor="anna", now=NOW)
    assert (done.count, done.lost) == (2, ())
    after = seals(db)
    assert {name: c.public.split(":")[1] for name, c in before.items()} != {
        name: c.public.split(":")[1] for name, c in after.items()
    }
    assert Vault(vault.path).open(after["lamp"].public, bound_to(after["lamp"])) == KEY
    assert [each.event for each in db.audit()][-1] == Event.SECRETS_RESEALED
    reseal(db, vault, actor="anna", now=NOW)
    running._version = -1  # as if another process had written
    running.poll()
    lamp = running.device("lamp")
    assert lamp is not None
    assert Vault(vault.path).open(lamp.credentials[0].public, bound_to(lamp.credentials[0])) == KEY


def test_what_a_broken_run_left_is_sealed_before_its_key_goes(db: RegistryDb, vault: Vault) -> None:
    vault.begin_rotation()  # and no more: the process died
    assert reseal(db, vault, actor="anna", now=NOW).count == 2
    lamp = seals(db)["lamp"]
    assert Vault(vault.path).open(lamp.public, bound_to(lamp)) == KEY


def test_what_cannot_be_opened_is_named_and_left_as_it_is(db: RegistryDb, vault: Vault) -> None:
    vault.path.unlink()
    lost = seals(db)["lamp"].public
    done = reseal(db, Vault(vault.path), actor="anna", now=NOW)
    assert (done.count, done.lost) == (0, ("lamp", "valve"))
    assert seals(db)["lamp"].public == lost
