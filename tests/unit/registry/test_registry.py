"""The gate's view: loaded at once, kept up to date by the change log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lockgate.errors import Conflict
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.permission import Operation, Rule
from lockgate.registry.registry import CHANGES_PER_POLL, Registry
from lockgate.store import registry_db
from lockgate.store import rules as stored
from lockgate.store.credentials import revoke_credential
from lockgate.store.groups import bind_gateway, remove_group, set_group_blocked, set_metadata
from lockgate.store.registry_db import ChangeKind, RegistryDb
from lockgate.store.rules import Held


def device(name: str, *keys: str, groups: tuple[str, ...] = ()) -> Device:
    return Device(name, groups=groups, credentials=tuple(credential(name, key) for key in keys))


def credential(name: str, key: str) -> Credential:
    return Credential(0, name, CredentialKind.X509, "PEM", key)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as office:
        yield office


@pytest.fixture
def gate(office: RegistryDb) -> Iterator[RegistryDb]:
    with RegistryDb(office.path, read_only=True) as gate:
        yield gate


def add(office: RegistryDb, one: Device, *rules: Rule) -> None:
    office.add_device(one, rules, actor="anna", now=1.0)


def test_it_starts_with_everything_that_is_there(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("a", "k1", groups=("g",)), Rule("device:a", Operation.PUBLISH, "own"))
    for subject in ("group:g", "group:h", "everyone", "device:b"):
        office.add_rule(Rule(subject, Operation.RECEIVE, subject), actor="anna", now=1.0)
    registry = Registry(gate)
    assert len(registry) == 1
    assert registry.device("a") == office.device("a")
    found = registry.credential_by_thumbprint("k1")
    assert found is not None
    assert found.device == "a"
    assert [rule.filter for rule in registry.rules_for("a")] == ["own", "group:g", "everyone"]
    assert [rule.filter for rule in registry.rules_for("nobody")] == ["everyone"]
    assert registry.poll() == []


def test_a_gate_that_is_far_behind_reads_everything_anew_and_hears_of_all(
    office: RegistryDb, gate: RegistryDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_db, "MAX_CHANGES", 5)
    add(office, device("gone", "k0"), Rule("device:gone", Operation.PUBLISH, "x"))
    registry = Registry(gate)
    office.remove_device("gone", actor="anna", now=1.0)
    office.add_rule(Rule("everyone", Operation.PUBLISH, "y"), actor="anna", now=1.0)
    for number in range(10):
        add(office, device(f"d{number}", f"k{number + 1}"))
    epoch = registry.epoch
    changes = {(change.kind, change.name) for change in registry.poll()}
    assert {("device", "gone"), ("device", "d9"), ("rule", "device:gone"), ("rule", "everyone")} <= changes
    assert {kind for kind, _ in changes} == set(ChangeKind)
    assert (len(registry), registry.epoch, registry.credential_by_thumbprint("k0")) == (10, epoch + 1, None)
    assert [rule.filter for rule in registry.rules_for("gone")] == ["y"]
    assert registry.poll() == []


def test_a_poll_with_nothing_new_reads_nothing(office: RegistryDb, gate: RegistryDb) -> None:
    registry = Registry(gate)
    statements: list[str] = []
    gate._connection.set_trace_callback(statements.append)
    assert registry.poll() == []
    assert statements == ["PRAGMA data_version"]
    assert registry.epoch == 0


def test_a_key_that_was_written_a_moment_ago_is_found_and_the_next_poll_still_tells_of_it(
    office: RegistryDb, gate: RegistryDb
) -> None:
    registry = Registry(gate)
    add(office, device("a", "k1"))
    office.set_blocked("a", True, actor="anna", now=2.0)
    found = registry.credential_by_thumbprint("k1")
    assert found is not None
    assert found.device == "a"
    assert registry.credential_by_thumbprint("k2") is None
    add(office, device("b", "k2"))
    assert [each.name for each in registry.poll()] == ["a", "a", "b"]
    assert registry.poll() == []


def test_a_key_that_cannot_be_looked_up_is_unknown_and_no_change_is_lost(
    office: RegistryDb, gate: RegistryDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(gate)
    add(office, device("a", "k1"))

    def fails(*_: object) -> list[Device]:
        raise Conflict("the database is busy")

    with monkeypatch.context() as broken:
        broken.setattr(gate, "devices", fails)
        assert registry.credential_by_thumbprint("k1") is None
    assert [each.name for each in registry.poll()] == ["a"]


def test_a_new_device_is_found_after_a_poll(office: RegistryDb, gate: RegistryDb) -> None:
    registry = Registry(gate)
    add(office, device("a", "k1"))
    assert registry.device("a") is None
    assert [(change.kind, change.name) for change in registry.poll()] == [("device", "a")]
    assert registry.device("a") == office.device("a")
    assert registry.epoch == 1
    assert registry.poll() == []
    assert registry.epoch == 1


def test_a_removed_device_is_gone_with_its_keys_and_rules(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("a", "k1"), Rule("device:a", Operation.PUBLISH, "x"))
    add(office, device("b", "k2"))
    registry = Registry(gate)
    office.remove_device("a", actor="anna", now=1.0)
    registry.poll()
    assert (registry.device("a"), registry.credential_by_thumbprint("k1"), registry.rules_for("a")) == (None, None, ())
    assert registry.credential_by_thumbprint("k2") is not None


def test_a_key_that_moves_to_another_device_is_that_devices(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("b", "k1"))
    registry = Registry(gate)
    office.remove_device("b", actor="anna", now=1.0)
    add(office, device("a", "k1"))
    registry.poll()
    found = registry.credential_by_thumbprint("k1")
    assert found is not None
    assert found.device == "a"


def test_blocking_revoking_and_groups_arrive(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("a", "k1"))
    office.add_rule(Rule("group:g", Operation.PUBLISH, "of g"), actor="anna", now=1.0)
    registry = Registry(gate)
    office.set_blocked("a", True, actor="anna", now=1.0)
    office.revoke_credentials("a", actor="anna", now=1.0)
    office.join_group("a", "g", actor="anna", now=1.0)
    assert len(registry.poll()) == 3
    found = registry.device("a")
    assert found is not None
    assert (found.is_blocked, found.credentials[0].is_revoked) == (True, True)
    revoked = registry.credential_by_thumbprint("k1")
    assert revoked is not None
    assert revoked.is_revoked
    assert [rule.filter for rule in registry.rules_for("a")] == ["of g"]


def test_of_two_credentials_over_one_key_the_newest_good_one_counts(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("a", "k1"))
    for kind in (CredentialKind.X509, CredentialKind.X509, CredentialKind.JWT_ES256):
        office.add_credential(Credential(0, "a", kind, "PEM", "k1"), actor="anna", now=1.0)
    found = Registry(gate).credential_by_thumbprint("k1")
    assert found is not None
    assert (found.id, found.kind, found.is_revoked) == (3, CredentialKind.X509, False)
    for number in (1, 2, 3):
        revoke_credential(office, number, actor="anna", now=1.0)
    found = Registry(gate).credential_by_thumbprint("k1")
    assert found is not None
    assert found.id == 4, "one that holds counts more than a certificate that does not"


def test_a_change_of_a_group_reaches_every_member(office: RegistryDb, gate: RegistryDb) -> None:
    for name in ("a", "b", "c"):
        add(office, device(name, groups=("g", "h") if name != "c" else ("h",)))
    registry = Registry(gate)
    assert registry.members("g") == ["a", "b"]
    set_group_blocked(office, "g", True, actor="anna", now=1.0)
    assert [(each.kind, each.name) for each in registry.poll()] == [("group", "g"), ("device", "a"), ("device", "b")]

    def shut_out() -> list[str]:
        found = [registry.device(name) for name in ("a", "b", "c")]
        assert found == [gate.device(name) for name in ("a", "b", "c")]
        return [one.name for one in found if one is not None and one.is_shut_out]

    assert shut_out() == ["a", "b"]
    office.join_group("c", "g", actor="anna", now=1.0)
    office.leave_group("b", "g", actor="anna", now=1.0)
    registry.poll()
    assert shut_out() == ["a", "c"]
    set_group_blocked(office, "g", False, actor="anna", now=1.0)
    assert [each.name for each in registry.poll()] == ["g", "a", "c"]
    assert shut_out() == []
    remove_group(office, "g", actor="anna", now=1.0)
    assert [each.name for each in registry.poll()] == ["g", "a", "c"]
    assert shut_out() == []
    assert registry.members("g") == []


def test_a_group_blocked_before_the_start_is_blocked(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("a", groups=("g",)))
    set_group_blocked(office, "g", True, actor="anna", now=1.0)
    found = Registry(gate).device("a")
    assert found is not None
    assert found.blocked_groups == ("g",)


def test_gateways_and_metadata_arrive(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("a"))
    add(office, device("gw"))
    registry = Registry(gate)
    bind_gateway(office, "a", "gw", actor="anna", now=1.0)
    set_metadata(office, "a", {"site": "north"}, actor="anna", now=1.0)
    assert {each.name for each in registry.poll()} == {"a", "gw"}
    found = registry.device("a")
    assert found is not None
    assert (found.gateways, found.metadata) == (("gw",), {"site": "north"})
    office.remove_device("gw", actor="anna", now=1.0)
    assert [each.name for each in registry.poll()] == ["a", "gw"]
    found = registry.device("a")
    assert found is not None
    assert found.gateways == ()


def test_rules_come_and_go(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("a"))
    registry = Registry(gate)
    number = office.add_rule(Rule("everyone", Operation.PUBLISH, "x"), actor="anna", now=1.0)
    registry.poll()
    assert [rule.id for rule in registry.rules_for("a")] == [number]
    office.remove_rule(number, actor="anna", now=1.0)
    registry.poll()
    assert registry.rules_for("a") == ()


def test_a_new_server_certificate_is_told(office: RegistryDb, gate: RegistryDb) -> None:
    registry = Registry(gate)
    office.note_change(ChangeKind.SERVER_CERTIFICATE, "server", actor="anna", now=1.0)
    assert [change.kind for change in registry.poll()] == ["server-certificate"]


def test_a_change_in_bulk_is_applied_in_slices(office: RegistryDb, gate: RegistryDb) -> None:
    registry = Registry(gate)
    office.add_devices([(device(f"d{n}"), ()) for n in range(2 * CHANGES_PER_POLL + 1)], actor="anna", now=1.0)
    sizes = [len(registry.poll()) for _ in range(4)]
    assert sizes == [CHANGES_PER_POLL, CHANGES_PER_POLL, 1, 0]
    assert len(registry) == 2 * CHANGES_PER_POLL + 1


def test_roles_of_a_device_and_of_its_groups_bring_their_rules_and_go_again(
    office: RegistryDb, gate: RegistryDb
) -> None:
    add(office, device("a", "k1", groups=("g",)))
    for name, holder in (("one", "device:a"), ("two", "group:g"), ("both", "device:a"), ("both", "group:g")):
        with suppress(Conflict):
            stored.add_role(office, name, actor="anna", now=1.0)
            office.add_rule(Rule(f"role:{name}", Operation.PUBLISH, name), actor="anna", now=1.0)
        stored.grant_role(office, Held(name, holder), actor="anna", now=1.0)
    registry = Registry(gate)
    assert sorted(rule.filter for rule in registry.rules_for("a")) == ["both", "one", "two"]
    assert registry.rules_for("b") == ()
    epoch = registry.epoch
    stored.revoke_role(office, Held("two", "group:g"), actor="anna", now=1.0)
    stored.remove_role(office, "one", actor="anna", now=1.0)
    registry.poll()
    assert registry.epoch > epoch
    assert [rule.filter for rule in registry.rules_for("a")] == ["both"]
    stored.grant_role(office, Held("two", "device:a"), actor="anna", now=1.0)
    registry.poll()
    assert sorted(rule.filter for rule in registry.rules_for("a")) == ["both", "two"]


def test_a_device_that_is_registered_again_has_no_roles_of_the_one_before(office: RegistryDb, gate: RegistryDb) -> None:
    add(office, device("a", "k1"))
    stored.add_role(office, "r", actor="anna", now=1.0)
    office.add_rule(Rule("role:r", Operation.PUBLISH, "x"), actor="anna", now=1.0)
    stored.grant_role(office, Held("r", "device:a"), actor="anna", now=1.0)
    registry = Registry(gate)
    assert registry.rules_for("a")
    office.remove_device("a", actor="anna", now=1.0)
    add(office, device("a", "k2"))
    registry.poll()
    assert registry.rules_for("a") == ()


def test_a_group_that_is_made_again_has_no_roles_of_the_one_before(office: RegistryDb, gate: RegistryDb) -> None:
    registry = Registry(gate)
    stored.add_role(office, "r", actor="anna", now=1.0)
    office.add_rule(Rule("role:r", Operation.PUBLISH, "x"), actor="anna", now=1.0)
    office.add_device(Device("a"), actor="anna", now=1.0)
    office.join_group("a", "g", actor="anna", now=1.0)
    stored.grant_role(office, Held("r", "group:g"), actor="anna", now=1.0)
    registry.poll()
    assert [rule.filter for rule in registry.rules_for("a")] == ["x"]
    remove_group(office, "g", actor="anna", now=1.0)
    office.join_group("a", "g", actor="anna", now=1.0)
    assert stored.held_roles(office) == []
    registry.poll()
    assert registry.rules_for("a") == ()
    assert Registry(gate).rules_for("a") == (), "so it is for a hub that starts anew"
