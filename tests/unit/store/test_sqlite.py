"""SQLite files: made whole, private, migrated, and refused when damaged."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from lockgate.errors import InvalidSettings, StoreDamaged, Unavailable
from lockgate.store.rows import execute_rows
from lockgate.store.sqlite import _migrations, open_database, transaction, translated


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages.db"


def make(path: Path, rows: int = 0) -> None:
    connection = open_database(path, "messages")
    execute_rows(connection, "INSERT INTO seen", [(f"d{n}", "connect", 1.0, "x" * 50) for n in range(rows)])
    connection.close()


def test_a_new_file_is_migrated_and_readable_by_its_owner_alone(path: Path) -> None:
    connection = open_database(path, "messages")
    connection.execute("INSERT INTO incoming VALUES (1)")
    assert connection.execute("PRAGMA user_version").fetchone() == (max(_migrations("messages")),)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"messages.db": 0o600, "messages.db-wal": 0o600, "messages.db-shm": 0o600}
    connection.close()
    assert [file.name for file in path.parent.iterdir()] == ["messages.db"]


def test_a_file_opens_again_with_what_it_held(path: Path) -> None:
    make(path, rows=1000)
    connection = open_database(path, "messages")
    assert connection.execute("SELECT count(*) FROM seen").fetchone() == (1000,)
    connection.close()


def test_an_empty_file_is_damage_and_not_a_beginning(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreDamaged, match=r"messages\.db") as caught:
        open_database(path, "messages")
    assert "restore" in caught.value.fix


def test_text_instead_of_a_database_is_refused_in_one_sentence(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be read as one " * 200)
    with pytest.raises(StoreDamaged, match=r"messages\.db is damaged") as caught:
        open_database(path, "messages")
    assert "\n" not in str(caught.value)


def test_overwritten_pages_are_found_when_opening(path: Path) -> None:
    make(path, rows=5000)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(3 * 4096))
    with pytest.raises(StoreDamaged, match=r"messages\.db is damaged"):
        open_database(path, "messages")


def test_a_truncated_file_is_found_when_opening(path: Path) -> None:
    make(path, rows=5000)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreDamaged, match=r"messages\.db is damaged"):
        open_database(path, "messages")


def test_a_file_of_the_other_family_is_refused(path: Path) -> None:
    make(path)
    with pytest.raises(StoreDamaged, match="not a registry database"):
        open_database(path, "registry")


def test_a_file_of_a_newer_release_is_refused_and_left_alone(path: Path) -> None:
    make(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreDamaged, match=r"newer lockgate.*99"):
        open_database(path, "messages")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (99,)
    connection.close()


def test_an_old_log_is_never_played_into_a_new_file(path: Path) -> None:
    path.with_name("messages.db-wal").write_bytes(b"left behind")
    with pytest.raises(StoreDamaged, match="write-ahead log"):
        open_database(path, "messages")
    assert not path.exists()


def test_reading_makes_no_file(path: Path) -> None:
    with pytest.raises(InvalidSettings, match="does not exist"):
        open_database(path, "messages", read_only=True)
    assert list(path.parent.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="nowhere"):
        open_database(tmp_path / "nowhere" / "messages.db", "messages")


def test_a_reader_cannot_write(path: Path) -> None:
    make(path)
    connection = open_database(path, "messages", read_only=True)
    with pytest.raises(InvalidSettings), translated(path):
        connection.execute("DELETE FROM seen")
    connection.close()


def test_a_file_that_somebody_else_writes_is_unavailable(path: Path) -> None:
    first, second = open_database(path, "messages"), open_database(path, "messages")
    second.execute("PRAGMA busy_timeout = 0")
    with transaction(first), pytest.raises(Unavailable), translated(path), transaction(second):
        pass
    first.close()
    second.close()


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    connection = open_database(path, "messages")
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.executemany("INSERT INTO incoming VALUES (?)", [(1,), (1,)])
    assert connection.execute("SELECT * FROM incoming").fetchall() == []
    connection.close()


def test_what_is_refused_is_left_as_it_was_found(path: Path) -> None:
    first = open_database(path, "messages")
    execute_rows(first, "INSERT INTO incoming", [(n,) for n in range(5000)])
    left = {name: path.with_name(name).read_bytes() for name in ("messages.db", "messages.db-wal")}
    first.close()
    left["messages.db"] = path.read_bytes()[:4096] + os.urandom(4096) + path.read_bytes()[8192:]
    for name, content in left.items():
        path.with_name(name).write_bytes(content)
    with pytest.raises(StoreDamaged):
        open_database(path, "messages")
    assert {name: path.with_name(name).read_bytes() for name in left} == left


def test_a_reader_of_an_older_file_is_told_who_brings_it_up_to_date(path: Path) -> None:
    make(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(StoreDamaged, match="older lockgate") as caught:
        open_database(path, "messages", read_only=True)
    assert "lockgate up" in caught.value.fix


def test_what_a_damaged_file_costs_is_said(tmp_path: Path) -> None:
    for family, lost in (("messages", "sessions"), ("registry", "devices")):
        path = tmp_path / f"{family}.db"
        path.touch()
        with pytest.raises(StoreDamaged) as caught:
            open_database(path, family)
        assert "backup" in caught.value.fix
        assert f"{path.name}*" in caught.value.fix
        assert lost in caught.value.fix


@pytest.mark.parametrize(
    ("code", "words"), [(sqlite3.SQLITE_FULL, "make room"), (sqlite3.SQLITE_IOERR, "whether the disk fails")]
)
def test_a_full_or_failing_disk_is_named(path: Path, code: int, words: str) -> None:
    error = sqlite3.OperationalError("said SQLite")
    error.sqlite_errorcode = code
    with pytest.raises(Unavailable, match="said SQLite") as caught, translated(path):
        raise error
    assert words in caught.value.fix
    assert str(path.parent) in caught.value.fix
