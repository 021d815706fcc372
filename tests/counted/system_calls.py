"""The system calls of a running broker for fixed batches of messages, as strace sees them.

What the hub does while no message moves (it looks at the registry's number every 20 ms, which is a lock, a look at a
file and a wait that ends by itself) depends on time, and is not counted.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

BATCHES = 50
DETACH_SECONDS = 0.05
"""What the hub was about to do when the last message arrived is in the trace too."""
_LINE = re.compile(r"(?P<thread>\d+) +(?P<what>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*?)(?:\) += (?P<result>-?\w+).*|(?P<open> <unfinished \.\.\.>))$")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)\) += (?P<result>-?\w+)")
_READS = frozenset({"read", "readv", "recvfrom", "recvmsg"})
_WRITES = frozenset({"write", "writev", "sendto", "sendmsg"})
_WAITS = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"})
_UPKEEP = frozenset({"getpid", "restart_syscall", "clock_gettime"})


class Calls(msgspec.Struct, frozen=True):
    """How many system calls of each kind."""

    read: float
    """From a connection."""
    write: float
    """To a connection."""
    wait: float
    """For events, and there was one."""
    other: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.read + self.write + self.wait + self.other

    def by(self, number: int) -> Calls:
        """Give them for one of `number`."""
        return Calls(self.read / number, self.write / number, self.wait / number, self.other / number)


def trace(pid: int, run: Callable[[int], None], folder: Path, batches: int = BATCHES) -> Calls:
    """Give the system calls of process `pid` per batch, while `run` runs so many; `folder` takes what strace writes."""
    strace = shutil.which("strace")
    assert strace, "strace is missing: tools/peers installs it"
    output = folder / "trace"
    command = [strace, "-f", "-yy", "-s", "0", "-p", str(pid), "-o", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            assert "attached" in said, f"strace may not look at another process here: {said}"
            run(batches)
            time.sleep(DETACH_SECONDS)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    return count(output.read_text(encoding="utf-8", errors="replace")).by(batches)


def count(text: str) -> Calls:
    """Count what strace -f -yy wrote."""
    kinds: Counter[str] = Counter()
    begun: dict[str, str] = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        thread, what = found["thread"], found["what"]
        call = _CALL.match(what)
        resumed = _RESUMED.match(what)
        if call is not None and call["open"]:
            begun[thread] = call["arguments"]
        elif call is not None:
            kinds[_kind(call["name"], call["arguments"], call["result"])] += 1
        elif resumed is not None:
            arguments = begun.pop(thread, "") + resumed["arguments"]
            kinds[_kind(resumed["name"], arguments, resumed["result"])] += 1
    return Calls(kinds["read"], kinds["write"], kinds["wait"], kinds["other"])


def _kind(name: str, arguments: str, result: str) -> str:
    if name in _WAITS:
        return "wait" if result not in {"0", "-1"} else "upkeep"
    if name in _UPKEEP or "/registry.db" in arguments:
        return "upkeep"
    if "<TCP" in arguments.partition(",")[0]:
        if name in _READS:
            return "read"
        if name in _WRITES:
            return "write"
    return "other"
