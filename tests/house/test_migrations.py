"""Every file that an earlier release wrote becomes one of this release, whatever its version."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lockgate.store.sqlite import _APPLICATION_IDS, _migrations, _statements, open_database

VERSIONS = [(family, version) for family in ("registry", "messages") for version in sorted(_migrations(family))]


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return sorted(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


@pytest.mark.parametrize(("family", "version"), VERSIONS)
def test_a_file_of_every_earlier_version_becomes_what_a_new_one_is(tmp_path: Path, family: str, version: int) -> None:
    path = tmp_path / f"{family}.db"
    old = sqlite3.connect(path)
    for number in range(1, version + 1):
        for statement in _statements(_migrations(family)[number]):
            old.execute(statement)
    old.execute(f"PRAGMA application_id = {_APPLICATION_IDS[family]}")
    old.execute(f"PRAGMA user_version = {version}")
    old.commit()
    old.close()
    migrated = open_database(path, family)
    fresh = open_database(tmp_path / "fresh.db", family)
    try:
        assert schema(migrated) == schema(fresh)
        assert migrated.execute("PRAGMA user_version").fetchone() == fresh.execute("PRAGMA user_version").fetchone()
    finally:
        migrated.close()
        fresh.close()


@pytest.mark.parametrize("family", ["registry", "messages"])
def test_migrations_are_numbered_without_a_gap(family: str) -> None:
    numbers = sorted(_migrations(family))
    assert numbers == list(range(1, len(numbers) + 1))
