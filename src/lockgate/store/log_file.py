"""The write-ahead log beside a database: is it the file's own, and is it whole?

SQLite plays whatever log it finds beside a file into it, and stops without a word at the first frame that it cannot
read. Both lose what was acknowledged: a log that stayed behind when the file was restored from a backup, and a log
with a broken sector in its middle. So we look before we let SQLite write.

Theory of operation. The table log_mark holds one row: a mark, and the mark before it. Whoever begins a new log renews
the mark, once in each log; all that came before is in the file by then. So the mark in the file alone is the log's
mark or the one that it names as previous, whenever the power went; with any other file it is neither.

Source: https://www.sqlite.org/walformat.html for the log's header, its frames and the index in the -shm file.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing, suppress
from pathlib import Path

from lockgate.errors import StoreDamaged

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_MAGIC = 0x377F0682  # the last bit says which end of a number comes first in checksums
_SALTS = slice(16, 24)
_RENEW = "UPDATE log_mark SET previous = mark, mark = randomblob(8)"


def log_of(path: Path) -> Path:
    """Give the name of the write-ahead log of a database."""
    return path.with_name(path.name + "-wal")


def index_of(path: Path) -> Path:
    """Give the name of the log's index, which SQLite maps into memory."""
    return path.with_name(path.name + "-shm")


def is_left_behind(path: Path) -> bool:
    """Say whether a log with something in it lies beside a database."""
    try:
        return log_of(path).stat().st_size > 0
    except OSError:
        return False


def begin_log(connection: sqlite3.Connection, path: Path) -> bool:
    """Renew the mark if the open transaction is the first of a new log; for the inside of a write transaction.

    Returns:
        Whether it was.
    """
    if is_left_behind(path):
        return False
    connection.execute(_RENEW)
    return True


class LogMark:
    """Keeps the mark of a file that one connection alone writes: also when SQLite begins the log anew meanwhile.

    That connection keeps the log in being, so that it can be held open here and looked at with one call. `close` it
    when the connection is closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = -1
        self._salts = self._read_salts()
        self._is_due = False
        self._has_renewed = False

    def renew(self, connection: sqlite3.Connection) -> None:
        """Renew the mark if this log has none yet; for the inside of each write transaction."""
        self._has_renewed = self._is_due or not self._is_begun()
        if self._has_renewed:
            connection.execute(_RENEW)

    def committed(self) -> None:
        """Note that the transaction was committed: it may have begun the log anew."""
        salts = self._read_salts()
        self._is_due = salts != self._salts and not self._has_renewed
        self._salts = salts

    def close(self) -> None:
        """Let go of the log."""
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _is_begun(self) -> bool:
        return self._is_open() and os.fstat(self._log).st_size > 0

    def _read_salts(self) -> bytes:
        return os.pread(self._log, HEADER_BYTES, 0)[_SALTS] if self._is_open() else b""

    def _is_open(self) -> bool:
        if self._log < 0:
            with suppress(FileNotFoundError):
                self._log = os.open(log_of(self._path), os.O_RDONLY | os.O_CLOEXEC)
        return self._log >= 0


def check_log(connection: sqlite3.Connection, path: Path, *, is_synced: bool) -> None:
    """Look at the log beside a file, if there is one.

    Args:
        connection: reads the file together with its log, and has read already.
        path: the file.
        is_synced: every commit was synced, so that a power cut can have torn the last one at most.

    Raises:
        StoreDamaged: the log belongs to something else, or holds commits that cannot be read.
    """
    log = log_of(path)
    if not log.exists() or log.stat().st_size <= HEADER_BYTES:
        return
    _check_mark(connection, path)
    if is_synced and (lost := _unreadable_commits(path)):
        raise StoreDamaged(
            f"{log} is damaged: commits in it cannot be read ({lost})",
            fix=f"restore {path} and {log.name} together from a backup, or move {log.name} away to go on with the last"
            " state that is whole: what was written after it is lost then",
        )


def _check_mark(connection: sqlite3.Connection, path: Path) -> None:
    """Compare the mark in the file alone with the one that its log holds."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as alone:
            ((in_file, _),) = alone.execute("SELECT mark, previous FROM log_mark").fetchall()
    except (sqlite3.Error, ValueError):
        return  # an older file, or one that is whole only with its log: the other checks judge it
    rows = connection.execute("SELECT mark, previous FROM log_mark").fetchall()
    if not any(in_file in row for row in rows):
        log = log_of(path)
        raise StoreDamaged(
            f"{log} does not belong to {path}: one of the two was replaced without the other",
            fix=f"restore both together from a backup, or move {log.name} away if {path.name} is the one that you want:"
            " what the log holds is lost then",
        )


def _unreadable_commits(path: Path) -> str:
    """Say what SQLite passed over in the log: nothing (""), unless more than the last commit is torn."""
    with log_of(path).open("rb") as log:
        header = log.read(HEADER_BYTES)
        magic, _, page_bytes, _ = struct.unpack_from(">IIII", header)
        if magic & ~1 != _MAGIC or _checksum(header[:24], magic) != struct.unpack_from(">II", header, 24):
            return "its header is broken"
        frame_bytes = FRAME_HEADER_BYTES + page_bytes
        readable = _readable_frames(path)
        position = HEADER_BYTES + readable * frame_bytes
        commits = 0
        while len(frame := os.pread(log.fileno(), FRAME_HEADER_BYTES, position)) == FRAME_HEADER_BYTES:
            is_commit = frame[4:8] != bytes(4)
            commits += is_commit and frame[8:16] == header[_SALTS]
            position += frame_bytes
    # The last commit may have been under way when the power went: nobody was told of it. And a log that somebody
    # writes meanwhile is none that was left behind.
    is_lost = commits > 1 and _readable_frames(path) == readable
    return f"{commits} after the first broken one" if is_lost else ""


def _readable_frames(path: Path) -> int:
    """Give how many frames of the log SQLite takes for whole, as its index says (mxFrame)."""
    with index_of(path).open("rb") as index:
        (frames,) = struct.unpack("=I", index.read(20)[16:])
    return int(frames)


def _checksum(data: bytes, magic: int) -> tuple[int, int]:
    first = second = 0
    words = struct.unpack(f"{'>' if magic & 1 else '<'}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
