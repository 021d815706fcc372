"""The machine under the bench: what a process and all below it used of it, and what it is."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bench.report import Machine

TOP = Path(__file__).resolve().parent.parent
BROKER_CORE, LOAD_CORE = 0, 1
PINNED = (os.cpu_count() or 1) > 1
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Give the CPU that a process and all below it have used, user and system, from /proc/PID/stat (proc(5)).

    Raises:
        ProcessLookupError: it is gone.
    """
    parents, ticks = _processes()
    if pid not in ticks:
        raise ProcessLookupError("the broker ended during the run")
    return sum(ticks[member] for member in _family(pid, parents) if member in ticks) / _TICKS_PER_SECOND


def _processes() -> tuple[dict[int, int], dict[int, int]]:
    """Give each process's parent, and its ticks: its own, and those of children that have ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            ticks[int(path.parent.name)] = sum(map(int, fields[11:15]))
    return parents, ticks


def family(pid: int) -> set[int]:
    """Give a process and all below it."""
    return _family(pid, _processes()[0])


def _family(pid: int, parents: dict[int, int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    found: set[int] = set()
    left = [pid]
    while left:
        member = left.pop()
        found.add(member)
        left += children.get(member, [])
    return found


def memory_bytes(pid: int) -> int:
    """Give the memory of a process and all below it: their proportional set size, from smaps_rollup (proc(5)).

    A page that two of them share counts once. What the kernel keeps for their sockets is not in it.
    """
    total = 0
    for member in family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text(encoding="utf-8").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def machine_cpu_seconds() -> float:
    """Give the CPU that everything on this machine has used, the hypervisor's theft included, from /proc/stat."""
    fields = Path("/proc/stat").read_text(encoding="utf-8").split(maxsplit=9)[1:9]
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, fields)
    return sum((user, nice, system, *interrupts_and_stolen)) / _TICKS_PER_SECOND


def describe_machine(versions: dict[str, str]) -> Machine:
    """Say where the numbers come from."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    revision = subprocess.run(
        ["git", "-C", str(TOP), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return Machine(
        cpu=models[0] if models else platform.machine(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        versions=versions,
        revision=revision or "an unknown revision",
        date=datetime.now(UTC).date().isoformat(),
    )
