"""The log beside a database: its own and whole, or refused; never a false alarm after a crash."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.errors import StoreDamaged
from lockgate.store.log_file import FRAME_HEADER_BYTES, HEADER_BYTES, LogMark, begin_log, log_of
from lockgate.store.sqlite import Synchronous, open_database, transaction

FRAME_BYTES = FRAME_HEADER_BYTES + 4096


class Writer:
    """One connection that keeps the mark, as messages.db does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = open_database(path, "messages", check="whole")
        self.mark = LogMark(path)
        self.count = int(self.connection.execute("SELECT coalesce(max(key), 0) FROM incoming").fetchone()[0])

    def write(self, commits: int) -> None:
        for _ in range(commits):
            with transaction(self.connection) as connection:
                self.mark.renew(connection)
                self.count += 1
                connection.execute("INSERT INTO incoming VALUES (?)", (self.count,))
            self.mark.committed()

    def fold(self) -> None:
        """Fold the log into the file, so that the next commit begins it anew."""
        self.connection.execute("PRAGMA wal_checkpoint(RESTART)")

    def crash(self, folder: Path) -> Path:
        """Give a copy of the files as a crash now would leave them."""
        folder.mkdir()
        for name in (self.path, log_of(self.path)):
            shutil.copy(name, folder)
        return folder / self.path.name

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "messages.db")


def keys(path: Path) -> int:
    connection = open_database(path, "messages", check="whole")
    (count,) = connection.execute("SELECT count(*) FROM incoming").fetchone()
    connection.close()
    return int(count)


def test_a_log_that_a_crash_left_is_the_files_own(writer: Writer, tmp_path: Path) -> None:
    total = 0
    for turn in range(12):
        writer.write(turn % 4)
        total += turn % 4
        assert keys(writer.crash(tmp_path / f"crash-{turn}")) == total
        if turn % 3 == 2:
            writer.fold()
    writer.close()


def test_each_log_has_one_mark_of_its_own(writer: Writer) -> None:
    seen = set()
    for _ in range(4):
        writer.write(3)
        seen.add(writer.connection.execute("SELECT mark, previous FROM log_mark").fetchone())
        writer.write(3)
        seen.add(writer.connection.execute("SELECT mark, previous FROM log_mark").fetchone())
        writer.fold()
    writer.close()
    assert len(seen) == 4
    marks, previous = {mark for mark, _ in seen}, {before for _, before in seen}
    assert len(marks & previous) == 3, "each names the one before it"


def test_a_log_left_behind_by_another_state_of_the_file_is_refused(writer: Writer, tmp_path: Path) -> None:
    writer.write(5)
    writer.close()
    backup = shutil.copy(writer.path, tmp_path / "backup")
    again = Writer(writer.path)
    again.write(2)
    again.fold()
    again.write(2)
    path = again.crash(tmp_path / "crash")
    again.close()
    shutil.copy(backup, path)
    before = log_of(path).read_bytes()
    with pytest.raises(StoreDamaged, match="does not belong") as caught:
        open_database(path, "messages")
    assert "move messages.db-wal away" in caught.value.fix
    assert (path.read_bytes(), log_of(path).read_bytes()) == (Path(backup).read_bytes(), before)
    log_of(path).unlink()
    assert keys(path) == 5, "what the sentence says helps"


def test_the_log_of_another_database_is_refused(writer: Writer, tmp_path: Path) -> None:
    writer.write(5)
    (tmp_path / "other").mkdir()
    other = Writer(tmp_path / "other" / "messages.db")
    other.write(5)
    path = writer.crash(tmp_path / "crash")
    shutil.copy(log_of(other.path), log_of(path))
    with pytest.raises(StoreDamaged, match="does not belong"):
        open_database(path, "messages")
    writer.close()
    other.close()


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def break_frame(log: Path) -> None:
    flip(log, HEADER_BYTES + FRAME_BYTES + 2000)


def break_header(log: Path) -> None:
    flip(log, 9)


def break_magic(log: Path) -> None:
    flip(log, 1)


@pytest.mark.parametrize("damage", [break_frame, break_header, break_magic])
def test_a_broken_log_is_refused_before_its_commits_are_dropped(
    writer: Writer, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    writer.write(9)
    path = writer.crash(tmp_path / "crash")
    writer.close()
    damage(log_of(path))
    before = log_of(path).read_bytes()
    with pytest.raises(StoreDamaged, match="cannot be read") as caught:
        open_database(path, "messages")
    assert "move messages.db-wal away" in caught.value.fix
    assert log_of(path).read_bytes() == before
    # Without syncs a power cut leaves such logs: that is what the setting says.
    open_database(path, "messages", synchronous=Synchronous.NORMAL).close()


def test_the_last_commit_may_be_torn_and_the_header_too(writer: Writer, tmp_path: Path) -> None:
    writer.write(9)
    path = writer.crash(tmp_path / "crash")
    writer.close()
    content = log_of(path).read_bytes()
    log_of(path).write_bytes(content[:-2000])
    assert keys(path) == 8
    log_of(path).write_bytes(content[:20])
    assert keys(path) == 8, "it was closed cleanly before; twenty bytes are no log"


def test_an_older_file_has_no_mark_and_opens(writer: Writer, tmp_path: Path) -> None:
    writer.close()
    connection = sqlite3.connect(writer.path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.executescript("DROP TABLE log_mark; PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO incoming VALUES (7);")
    path = writer.crash(tmp_path / "crash")
    connection.close()
    assert keys(path) == 1


def test_many_writers_renew_the_mark_once_in_a_log(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    connections = [open_database(path, "registry") for _ in range(2)]
    begun = []
    for connection in connections * 2:
        with transaction(connection):
            begun.append(begin_log(connection, path))
            connection.execute("INSERT INTO change (kind, name) VALUES ('device', 'd')")
    assert begun == [True, False, False, False]
    for connection in connections:
        connection.close()
