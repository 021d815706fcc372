"""Processes under test: started on a core of their own with their output in a file, waited for, ended by their id."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.machine import family

START_SECONDS = 60.0
STOP_SECONDS = 10.0


class BrokerFailed(Exception):
    """A broker did not start, ended before it was asked to, or did not do what it was asked."""


@contextmanager
def started(
    command: Sequence[str], log: Path, core: int | None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` on `core` with its output in `log`; it and all below it are gone afterwards."""

    def pin() -> None:
        os.sched_setaffinity(0, {core} if core is not None else range(os.cpu_count() or 1))
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=None if environment is None else {**os.environ, **environment},
            preexec_fn=pin,  # the broker's children inherit the core
        )
    try:
        yield process
    finally:
        members = family(process.pid)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        for member in members:
            with suppress(ProcessLookupError):
                if member == process.pid or _session(member) == process.pid:
                    os.kill(member, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _session(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


def wait_for(poll: Callable[[], int | None], process: subprocess.Popen[bytes], log: Path, pause: float = 0.02) -> int:
    """Poll until there is an answer.

    Raises:
        BrokerFailed: the process ended, or START_SECONDS are over; with the last that it said.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = poll()
        if found is not None:
            return found
        time.sleep(pause)
    said = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise BrokerFailed(f"the door did not open\n{said}")


def is_open(port: int) -> int | None:
    """Give the port when something listens there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return port
    return None


def free_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def output_of(*command: str) -> str:
    """Run a command to its end and give what it printed.

    Raises:
        BrokerFailed: it failed; with what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerFailed(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout.strip()
