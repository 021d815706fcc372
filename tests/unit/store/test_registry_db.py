"""registry.db: devices, rules, changes and the audit trail."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockgate.errors import Conflict, LockgateError, NotFound
from lockgate.events import Event
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.store import registry_db
from lockgate.store.registry_db import Change, ChangeKind, RegistryDb

BY = {"actor": "anna", "now": 100.0}


def device(name: str, *thumbprints: str, groups: tuple[str, ...] = ()) -> Device:
    keys = tuple(Credential(0, name, CredentialKind.JWT_ES256, f"PEM of {key}", key, 5.0) for key in thumbprints)
    return Device(name, created_at=5.0, groups=groups, credentials=keys)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        yield db


def add(db: RegistryDb, one: Device, *rules: Rule) -> Device:
    return db.add_device(one, rules, actor="anna", now=100.0)


def test_a_device_comes_back_as_it_was_added_with_numbers(db: RegistryDb) -> None:
    added = add(db, device("a", "k1", "k2", groups=("cellar", "attic")))
    assert [credential.id for credential in added.credentials] == [1, 2]
    assert added.groups == ("attic", "cellar")
    assert db.device("a") == added
    assert db.devices() == [added]
    assert db.device("b") is None


def test_a_credential_number_is_never_given_out_again(db: RegistryDb) -> None:
    add(db, device("a", "k1"))
    db.remove_device("a", actor="anna", now=1.0)
    assert [credential.id for credential in add(db, device("a", "k1")).credentials] == [2]


def test_a_name_that_is_taken_is_a_conflict_and_changes_nothing(db: RegistryDb) -> None:
    before = add(db, device("a", "k1"))
    with pytest.raises(Conflict, match="a device a already"):
        add(db, device("a", "k2"), Rule("device:a", Operation.PUBLISH, "x"))
    assert (db.devices(), db.rules(), db.last_sequence, len(db.audit())) == ([before], [], 1, 1)


def test_a_key_of_another_device_is_a_conflict_that_names_the_key_alone(db: RegistryDb) -> None:
    add(db, device("secretname", "k1"))
    with pytest.raises(Conflict, match="k1") as caught:
        add(db, device("b", "k1"))
    assert "secretname" not in str(caught.value) + caught.value.fix
    add(db, device("b", "k2"))
    with pytest.raises(Conflict, match="k1"):
        db.add_credential(Credential(0, "b", CredentialKind.X509, "PEM", "k1"), actor="anna", now=1.0)
    assert [key.thumbprint for key in (db.device("b") or device("")).credentials] == ["k2"]


def test_one_device_may_have_two_credentials_over_one_key(db: RegistryDb) -> None:
    add(db, device("a", "k1"))
    renewed = db.add_credential(Credential(0, "a", CredentialKind.X509, "PEM", "k1", 1.0, 9.0), actor="anna", now=1.0)
    assert (db.device("a") or device("")).credentials[1] == renewed
    assert renewed.id == 2


def test_passwords_have_no_key_and_never_clash(db: RegistryDb) -> None:
    for name in ("a", "b"):
        password = Credential(0, name, CredentialKind.PASSWORD, "$argon2id$...")
        add(db, Device(name, credentials=(password,)))
    assert len(db.devices()) == 2


def test_blocking_and_unblocking(db: RegistryDb) -> None:
    add(db, device("a"))
    db.set_blocked("a", True, **BY)  # type: ignore[arg-type]
    assert (db.device("a") or device("")).is_blocked
    db.set_blocked("a", False, **BY)  # type: ignore[arg-type]
    assert not (db.device("a") or device("")).is_blocked


def test_revoking_takes_all_credentials_and_counts_them(db: RegistryDb) -> None:
    add(db, device("a", "k1", "k2"))
    add(db, device("b", "k3"))
    assert db.revoke_credentials("a", actor="anna", now=1.0) == 2
    assert db.revoke_credentials("a", actor="anna", now=1.0) == 0
    assert [key.is_revoked for one in db.devices() for key in one.credentials] == [True, True, False]


def test_removing_a_device_takes_its_credentials_memberships_and_rules(db: RegistryDb) -> None:
    add(db, device("a", "k1", groups=("g",)), Rule("device:a", Operation.PUBLISH, "x/#"))
    add(db, device("b", "k2", groups=("g",)), Rule("device:b", Operation.PUBLISH, "x/#"))
    db.remove_device("a", actor="anna", now=1.0)
    assert [one.name for one in db.devices()] == ["b"]
    assert [rule.subject for rule in db.rules()] == ["device:b"]
    counts = [
        db._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("credential", "membership")
    ]
    assert counts == [1, 1]


def test_groups_are_joined_and_left(db: RegistryDb) -> None:
    add(db, device("a"))
    db.join_group("a", "g", actor="anna", now=1.0)
    sequence = db.last_sequence
    db.join_group("a", "g", actor="anna", now=1.0)
    assert db.last_sequence == sequence, "joining again changes nothing"
    assert (db.device("a") or device("")).groups == ("g",)
    db.leave_group("a", "g", actor="anna", now=1.0)
    assert (db.device("a") or device("")).groups == ()
    with pytest.raises(NotFound):
        db.leave_group("a", "g", actor="anna", now=1.0)


def test_rules_keep_everything_and_their_order(db: RegistryDb) -> None:
    first = Rule("group:g", Operation.RECEIVE, "a/${device}/+", Effect.DENY, (1,), False)
    second = Rule("everyone", Operation.PUBLISH, "b/#")
    numbers = [db.add_rule(rule, actor="anna", now=1.0) for rule in (first, second)]
    assert [rule.id for rule in db.rules()] == numbers
    assert db.rules("group:g")[0] == Rule("group:g", Operation.RECEIVE, "a/${device}/+", Effect.DENY, (1,), False, 1)
    db.remove_rule(numbers[0], actor="anna", now=1.0)
    assert [rule.filter for rule in db.rules()] == ["b/#"]
    with pytest.raises(NotFound, match="no rule 1"):
        db.remove_rule(numbers[0], actor="anna", now=1.0)


@pytest.mark.parametrize(
    "act",
    [
        lambda db: db.set_blocked("x", True, actor="anna", now=1.0),
        lambda db: db.revoke_credentials("x", actor="anna", now=1.0),
        lambda db: db.remove_device("x", actor="anna", now=1.0),
        lambda db: db.join_group("x", "g", actor="anna", now=1.0),
        lambda db: db.leave_group("x", "g", actor="anna", now=1.0),
        lambda db: db.add_credential(Credential(0, "x", CredentialKind.X509, "", ""), actor="anna", now=1.0),
    ],
)
def test_an_unknown_device_is_not_found(db: RegistryDb, act: Callable[[RegistryDb], object]) -> None:
    with pytest.raises(NotFound, match="no device x"):
        act(db)
    assert (db.last_sequence, db.audit()) == (0, [])


def test_every_write_is_in_the_change_log(db: RegistryDb) -> None:
    add(db, device("a"), Rule("device:a", Operation.PUBLISH, "x"))
    db.set_blocked("a", True, actor="anna", now=1.0)
    db.note_change(ChangeKind.SERVER_CERTIFICATE, "server.pem", actor="anna", now=1.0)
    db.remove_device("a", actor="anna", now=1.0)
    changes = db.changes_since(0)
    assert [(change.kind, change.name) for change in changes] == [
        ("rule", "device:a"),
        ("device", "a"),
        ("device", "a"),
        ("server-certificate", "server.pem"),
        ("rule", "device:a"),
        ("device", "a"),
    ]
    assert [change.sequence for change in changes] == [1, 2, 3, 4, 5, 6]
    assert db.changes_since(2, limit=1) == [Change(3, "device", "a")]
    assert db.changes_since(6) == []


def test_the_data_version_moves_when_another_connection_writes(db: RegistryDb) -> None:
    with RegistryDb(db.path, read_only=True) as reader:
        before = reader.data_version()
        assert reader.data_version() == before
        add(db, device("a"))
        assert reader.data_version() != before
        assert [one.name for one in reader.devices()] == ["a"]


def test_every_write_is_audited_with_who_what_and_when(db: RegistryDb) -> None:
    add(db, device("a", "k1", groups=("g",)), Rule("device:a", Operation.PUBLISH, "x"))
    db.set_blocked("a", True, actor="bert", now=200.0)
    db.add_rule(Rule("everyone", Operation.RECEIVE, "y"), actor="bert", now=300.0)
    first, second, third = db.audit()
    assert (first.at, first.actor, first.event, first.subject) == (100.0, "anna", Event.DEVICE_ADDED, "a")
    assert first.details == {"auth": "jwt-es256", "groups": "g", "rules": "device:a: allow publish x"}
    assert (second.actor, second.event) == ("bert", "device.blocked")
    assert third.details == {"rule": "everyone: allow receive y (rule 2)"}
    assert db.audit(since=200.0) == [second, third]


@pytest.mark.parametrize(
    "attempt",
    [
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit VALUES (1, 0, 'nobody', 'x', 'x', '{}', '')",
        "REPLACE INTO audit VALUES (1, 0, 'nobody', 'x', 'x', '{}', '')",
    ],
)
def test_audit_rows_cannot_be_changed(db: RegistryDb, attempt: str) -> None:
    add(db, device("a"))
    before = db.audit()
    other = sqlite3.connect(db.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute(attempt)
    other.close()
    assert db.audit() == before


def test_the_change_log_keeps_what_a_gate_that_is_behind_needs_and_no_more(
    db: RegistryDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_db, "MAX_CHANGES", 10)
    with db.write() as write:
        for number in range(25):
            write.note_change("device", f"d{number}")
    assert [change.sequence for change in db.changes_since(0)] == list(range(16, 26))
    assert db.last_sequence == 25


def test_ten_thousand_devices_load_in_five_queries(db: RegistryDb) -> None:
    many = [(device(f"d{n:05}", f"key{n}", groups=("all",)), ()) for n in range(10_000)]
    db.add_devices(many, actor="anna", now=1.0)
    statements: list[str] = []
    db._connection.set_trace_callback(statements.append)
    found = db.devices()
    assert len(statements) == 5
    assert len(found) == 10_000
    assert (found[4711].name, found[4711].credentials[0].thumbprint, found[4711].groups) == (
        "d04711",
        "key4711",
        ("all",),
    )
    assert [one.name for one in db.devices(["d00002", "d00001", "nobody"])] == ["d00001", "d00002"]


def test_many_devices_are_added_all_or_none(db: RegistryDb) -> None:
    with pytest.raises(Conflict):
        db.add_devices([(device("a", "k1"), ()), (device("b", "k1"), ())], actor="anna", now=1.0)
    assert (db.devices(), db.last_sequence) == ([], 0)


def test_a_snapshot_holds_everything_and_says_up_to_where(db: RegistryDb) -> None:
    added = add(db, device("a", "k1"), Rule("device:a", Operation.PUBLISH, "x"))
    snapshot = db.snapshot()
    assert (snapshot.sequence, snapshot.devices, [rule.filter for rule in snapshot.rules]) == (2, [added], ["x"])


def test_the_gates_connection_cannot_write(db: RegistryDb) -> None:
    with RegistryDb(db.path, read_only=True) as reader, pytest.raises(LockgateError):
        add(reader, device("a"))
