"""SQLite files: made whole or not at all, migrated by number, and refused in one sentence when they are damaged.

A new file is built under another name, migrated, and only then linked to its own: a file that is there and empty is
therefore damage, never a beginning. Each family of files has its own application id, so that one is not taken for the
other. `PRAGMA user_version` holds the number of the last migration.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

from lockgate.errors import InvalidSettings, LockgateError, StoreDamaged, Unavailable

BUSY_TIMEOUT_MILLISECONDS = 5000
CHECKED_WHOLE_BYTES = 16 * 1024 * 1024
WAL_KEPT_BYTES = 16 * 1024 * 1024
MAX_ROWS_PER_STATEMENT = 256
EXACT_ROWS = 64
CACHED_STATEMENTS = 512

_APPLICATION_IDS = {"registry": 0x4C475245, "messages": 0x4C474D53}  # "LGRE" and "LGMS"
_RESTORE = "restore it from a copy of the home, or move it away to begin without it"
_DAMAGED_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_MISSING_CODES = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY})


class Synchronous(StrEnum):
    """How far a commit goes before it counts (`PRAGMA synchronous` with a write-ahead log).

    FULL: the log is synced at every commit, and a power cut takes nothing. NORMAL: the log is handed to the operating
    system and synced only before it is folded into the file: a crash of the process takes nothing, a power cut may take
    the latest commits but never leaves a broken file.
    """

    FULL = "FULL"
    NORMAL = "NORMAL"


def open_database(
    path: Path,
    family: str,
    *,
    read_only: bool = False,
    is_checked: bool = True,
    synchronous: Synchronous = Synchronous.FULL,
) -> sqlite3.Connection:
    """Give an open connection to a file that is whole and as new as this release; a writer makes it where it lacks.

    Args:
        path: the file.
        family: "registry" or "messages": which migrations it follows.
        read_only: opens without the right to write, and without making or migrating anything.
        is_checked: looks the file's pages over (`PRAGMA quick_check`) when it is small or was not closed cleanly.
        synchronous: how far a commit goes.

    Raises:
        StoreDamaged: when the file is damaged, of another family, or newer than this release.
        InvalidSettings: when it cannot be opened (rights, a missing folder).
    """
    if not path.exists():
        if read_only:
            raise InvalidSettings(f"{path} does not exist", fix="lockgate init makes a new home")
        _make(path, family)
    was_left_open = _wal_of(path).exists()
    with translated(path):
        connection = _connect(path, read_only)
        try:
            _set_up(connection, read_only, synchronous)
            _check_family(connection, path, family)
            _migrate(connection, path, family, read_only)
            if is_checked and (was_left_open or path.stat().st_size <= CHECKED_WHOLE_BYTES):
                _check_pages(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a file into our own errors."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translate(error, path) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit everything inside at once, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            # A roll-back that fails must not hide why it was needed; the next BEGIN would show it again.
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def execute_rows(connection: sqlite3.Connection, head: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run `head VALUES (...), (...)` over all rows, many rows to a statement.

    A step of a statement gives up Python's interpreter lock and has to win it back from a busy loop thread, which may
    take milliseconds: one step for many rows, then, and not `executemany`, which takes one for each.
    """
    start = 0
    while start < len(rows):
        count = min(MAX_ROWS_PER_STATEMENT, len(rows) - start)
        if count > EXACT_ROWS:  # few lengths, so that the connection's statement cache holds all that occur
            count -= count % EXACT_ROWS
        part = rows[start : start + count]
        row = f"({','.join('?' * len(part[0]))})"
        connection.execute(f"{head} VALUES {','.join([row] * count)}", list(chain.from_iterable(part)))
        start += count


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rw"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=CACHED_STATEMENTS
    )


def _set_up(connection: sqlite3.Connection, read_only: bool, synchronous: Synchronous) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}")
    connection.execute("PRAGMA foreign_keys = ON")
    if not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")


def _make(path: Path, family: str) -> None:
    """Build a new file beside `path` and give it its name when it is whole; 0600 from its first moment."""
    if _wal_of(path).exists():
        # SQLite would play an old log into the new file.
        raise StoreDamaged(f"{path} is missing, but its write-ahead log {_wal_of(path).name} is there", fix=_RESTORE)
    building = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise InvalidSettings(
            f"{path} cannot be made: {error.strerror}", fix="lockgate init makes a new home"
        ) from error
    try:
        with translated(path):
            connection = _connect(building, read_only=False)
            try:
                _set_up(connection, read_only=False, synchronous=Synchronous.FULL)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_IDS[family]}")
                _migrate(connection, path, family, read_only=False)
            finally:
                connection.close()
        with suppress(FileExistsError):  # somebody else made it in the meantime: theirs is as good
            os.link(building, path)
        _sync_folder(path.parent)
    finally:
        building.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_family(connection: sqlite3.Connection, path: Path, family: str) -> None:
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found != _APPLICATION_IDS[family]:
        raise StoreDamaged(f"{path} is not a {family} database of lockgate", fix=_RESTORE)


def _migrate(connection: sqlite3.Connection, path: Path, family: str, read_only: bool) -> None:
    steps = _migrations(family)
    newest = max(steps)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > newest:
        raise StoreDamaged(
            f"{path} was written by a newer lockgate (its version is {version}, this one knows {newest})",
            fix="run the newer lockgate, or restore a backup made with this one",
        )
    if version < newest and read_only:
        raise StoreDamaged(
            f"{path} was written by an older lockgate (its version is {version}, this one needs {newest})",
            fix="run lockgate up once: it brings the file up to date",
        )
    while version < newest:
        with transaction(connection):
            (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may have been first
            if version < newest:
                version += 1
                for statement in _statements(steps[version]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version}")


def _migrations(family: str) -> dict[int, str]:
    """Give the text of each migration of a family by its number."""
    folder = files("lockgate.store").joinpath("migrations")
    return {
        int(entry.name[len(family) + 1 : -len(".sql")]): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.startswith(f"{family}_") and entry.name.endswith(".sql")
    }


def _statements(script: str) -> Iterator[str]:
    """Give the statements of a script one by one (`executescript` would end the transaction around it)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreDamaged(f"{path} is damaged: {verdict.splitlines()[-1]}", fix=_RESTORE)


def _translate(error: sqlite3.DatabaseError, path: Path) -> LockgateError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
    if code in _DAMAGED_CODES:
        return StoreDamaged(f"{path} is damaged: {error}", fix=_RESTORE)
    if code in _MISSING_CODES:
        return InvalidSettings(f"{path} cannot be opened: {error}", fix="run as the user who owns the home")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"{path} is being written by somebody else", fix="try again in a moment")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return Unavailable(f"{path} cannot be written: {error}", fix="make room on the disk")
    return StoreDamaged(f"{path} cannot be used: {error}", fix=_RESTORE)


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")
