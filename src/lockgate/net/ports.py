"""Who holds a port: read from /proc, where it tells."""

from __future__ import annotations

from pathlib import Path

_LISTENING = {"tcp": "0A", "udp": "07"}  # TCP_LISTEN, and what an unconnected UDP socket is in (TCP_CLOSE)


def owner_of_port(port: int, proc: Path = Path("/proc"), protocol: str = "tcp") -> str:
    """Give back "NAME (process PID)" of the process that listens on `port`, "" when it cannot be known.

    Args:
        protocol: "tcp" or "udp".
    """
    inodes = _listening_inodes(port, proc, protocol)
    if not inodes:
        return ""
    for process in proc.glob("[0-9]*"):
        if _holds_one_of(process, inodes):
            return f"{_name(process)} (process {process.name})"
    return ""


def _listening_inodes(port: int, proc: Path, protocol: str) -> set[str]:
    inodes = set()
    for table in (protocol, f"{protocol}6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING[protocol] and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes


def _holds_one_of(process: Path, inodes: set[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(_target(descriptor) in wanted for descriptor in (process / "fd").iterdir())
    except OSError:  # not ours to look into, or gone meanwhile
        return False


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed meanwhile
        return ""


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a process"
