"""What is kept beside the messages goes with the devices and keys that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.mosquitto_hash import PREFIX
from lockgate.registry.registry import Registry
from lockgate.registry.upkeep import Upkeep
from lockgate.store.credentials import replace_hashes, revoke_credential
from lockgate.store.messages_db import MessagesDb
from lockgate.store.messages_reader import read_rehashed, read_seen
from lockgate.store.registry_db import RegistryDb

OLD = PREFIX + "c2FsdA==$" + "aGFzaA=="


class Gate:
    """A registry in memory with its two files."""

    def __init__(self, folder: Path) -> None:
        self.database = RegistryDb(folder / "registry.db")
        self.path = folder / "messages.db"
        for name in ("lamp", "kettle"):
            self.add(name)
        self.store = MessagesDb(self.path)
        self.read_only = RegistryDb(folder / "registry.db", read_only=True)
        self.registry = Registry(self.read_only)
        self.upkeep = Upkeep(self.registry, self.read_only, self.store)

    def add(self, name: str) -> None:
        held = Credential(0, name, CredentialKind.PASSWORD, OLD)
        self.database.add_device(Device(name, credentials=(held,)), actor="anna", now=1.0)

    def seen(self) -> set[tuple[str, str]]:
        self.store.flush()
        return {(name, kind) for name, kinds in read_seen(self.path).items() for kind in kinds}

    def rehashed(self) -> set[int]:
        self.store.flush()
        return set(read_rehashed(self.path))

    def polls(self) -> None:
        self.upkeep.follow(self.registry.poll())


ALL = [
    ("lamp", "connect", 1.0, ""), ("lamp", "credential 1", 1.0, ""),
    ("kettle", "connect", 1.0, ""), ("kettle", "credential 2", 1.0, ""),
]  # fmt: skip
OF_KETTLE = {("kettle", "connect"), ("kettle", "credential 2")}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.store.close()
    gate.read_only.close()
    gate.database.close()


def test_when_a_removed_device_was_seen_is_forgotten_at_once_and_not_noted_again(gate: Gate) -> None:
    gate.upkeep.save_seen(ALL)
    assert len(gate.seen()) == 4
    gate.upkeep.save_seen([("lamp", "error", 2.0, "waits for the disk")])
    gate.database.remove_device("lamp", actor="anna", now=3.0)
    gate.polls()
    assert gate.seen() == OF_KETTLE
    gate.upkeep.save_seen([("lamp", "error", 4.0, "device not registered")])
    assert gate.seen() == OF_KETTLE


def test_a_device_of_the_same_name_begins_anew(gate: Gate) -> None:
    gate.upkeep.save_seen(ALL)
    gate.database.remove_device("lamp", actor="anna", now=3.0)
    gate.polls()
    gate.add("lamp")
    gate.polls()
    gate.upkeep.save_seen([("lamp", "credential 3", 4.0, ""), ("lamp", "credential 1", 2.0, "too late")])
    assert gate.seen() == OF_KETTLE | {("lamp", "credential 3")}


def test_when_a_revoked_key_was_last_used_stays_to_be_asked_for(gate: Gate) -> None:
    gate.upkeep.save_seen(ALL)
    revoke_credential(gate.database, 1, actor="anna", now=3.0)
    gate.polls()
    assert len(gate.seen()) == 4


def test_what_changed_while_no_hub_ran_is_cleared_at_the_start(gate: Gate) -> None:
    gate.store.save_seen([*ALL, ("kettle", "credential 9", 1.0, "")])
    gate.store.save_rehashed({1: "$argon2id$one", 2: "$argon2id$two", 9: "$argon2id$nine"})
    gate.store.flush()
    gate.database.remove_device("lamp", actor="anna", now=3.0)
    Upkeep(Registry(gate.database), gate.database, gate.store).begin(gate.path)
    assert gate.seen() == OF_KETTLE
    assert gate.rehashed() == {2}


@pytest.mark.requirement("F19")
def test_a_better_hash_goes_when_the_registry_has_it(gate: Gate) -> None:
    gate.upkeep.sweep()
    gate.upkeep.save_rehashed({1: "$argon2id$one", 2: "$argon2id$two"})
    gate.upkeep.sweep()
    assert gate.rehashed() == {1, 2}
    replace_hashes(gate.database, {1: "$argon2id$one"}, actor="office", now=2.0)
    gate.upkeep.sweep()
    assert gate.rehashed() == {2}
    gate.database.remove_device("kettle", actor="anna", now=3.0)
    gate.upkeep.sweep()
    assert gate.rehashed() == set()


def test_refusals_and_security_events_are_passed_on(gate: Gate) -> None:
    gate.upkeep.save_refusals([])
    gate.upkeep.save_audit([(1.0, "hub.started", "hub", {})])
    gate.store.flush()
    assert gate.upkeep.save_seen([]) == 0
