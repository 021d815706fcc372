"""Sockets of this machine alone, between the hub's own processes: a file in the home that only they may open.

The name of such a socket has 107 bytes at most, and a home may lie deeper: it is named by its folder's descriptor.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BACKLOG = 64


def listening(path: Path) -> socket.socket:
    """Give a socket that listens at a path, in place of one that was left there.

    Its owner may connect, and so may the group of a folder that is shared with it, as with the other files there.

    Raises:
        OSError: it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.unlink()
        with _reachable(path) as name:
            listener.bind(name)
        folder = path.parent.stat().st_mode
        path.chmod(0o600 | (folder & 0o060 if folder & stat.S_ISGID else 0))
        listener.listen(BACKLOG)  # not before: until then nobody gets in
    except BaseException:
        listener.close()
        raise
    return listener


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to who listens at a path.

    Raises:
        OSError: nobody does, or we may not.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with _reachable(path) as name:
            connection.connect(name)  # at once, or with an error: there is no network on the way
        return await asyncio.open_unix_connection(sock=connection)
    except BaseException:
        connection.close()
        raise


async def read_frame(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    """Give the next frame: its length in four bytes, and so many more.

    Raises:
        ValueError: it is longer than `max_bytes`.
        EOFError: the other side ended before its end.
    """
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > max_bytes:
        raise ValueError(f"a frame of {size} bytes is longer than {max_bytes}")
    return await reader.readexactly(size)


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
