"""Eyes on the system beside a test: which files of a folder are opened, and what stands in the process list."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from pathlib import Path
from types import TracebackType

_IN_OPEN = 0x20
_EVENT = struct.Struct("iIII")


class OpenedFiles:
    """The names in `folder` that any process opens while the `with` block runs, as the kernel tells (inotify)."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._descriptor >= 0
        assert libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_OPEN) >= 0
        self._names: set[str] = set()

    def __enter__(self) -> OpenedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def names(self) -> set[str]:
        """Give the names of the files that were opened so far."""
        while True:
            try:
                data = os.read(self._descriptor, 65_536)
            except BlockingIOError:
                return self._names
            while data:
                _, _, _, length = _EVENT.unpack_from(data)
                self._names.add(data[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode())
                data = data[_EVENT.size + length :]


class ProcessList:
    """What all processes' command lines and environments held while the `with` block ran."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ProcessList:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        self.seen.add((process / name).read_bytes())
                    except OSError:
                        continue  # it has ended, or is not ours to look into
