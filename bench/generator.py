"""The load generator as the bench drives it: built when it changed, on a core of its own, one step after the other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.machine import LOAD_CORE, PINNED, TOP, cpu_seconds, machine_cpu_seconds
from bench.processes import BrokerFailed

LOAD_SOURCE = TOP / "bench" / "load.c"
SCRATCH = TOP / "build" / "bench"
LOAD = SCRATCH / "load"
COAP_SOURCE = TOP / "bench" / "coap.c"
COAP_LOAD = SCRATCH / "coap"


class Result(msgspec.Struct, frozen=True):
    """What one run of the generator said, and what the broker and the whole machine used meanwhile."""

    said: dict[str, Any]
    broker_cpu_seconds: float
    machine_cpu_seconds: float

    @property
    def others_share(self) -> float:
        """How much of one core went to neither the broker nor the generator: it disturbs throughput."""
        mine = self.broker_cpu_seconds + float(self.said.get("cpu_seconds", 0.0))
        seconds = float(self.said.get("elapsed_seconds", 0.0))
        return max(0.0, (self.machine_cpu_seconds - mine) / seconds) if seconds else 0.0


class Generator:
    """A generator that is connected and warm; it waits for `go`."""

    def __init__(self, process: subprocess.Popen[str], what: str) -> None:
        self._process = process
        self._what = what

    def wait_until_warm(self) -> None:
        """Wait until all are connected and the warm-up is over.

        Raises:
            BrokerFailed: it said that it cannot go on.
        """
        if self._read() != "warm":
            raise BrokerFailed(f"{self._what} failed in the warm-up: {self._why()}")

    def go(self, pid: int) -> Result:
        """Run, and read the CPU of the broker at `pid` before and after."""
        before, all_before = cpu_seconds(pid), machine_cpu_seconds()
        self._write("go")
        said = self._read_json()
        return Result(said, cpu_seconds(pid) - before, machine_cpu_seconds() - all_before)

    def connect_idle(self) -> None:
        """Have all its clients connect, and wait until they have."""
        self._write("go")
        if self._read() != "idle":
            raise BrokerFailed(f"{self._what} failed: {self._why()}")

    def finish(self) -> dict[str, Any]:
        """End what waits for it; give the result."""
        self._write("finish")
        return self._read_json()

    def again(self, messages: int) -> int:
        """Have the same connections publish some more; give how many deliveries that made."""
        self._write(f"again {messages}")
        return int(self._read_json()["delivered"])

    def _write(self, line: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise BrokerFailed(f"{self._what} failed: {self._why()}") from error

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def _read_json(self) -> dict[str, Any]:
        line = self._read()
        if not line:
            raise BrokerFailed(f"{self._what} failed: {self._why()}")
        return msgspec.json.decode(line, type=dict[str, Any])

    def _why(self) -> str:
        assert self._process.stderr
        self._process.kill()
        return self._process.stderr.read().strip()[-500:] or "it said nothing"


def build_load() -> None:
    """Compile the load generators, MQTT's and CoAP's, if they changed.

    Raises:
        BrokerFailed: they cannot be compiled here.
    """
    _build(LOAD, LOAD_SOURCE, *LOAD_SOURCE.with_suffix("").glob("*.h"))
    _build(COAP_LOAD, COAP_SOURCE)


def _build(program: Path, source: Path, *parts: Path) -> None:
    if program.exists() and program.stat().st_mtime >= max(part.stat().st_mtime for part in (source, *parts)):
        return
    program.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), "-lssl", "-lcrypto"]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BrokerFailed(f"the load generator needs gcc and libssl-dev: {error}") from error


@contextmanager
def generator(arguments: Sequence[str], what: str, program: Path | None = None) -> Iterator[Generator]:
    """Start a generator (MQTT's unless told); it is gone afterwards. `what` names the run where something is wrong."""
    command = [str(program or LOAD), *arguments, "--steps"]
    if PINNED:
        command = ["taskset", "-c", str(LOAD_CORE), *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Generator(process, what)
            assert process.stdin
            process.stdin.close()  # the end of its input ends it
            process.wait(20)
        finally:
            process.kill()
