"""A disk that loses power: what recorder.c noted, and every state in which a cut could leave the files.

The model is harder than most disks, and never kinder:

- A file's content is durable up to its last fsync or fdatasync that had come back before the cut: all writes that were
  done when that sync began. Of the later ones any subset may be there, in any order, each whole or torn at 512-byte
  sectors (a part from the start, a part at the end, any sectors); truncations among them.
- Names (creation, link, renaming, unlinking) are durable when their folder was synced afterwards. Of the later changes
  any first part is there: file systems journal names in their order.
- Files that are memory-mapped (SQLite's -shm) do not survive: SQLite builds them anew.
"""

from __future__ import annotations

import itertools
import random
import struct
import subprocess
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

import msgspec

SECTOR_BYTES = 512
_HEADER = struct.Struct("<QqQIIII")
_SOURCE = Path(__file__).with_name("recorder.c")


class Kind(IntEnum):
    """What was done."""

    OPENED = 1
    WRITTEN = 2
    TRUNCATED = 3
    SYNC_BEGUN = 4
    SYNC_ENDED = 5
    UNLINKED = 6
    RENAMED = 7
    LINKED = 8


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One record: `content` is what was written, or the name; `time_ns` is CLOCK_MONOTONIC."""

    kind: Kind
    handle: int
    offset: int
    time_ns: int
    content: bytes
    second: str = ""


class Recorder:
    """Compiles recorder.c; `environment` makes a process (and its children) record what it does under `folder`."""

    def __init__(self, scratch: Path, folder: Path) -> None:
        self.log = scratch / "recording"
        self.full = scratch / "full"  # while this file exists, the disk is full
        library = scratch / "recorder.so"
        command = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(_SOURCE)]
        subprocess.run([*command, "-ldl", "-lpthread"], check=True, timeout=60)
        self.environment = {
            "LD_PRELOAD": str(library),
            "RECORD_UNDER": str(folder),
            "RECORD_LOG": str(self.log),
            "FULL_WHEN": str(self.full),
        }

    def entries(self) -> list[Entry]:
        """Give what was recorded so far."""
        return list(_read(self.log.read_bytes()))


class _File:
    def __init__(self, content: bytes = b"") -> None:
        self.durable = bytearray(content)
        self.pending: list[Entry] = []


class _NameChange(msgspec.Struct, frozen=True):
    """`name` is `file` from now on, or gone (None)."""

    name: str
    file: object


class Disk:
    """Follows a recording entry by entry; `cut` writes what could be left of the files at that moment.

    Args:
        before: the files as they were before the recording, by name; they are durable.
    """

    def __init__(self, before: dict[str, bytes]) -> None:
        self._durable: dict[str, object] = {name: _File(content) for name, content in before.items()}
        self._names = dict(self._durable)
        self._changes: list[_NameChange] = []
        self._open: dict[int, object] = {}
        self._begun: dict[int, tuple[list[Entry], list[_NameChange]]] = {}

    def apply(self, entry: Entry) -> None:
        """Go on by one entry."""
        match entry.kind:
            case Kind.OPENED:
                self._opened(entry)
            case Kind.WRITTEN | Kind.TRUNCATED:
                self._file(entry).pending.append(entry)
            case Kind.SYNC_BEGUN:
                file = self._open[entry.handle]
                pending = list(file.pending) if isinstance(file, _File) else []
                changes = [] if isinstance(file, _File) else [c for c in self._changes if _folder(c.name) == file]
                self._begun[entry.handle] = pending, changes
            case Kind.SYNC_ENDED:
                self._synced(entry)
            case Kind.UNLINKED:
                self._rename(entry.content.decode(), None)
            case Kind.RENAMED:
                old = entry.content.decode()
                file = self._names[old]
                self._rename(entry.second, file)
                self._rename(old, None)
            case Kind.LINKED:
                self._rename(entry.second, self._names[entry.content.decode()])

    def contents(self) -> dict[str, bytes]:
        """Give the files as a process sees them now: everything applied, nothing lost."""
        return {
            name: bytes(_applied(file, file.pending)) for name, file in self._names.items() if isinstance(file, _File)
        }

    def cut(self, folder: Path, chance: random.Random, under_way: Entry | None = None) -> None:
        """Write into `folder` what a power cut leaves now; `under_way` is a write that may be half done."""
        names = dict(self._durable)
        for change in self._changes[: chance.randint(0, len(self._changes))]:
            _set(names, change)
        file_under_way = self._open.get(under_way.handle) if under_way is not None else None
        for name, file in names.items():
            if name.endswith("-shm") or not isinstance(file, _File):
                continue
            pending = list(file.pending)
            if under_way is not None and file is file_under_way and under_way.kind in (Kind.WRITTEN, Kind.TRUNCATED):
                pending.append(under_way)
            path = folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(_applied(file, _survivors(pending, chance)))

    def _opened(self, entry: Entry) -> None:
        name = entry.content.decode()
        if not name or any(other.startswith(name + "/") for other in self._names):
            self._open[entry.handle] = name  # a folder
            return
        if name not in self._names:
            self._rename(name, _File())
        file = self._names[name]
        self._open[entry.handle] = file
        if entry.offset:  # O_TRUNC
            assert isinstance(file, _File)
            file.pending.append(Entry(Kind.TRUNCATED, entry.handle, 0, entry.time_ns, b""))

    def _file(self, entry: Entry) -> _File:
        file = self._open[entry.handle]
        assert isinstance(file, _File), f"{entry} is no file"
        return file

    def _synced(self, entry: Entry) -> None:
        pending, changes = self._begun.pop(entry.handle)
        file = self._open[entry.handle]
        if isinstance(file, _File):
            done = {id(each) for each in pending}
            # Another sync of the same file may have come back meanwhile.
            _apply(file.durable, [each for each in file.pending if id(each) in done])
            file.pending = [each for each in file.pending if id(each) not in done]
        for change in changes:
            if any(change is each for each in self._changes):
                _set(self._durable, change)
        self._changes = [each for each in self._changes if not any(each is change for change in changes)]

    def _rename(self, name: str, file: object) -> None:
        change = _NameChange(name, file)
        self._changes.append(change)
        _set(self._names, change)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Give the content of every file below a folder, by its name there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _survivors(pending: list[Entry], chance: random.Random) -> list[Entry]:
    """Choose what of the writes without a sync reached the disk, in which order, and how whole."""
    fate = chance.random()
    if fate < 0.15:
        return []
    if fate < 0.3:
        return pending
    if fate < 0.5:  # in order, the last one torn
        kept = pending[: chance.randint(0, len(pending))]
        return [*kept[:-1], *_torn(kept[-1], chance)] if kept else []
    share = chance.choice((0.1, 0.5, 0.9, 0.99))
    kept = [each for each in pending if chance.random() < share]
    if chance.random() < 0.5:
        chance.shuffle(kept)
    whole = chance.choice((0.0, 0.5, 1.0))
    return [part for each in kept for part in ([each] if chance.random() < whole else _torn(each, chance))]


def _torn(entry: Entry, chance: random.Random) -> list[Entry]:
    """Give the sectors of a write that reached the disk."""
    if entry.kind != Kind.WRITTEN:
        return [entry]
    end = entry.offset + len(entry.content)
    borders = range((entry.offset // SECTOR_BYTES + 1) * SECTOR_BYTES, end, SECTOR_BYTES)
    cuts = [entry.offset, *borders, end]
    pieces = list(itertools.pairwise(cuts))
    match chance.randrange(3):
        case 0:
            kept = pieces[: chance.randint(0, len(pieces))]
        case 1:
            kept = pieces[chance.randint(0, len(pieces)) :]
        case _:
            kept = [piece for piece in pieces if chance.random() < 0.5]
    return [
        Entry(entry.kind, entry.handle, start, entry.time_ns, entry.content[start - entry.offset : stop - entry.offset])
        for start, stop in kept
    ]


def _applied(file: _File, entries: list[Entry]) -> bytearray:
    content = bytearray(file.durable)
    _apply(content, entries)
    return content


def _apply(content: bytearray, entries: list[Entry]) -> None:
    for entry in entries:
        if entry.kind == Kind.TRUNCATED:
            if entry.offset < len(content):
                del content[entry.offset :]
            else:
                content.extend(bytes(entry.offset - len(content)))
        else:
            if entry.offset > len(content):
                content.extend(bytes(entry.offset - len(content)))
            content[entry.offset : entry.offset + len(entry.content)] = entry.content


def _set(names: dict[str, object], change: _NameChange) -> None:
    if change.file is None:
        names.pop(change.name, None)
    else:
        names[change.name] = change.file


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _read(log: bytes) -> Iterator[Entry]:
    position = 0
    while position + _HEADER.size <= len(log):
        handle, offset, time_ns, kind, length, second_length, _ = _HEADER.unpack_from(log, position)
        middle = position + _HEADER.size + length
        end = middle + second_length
        content, second = log[position + _HEADER.size : middle], log[middle:end].decode()
        yield Entry(Kind(kind), handle, offset, time_ns, content, second)
        position = end
