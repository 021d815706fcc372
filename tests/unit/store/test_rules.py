"""Rules and roles in registry.db: kept whole, in their order, audited, told to the gate, and migrated."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockgate.errors import Conflict, NotFound
from lockgate.model.device import Device
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.store import rules as room
from lockgate.store.groups import remove_group
from lockgate.store.registry_db import RegistryDb
from lockgate.store.rules import Held, PolicyChange

PUBLISH, RECEIVE = Operation.PUBLISH, Operation.RECEIVE
FULL = Rule("everyone", PUBLISH, "a/${group}/+", Effect.ALLOW, (0, 2), False, 0, 100, 2.5)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        db.add_device(Device("a", groups=("g",)), actor="anna", now=1.0)
        yield db


def add(db: RegistryDb, rule: Rule) -> int:
    return room.add_rule(db, rule, actor="anna", now=1.0)


def role(db: RegistryDb, name: str = "r", *holders: str) -> None:
    room.add_role(db, name, actor="anna", now=1.0)
    for holder in holders:
        room.grant_role(db, Held(name, holder), actor="anna", now=1.0)


def last(db: RegistryDb, count: int = 1) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in db.changes_since(db.last_sequence - count)]


def test_a_rule_comes_back_with_everything_it_says(db: RegistryDb) -> None:
    assert add(db, FULL) == 1
    assert add(db, Rule("device:a", RECEIVE, "b", Effect.DENY)) == 2
    assert [rule.content for rule in room.rules(db)] == [FULL, Rule("device:a", RECEIVE, "b", Effect.DENY)]
    assert [rule.id for rule in room.rules(db, "device:a")] == [2]
    room.remove_rule(db, 1, actor="anna", now=1.0)
    assert [rule.id for rule in db.rules()] == [2]
    assert last(db) == [("rule", "everyone")]


def test_a_role_is_made_held_and_taken_away(db: RegistryDb) -> None:
    role(db, "r", "device:a", "group:g")
    add(db, Rule("role:r", PUBLISH, "x"))
    assert room.roles(db) == ["r"]
    assert room.held_roles(db) == [Held("r", "device:a"), Held("r", "group:g")]
    assert room.held_roles(db, ["group:g"]) == [Held("r", "group:g")]
    assert room.roles_by_holder(room.held_roles(db)) == {"device:a": ("r",), "group:g": ("r",)}
    assert not room.grant_role(db, Held("r", "group:g"), actor="anna", now=1.0), "it holds it already"
    room.revoke_role(db, Held("r", "device:a"), actor="anna", now=1.0)
    assert last(db) == [("role", "device:a")]
    room.remove_role(db, "r", actor="anna", now=1.0)
    assert last(db, 2) == [("role", "group:g"), ("rule", "role:r")]
    assert (room.roles(db), room.held_roles(db), db.rules()) == ([], [], [])


def test_a_removed_device_leaves_its_roles_behind(db: RegistryDb) -> None:
    role(db, "r", "device:a", "group:g")
    db.remove_device("a", actor="anna", now=1.0)
    assert room.held_roles(db) == [Held("r", "group:g")]


def test_a_removed_group_leaves_its_roles_behind(db: RegistryDb) -> None:
    role(db, "r", "group:g")
    remove_group(db, "g", actor="anna", now=1.0)
    assert room.held_roles(db) == []
    assert ("role", "group:g") in last(db, 3)


def test_a_role_without_rules_goes_without_a_word_about_rules(db: RegistryDb) -> None:
    role(db)
    sequence = db.last_sequence
    room.remove_role(db, "r", actor="anna", now=1.0)
    assert db.last_sequence == sequence


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda db: add(db, Rule("role:none", PUBLISH, "x")), NotFound),
        (lambda db: room.remove_rule(db, 9, actor="anna", now=1.0), NotFound),
        (lambda db: room.add_role(db, "there", actor="anna", now=1.0), Conflict),
        (lambda db: room.remove_role(db, "none", actor="anna", now=1.0), NotFound),
        (lambda db: room.grant_role(db, Held("none", "device:a"), actor="anna", now=1.0), NotFound),
        (lambda db: room.grant_role(db, Held("there", "device:none"), actor="anna", now=1.0), NotFound),
        (lambda db: room.revoke_role(db, Held("there", "device:a"), actor="anna", now=1.0), NotFound),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    db: RegistryDb, act: Callable[[RegistryDb], object], error: type[Exception]
) -> None:
    role(db, "there")
    before = (db.snapshot(), db.audit())
    with pytest.raises(error) as caught:
        act(db)
    assert caught.value.fix  # type: ignore[attr-defined]
    assert (db.snapshot(), db.audit()) == before


def test_a_whole_change_lands_together_or_not_at_all(db: RegistryDb) -> None:
    role(db, "old", "device:a")
    add(db, Rule("role:old", PUBLISH, "x"))
    number = add(db, FULL)
    change = PolicyChange(
        add_rules=(Rule("role:new", PUBLISH, "y"), Rule("device:a", PUBLISH, "z")),
        remove_rules=tuple(rule for rule in db.rules() if rule.id == number),
        add_roles=("new", "old2"),
        remove_roles=("old",),
        grant=(Held("new", "group:g"),),
        revoke=(Held("old", "device:a"), Held("old", "device:a")),
    )
    before = (db.snapshot(), db.audit())
    for wrong in (Rule("device:none", PUBLISH, "x"), Rule("role:none", PUBLISH, "x")):
        with pytest.raises(NotFound):
            room.change_policy(
                db, PolicyChange((*change.add_rules, wrong), remove_roles=("old",), add_roles=("new",)),
                actor="anna", now=1.0,
            )  # fmt: skip
        assert (db.snapshot(), db.audit()) == before
    room.change_policy(db, change, actor="anna", now=1.0)
    assert [rule.sentence for rule in db.rules()] == ["role:new: allow publish y", "device:a: allow publish z"]
    assert room.roles(db) == ["new", "old2"]
    assert room.held_roles(db) == [Held("new", "group:g")]
    assert PolicyChange().is_empty
    assert not change.is_empty


def test_the_highest_qos_of_earlier_homes_becomes_levels(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    old = sqlite3.connect(path)
    migrations = Path(room.__file__).parent / "migrations"
    for number in (1, 2, 3):
        old.executescript((migrations / f"registry_000{number}.sql").read_text())
    for level in (0, 1, 2):
        old.execute(
            "INSERT INTO rule (subject, operation, filter, effect, max_qos, retain)"
            " VALUES ('everyone', 'publish', 'x', 'allow', ?, 0)",
            (level,),
        )
    old.executescript((migrations / "registry_0004.sql").read_text())
    rows = old.execute("SELECT qos, retain, max_payload_bytes, messages_per_second FROM rule ORDER BY id").fetchall()
    old.close()
    assert rows == [("0", 0, None, None), ("01", 0, None, None), ("012", 0, None, None)]
