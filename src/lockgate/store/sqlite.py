"""SQLite files: made whole or not at all, migrated by number, and refused in one sentence when they are damaged.

A new file is built under another name, migrated, and only then linked to its own: a file that is there and empty is
therefore damage, never a beginning. Each family of files has its own application id, so that one is not taken for the
other. `PRAGMA user_version` holds the number of the last migration.

A file is looked over before anything may be written: SQLite would play the log into a damaged file, and the evidence
would be gone. What is refused is left as it was found, byte for byte.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from lockgate.errors import InvalidSettings, LockgateError, StoreDamaged, Unavailable
from lockgate.store import chain
from lockgate.store.log_file import check_log, is_left_behind, log_of

BUSY_TIMEOUT_MILLISECONDS = 5000
CHECKED_WHOLE_BYTES = 16 * 1024 * 1024
WAL_KEPT_BYTES = 16 * 1024 * 1024
CACHED_STATEMENTS = 512

_APPLICATION_IDS = {"registry": 0x4C475245, "messages": 0x4C474D53}  # "LGRE" and "LGMS"
_LOST = {
    "registry": "all devices, credentials, rules and the audit trail are lost then",
    "messages": "sessions, their queues and retained messages are lost then",
}
_DAMAGED_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_MISSING_CODES = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY})

_STEPS = {("registry", 7): chain.AUDIT, ("messages", 5): chain.SECURITY}
"""Migrations after which the rows of a trail are chained: SQL computes no hashes."""

Check = Literal["whole", "small", "none"]


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
    check: Check = "small",
    synchronous: Synchronous = Synchronous.FULL,
) -> sqlite3.Connection:
    """Give an open connection to a file that is whole and as new as this release; a writer makes it where it lacks.

    Args:
        path: the file.
        family: "registry" or "messages": which migrations it follows.
        read_only: opens without the right to write, and without making or migrating anything.
        check: look all pages over (`PRAGMA integrity_check`): always; when the file is small or was not closed cleanly;
            or never.
        synchronous: how far a commit goes.

    Raises:
        StoreDamaged: when the file is damaged, of another family, or newer than this release; it is as it was.
        InvalidSettings: when it cannot be opened (rights, a missing folder).
        Unavailable: when somebody else writes it, or the disk is full.
    """
    if not path.exists():
        if read_only:
            raise InvalidSettings(f"{path} does not exist", fix="lockgate init makes a new home")
        _make(path, family)
    if not path.is_file():
        raise InvalidSettings(f"{path} is no file", fix=restore(path))
    with translated(path):
        looked = _look_over(path, family, check, synchronous)
        if read_only:
            try:
                _check_version(looked, path, family)
            except BaseException:
                looked.close()
                raise
            return looked
        looked.close()
        connection = _connect(path, read_only=False)
        try:
            _set_up(connection, read_only=False, synchronous=synchronous)
            _migrate(connection, family)
        except BaseException:
            connection.close()
            raise
    return connection


def look_over(path: Path, family: str) -> None:
    """Look over a whole file, and change nothing; other threads run meanwhile, for SQLite does it all by itself.

    Raises:
        StoreDamaged: when the file is damaged, of another family, or newer than this release.
        InvalidSettings: when it cannot be opened.
    """
    with translated(path):
        _look_over(path, family, "whole", Synchronous.FULL).close()


def _look_over(path: Path, family: str, check: Check, synchronous: Synchronous) -> sqlite3.Connection:
    """Give a reading connection to a file that nothing is wrong with."""
    was_left_open = is_left_behind(path)
    connection = _connect(path, read_only=True)
    try:
        _set_up(connection, read_only=True, synchronous=synchronous)
        _check_family(connection, path, family)
        if check != "none" and was_left_open:
            check_log(connection, path, is_synced=synchronous == Synchronous.FULL)
        if check == "whole" or (check == "small" and (was_left_open or path.stat().st_size <= CHECKED_WHOLE_BYTES)):
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
    if is_left_behind(path):
        # SQLite would play an old log into the new file.
        raise StoreDamaged(
            f"{path} is missing, but its write-ahead log {log_of(path).name} is there", fix=restore(path)
        )
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
                _migrate(connection, family)
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
        raise StoreDamaged(f"{path} is not a {family} database of lockgate", fix=restore(path))
    newest, version = max(_migrations(family)), _version(connection)
    if version > newest:
        raise StoreDamaged(
            f"{path} was written by a newer lockgate (its version is {version}, this one knows {newest})",
            fix="run the newer lockgate, or restore a backup made with this one",
        )


def _check_version(connection: sqlite3.Connection, path: Path, family: str) -> None:
    newest, version = max(_migrations(family)), _version(connection)
    if version < newest:
        raise StoreDamaged(
            f"{path} was written by an older lockgate (its version is {version}, this one needs {newest})",
            fix="run lockgate up once: it brings the file up to date",
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, family: str) -> None:
    steps = _migrations(family)
    while _version(connection) < max(steps):
        with transaction(connection):
            version = _version(connection) + 1  # another process may have been first
            if version in steps:
                for statement in _statements(steps[version]):
                    connection.execute(statement)
                if (family, version) in _STEPS:
                    chain.adopt(connection, _STEPS[family, version], time.time())
                connection.execute(f"PRAGMA user_version = {version}")


@cache
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
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise StoreDamaged(f"{path} is damaged: {verdict.splitlines()[-1]}", fix=restore(path))


def restore(path: Path) -> str:
    """Say what to do about a damaged file, and what that costs."""
    lost = _LOST.get(path.stem, "what is in it is lost then")
    return (
        f"stop the hub, and restore {path.name} from a backup with no other {log_of(path).name} beside it;"
        f" or move {path.name}* away to begin without it: {lost}"
    )


def _translate(error: sqlite3.DatabaseError, path: Path) -> LockgateError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
    if code in _DAMAGED_CODES:
        return StoreDamaged(f"{path} is damaged: {error}", fix=restore(path))
    if code in _MISSING_CODES:
        return InvalidSettings(f"{path} cannot be opened: {error}", fix="run as the user who owns the home")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"{path} is being written by somebody else", fix="try again in a moment")
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(f"{path} cannot be written: {error}", fix=f"make room on the disk of {path.parent}")
    if code == sqlite3.SQLITE_IOERR:
        fix = f"make room on the disk of {path.parent}, or see in the system's log whether the disk fails"
        return Unavailable(f"{path} cannot be read or written: {error}", fix=fix)
    return StoreDamaged(f"{path} cannot be used: {error}", fix=restore(path))
