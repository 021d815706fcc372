"""Groups, gateways and metadata in registry.db: what is written, what moves in the change log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.model.device import Device
from lockgate.store.groups import (
    Group,
    add_group,
    bind_gateway,
    blocked_among,
    groups,
    remove_group,
    set_group_blocked,
    unbind_gateway,
)
from lockgate.store.registry_db import RegistryDb


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        for name in ("a", "b"):
            db.add_device(Device(name, groups=("g",)), actor="anna", now=1.0)
        yield db


def moved(db: RegistryDb, since: int) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in db.changes_since(since)]


def test_a_group_exists_with_its_first_member_or_by_itself(db: RegistryDb) -> None:
    add_group(db, "empty", actor="anna", now=2.0)
    db.join_group("a", "h", actor="anna", now=3.0)
    assert groups(db) == [
        Group("empty", False, 2.0), Group("g", False, 1.0, ("a", "b")), Group("h", False, 3.0, ("a",)),
    ]  # fmt: skip
    assert groups(db, "h") == [Group("h", False, 3.0, ("a",))]
    assert groups(db, "i") == []


def test_what_happens_to_a_group_is_one_line_however_many_members_it_has(db: RegistryDb) -> None:
    start = db.last_sequence
    set_group_blocked(db, "g", True, actor="anna", now=2.0)
    set_group_blocked(db, "g", False, actor="anna", now=2.0)
    remove_group(db, "g", actor="anna", now=2.0)
    assert moved(db, start) == [("group", "g")] * 3
    assert [each.event for each in db.audit(2.0)] == ["group.blocked", "group.unblocked", "group.removed"]


def test_who_is_blocked_among_some(db: RegistryDb) -> None:
    db.join_group("a", "h", actor="anna", now=2.0)
    set_group_blocked(db, "h", True, actor="anna", now=2.0)
    assert blocked_among(db, {"g", "h", "i"}) == {"g": False, "h": True, "i": None}


def test_a_binding_moves_the_device_and_its_gateway(db: RegistryDb) -> None:
    start = db.last_sequence
    bind_gateway(db, "a", "b", actor="anna", now=2.0)
    assert moved(db, start) == [("device", "a"), ("device", "b")]
    bind_gateway(db, "a", "b", actor="anna", now=2.0)
    assert len(moved(db, start)) == 2
    unbind_gateway(db, "a", "b", actor="anna", now=2.0)
    assert moved(db, start)[2:] == [("device", "a"), ("device", "b")]
