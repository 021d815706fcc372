"""The brokers under test: each starts afresh on one core, in a folder of its own, and is gone afterwards.

Both do the same work: MQTT over plain TCP or TLS, client certificates, an access rule per publish and delivery,
nothing kept on disk for sessions that end with their connection.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from bench.report import OURS, PEER

DEVICE = "bench"
TOPIC = "bench/load"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class BrokerFailed(Exception):
    """A broker did not start, or ended before it was asked to."""


class Door(msgspec.Struct, frozen=True):
    """A running broker: how the load generator reaches it, and the process to measure."""

    load_arguments: tuple[str, ...]
    pid: int


class Broker(Protocol):
    """A broker that the bench can start."""

    name: str

    def version(self) -> str: ...

    @contextmanager
    def running(self, folder: Path, *, tls: bool, core: int | None) -> Iterator[Door]: ...


class Provisioned(msgspec.Struct, frozen=True):
    """A home and the folder of a device in it; both brokers use these certificates and keys."""

    home: Path
    device: Path


def lockgate_command() -> str:
    """Ours as a user installs it (`make bench` does, and names it in LOCKGATE_BENCH), else this tree's."""
    return os.environ.get("LOCKGATE_BENCH") or str(Path(sys.executable).with_name("lockgate"))


def provision(folder: Path) -> Provisioned:
    """Make a home and one device with a certificate, as an operator would."""
    made = Provisioned(folder / "home", folder / "device")
    home = ("--home", str(made.home))
    rules = ("--publish", "bench/#", "--receive", "bench/#")
    device = ("device", "add", DEVICE, "--auth", "x509", "--out", str(made.device))
    _output(
        lockgate_command(), "init", *home, "--name", "localhost", "--name", "127.0.0.1", "--port", str(_free_port())
    )
    _output(lockgate_command(), *device, *rules, *home)
    return made


class Lockgate:
    """Ours, as installed: `lockgate up` with every process that it starts."""

    name = OURS

    def __init__(self, provisioned: Provisioned) -> None:
        self._provisioned = provisioned

    def version(self) -> str:
        return _output(lockgate_command(), "--version")

    @contextmanager
    def running(self, folder: Path, *, tls: bool, core: int | None) -> Iterator[Door]:
        home = folder / "home"
        shutil.copytree(self._provisioned.home, home)
        settings = home / "lockgate.toml"
        section = "" if "\n[hub]\n" in settings.read_text(encoding="utf-8") else "\n[hub]\n"
        with settings.open("a", encoding="utf-8") as file:  # one device is the whole load here, as no device should be
            file.write(f"{section}max_messages_per_second = 0\nmax_bytes_per_second = 0\n")
        command = (lockgate_command(), "up", "--home", str(home), *(() if tls else ("--lab-port", "0")))
        with _started(command, folder / "lockgate.log", core) as process:
            port = _wait_for(lambda: _find_door(home / "run" / "doors.json", tls), process, folder / "lockgate.log")
            yield Door((*_reach(port), *(_tls(self._provisioned.device) if tls else ())), process.pid)


class Mosquitto:
    """Debian's mosquitto with an equivalent configuration, and bounds that make it drop nothing."""

    name = PEER

    def __init__(self, provisioned: Provisioned) -> None:
        self._provisioned = provisioned
        self._command = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "mosquitto"

    def version(self) -> str:
        help_text = subprocess.run([self._command, "-h"], capture_output=True, text=True, check=False).stdout
        return help_text.splitlines()[0].strip()

    @contextmanager
    def running(self, folder: Path, *, tls: bool, core: int | None) -> Iterator[Door]:
        port = _free_port()
        rules = folder / "acl"
        rules.write_text((f"user {DEVICE}\n" if tls else "") + "topic readwrite bench/#\n", encoding="utf-8")
        config = folder / "mosquitto.conf"
        config.write_text("\n".join(self._config(port, rules, tls=tls)) + "\n", encoding="utf-8")
        log = folder / "mosquitto.log"
        with _started((self._command, "-c", str(config)), log, core) as process:
            _wait_for(lambda: _is_open(port), process, log)
            yield Door((*_reach(port), *(_tls(self._provisioned.device) if tls else ())), process.pid)

    def _config(self, port: int, rules: Path, *, tls: bool) -> list[str]:
        lines = [
            f"listener {port} 127.0.0.1",
            f"acl_file {rules}",
            "persistence false",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "log_type error",
            f"allow_anonymous {'false' if tls else 'true'}",
        ]
        if os.geteuid() == 0:
            lines.append("user root")
        if tls:
            lines += [
                f"cafile {self._provisioned.device / 'ca.pem'}",
                f"certfile {self._provisioned.home / 'server.crt'}",
                f"keyfile {self._provisioned.home / 'server.key'}",
                "tls_version tlsv1.2",
                "require_certificate true",
                "use_identity_as_username true",
            ]
        return lines


def cpu_seconds(pid: int) -> float:
    """Give the CPU that a process and all below it have used, user and system, from /proc/PID/stat (proc(5))."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            each = int(path.parent.name)
            parents[each] = int(fields[1])
            ticks[each] = sum(int(field) for field in fields[11:15])  # its own, and of children that have ended
    if pid not in ticks:
        raise BrokerFailed("the broker ended during the run")
    return sum(used for each, used in ticks.items() if _descends(each, pid, parents)) / _TICKS_PER_SECOND


def machine_cpu_seconds() -> float:
    """Give the CPU that everything on this machine has used, the hypervisor's theft included, from /proc/stat."""
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    return sum(map(int, (user, nice, system, *interrupts_and_stolen))) / _TICKS_PER_SECOND


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid and pid != ancestor:
        pid = parents.get(pid, 0)
    return pid == ancestor


def _reach(port: int) -> tuple[str, ...]:
    return ("--host", "127.0.0.1", "--port", str(port), "--client-id", f"{DEVICE}/%i", "--topic", TOPIC)


def _tls(folder: Path) -> tuple[str, ...]:
    files = ("--cafile", folder / "ca.pem", "--cert", folder / "device.crt", "--key", folder / "device.key")
    return ("--tls", "13", *map(str, files))


@contextmanager
def _started(command: Sequence[str], log: Path, core: int | None) -> Iterator[subprocess.Popen[bytes]]:
    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=pin,  # the broker's children inherit the core
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _find_door(path: Path, tls: bool) -> int | None:
    try:
        doors = json.loads(path.read_text(encoding="utf-8"))["doors"]
    except (OSError, json.JSONDecodeError):
        return None
    wanted = ("mqtt", "tls" if tls else "none")
    fitting = [door for door in doors if (door["door"], door["protection"]) == wanted]
    for door in fitting:
        if door["address"] in ("127.0.0.1", "0.0.0.0"):
            return int(door["port"])
    raise BrokerFailed(f"{path} names no IPv4 door {wanted}: {doors}")


def _is_open(port: int) -> int | None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return port
    return None


class _Poll(Protocol):
    def __call__(self) -> int | None: ...


def _wait_for(poll: _Poll, process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        port = poll()
        if port is not None:
            return port
        time.sleep(0.02)
    said = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise BrokerFailed(f"{process.args!r} did not open its door; it said:\n{said}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerFailed(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()
