"""Ours and mosquitto: each starts afresh on one core, in a folder of its own, and is gone afterwards.

Both do the same work: MQTT over plain TCP or TLS, client certificates, a decision for each publish and delivery,
nothing kept on disk for sessions that end with their connection. The others are in bench/peers/.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from bench.fleet import TOPIC, Fleet
from bench.machine import cpu_seconds, machine_cpu_seconds
from bench.processes import BrokerFailed, free_port, is_open, output_of, started, wait_for
from bench.report import OURS, PEER

__all__ = [
    "TOPIC",
    "Broker",
    "BrokerFailed",
    "Door",
    "Lockgate",
    "Mosquitto",
    "Provisioned",
    "cpu_seconds",
    "lockgate_command",
    "machine_cpu_seconds",
    "provision",
]

DEVICE = "bench"
Settings = Mapping[str, Mapping[str, int | float | str | bool]]

# One address is the whole load here, and one device may be: these limits refuse just that.
NO_LIMITS: Settings = {
    "net": {
        "max_connections": 20_000,
        "max_connections_per_address": 20_000,
        "max_handshakes": 10_000,
        "max_handshakes_per_second_per_address": 0,
        "max_handshake_burst_per_address": 20_000,
    },
    "hub": {
        "max_messages_per_second": 0,
        "max_bytes_per_second": 0,
        "max_sessions_per_device": 20_000,
        "max_queued_messages": 60_000,
        "max_queued_bytes": 268_435_456,
    },
}
FREE_PORTS: Settings = {"mqtt": {"port": 0, "websocket_port": 0}, "coap": {"port": 0}, "office": {"port": 0}}


class Door(msgspec.Struct, frozen=True):
    """A running broker: how the load generator reaches it, and the process to measure."""

    load_arguments: tuple[str, ...]
    pid: int
    home: Path | None = None
    tls_port: int = 0
    began: float = 0.0  # monotonic seconds, when its process was started
    is_ruled: bool = False  # ours, with the rules of the fleet's home: canaries are told apart by them


class Provisioned(msgspec.Struct, frozen=True):
    """A home, and the folders of its devices; `device` is one folder, or a pattern with %i for many."""

    home: Path
    device: Path
    client_id: str = f"{DEVICE}/%i"
    is_ruled: bool = False

    @classmethod
    def of(cls, fleet: Fleet, home: Path | None = None) -> Provisioned:
        """Give a fleet's home, with a certificate for each connection."""
        return cls(home or fleet.home, fleet.devices / "d%i", "d%i", home is None)

    @property
    def ca(self) -> Path:
        """The CA that signed the server's certificate, and the devices'."""
        return Path(str(self.device).replace("%i", "0")) / "ca.pem"


class Broker(Protocol):
    """A broker that the bench can start."""

    name: str

    def version(self) -> str: ...

    @contextmanager
    def running(
        self, folder: Path, *, tls: bool, core: int | None, settings: Settings | None = None
    ) -> Iterator[Door]: ...


def lockgate_command() -> str:
    """Ours as a user installs it (`make bench` does, and names it in LOCKGATE_BENCH), else this tree's."""
    return os.environ.get("LOCKGATE_BENCH") or str(Path(sys.executable).with_name("lockgate"))


def provision(folder: Path) -> Provisioned:
    """Make a home and one device with a certificate, as an operator would."""
    made = Provisioned(folder / "home", folder / "device")
    home = ("--home", str(made.home))
    rules = ("--publish", "bench/#", "--receive", "bench/#")
    device = ("device", "add", DEVICE, "--auth", "x509", "--out", str(made.device))
    names = ("--name", "localhost", "--name", "127.0.0.1", "--port", str(free_port()))
    output_of(lockgate_command(), "init", *home, *names)
    output_of(lockgate_command(), *device, *rules, *home)
    return made


class Lockgate:
    """Ours, as installed: `lockgate up` with every process that it starts."""

    def __init__(self, provisioned: Provisioned, name: str = OURS) -> None:
        self._provisioned = provisioned
        self.name = name

    def version(self) -> str:
        return output_of(lockgate_command(), "--version")

    @contextmanager
    def running(self, folder: Path, *, tls: bool, core: int | None, settings: Settings | None = None) -> Iterator[Door]:
        home = folder / "home"
        shutil.copytree(self._provisioned.home, home)
        path = home / "lockgate.toml"
        written = tomllib.loads(path.read_text(encoding="utf-8"))
        path.write_text(settings_text(merged(NO_LIMITS, written, FREE_PORTS, settings or {})), encoding="utf-8")
        command = (lockgate_command(), "up", "--home", str(home), *(() if tls else ("--lab-port", "0")))
        doors = home / "run" / "doors.json"
        log, began, ruled = folder / "lockgate.log", time.monotonic(), self._provisioned.is_ruled
        with started(command, log, core) as process:
            port = wait_for(lambda: _find_door(doors, tls), process, log, 0.005)
            arguments = reach(port, self._provisioned, tls=tls)
            yield Door(arguments, process.pid, home, _find_door(doors, True) or 0, began, ruled)


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
    def running(self, folder: Path, *, tls: bool, core: int | None, settings: Settings | None = None) -> Iterator[Door]:
        del settings  # they are ours
        port = free_port()
        rules = folder / "acl"
        # One rule for all: fewer than ours, to its advantage.
        rules.write_text(("pattern" if tls else "topic") + " readwrite bench/#\n", encoding="utf-8")
        config = folder / "mosquitto.conf"
        config.write_text("\n".join(self._config(port, rules, tls=tls)) + "\n", encoding="utf-8")
        log = folder / "mosquitto.log"
        with started((self._command, "-c", str(config)), log, core) as process:
            wait_for(lambda: is_open(port), process, log)
            yield Door(reach(port, self._provisioned, tls=tls), process.pid, tls_port=port if tls else 0)

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
                f"cafile {self._provisioned.ca}",
                f"certfile {self._provisioned.home / 'server.crt'}",
                f"keyfile {self._provisioned.home / 'server.key'}",
                "tls_version tlsv1.2",
                "require_certificate true",
                "use_identity_as_username true",
            ]
        return lines


def merged(*parts: Mapping[str, object]) -> dict[str, object]:
    """Give all settings of `parts` together; of two with the same name, the later one."""
    found: dict[str, object] = {}
    for part in parts:
        for key, value in part.items():
            before = found.get(key)
            both = isinstance(before, dict) and isinstance(value, Mapping)
            found[key] = {**before, **value} if both else value  # type: ignore[dict-item]
    return found


def settings_text(settings: Mapping[str, object]) -> str:
    """Give settings as TOML; numbers, texts and lists of them are written alike in JSON."""
    lines = []
    for section, values in settings.items():
        assert isinstance(values, Mapping), section
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


def reach(port: int, provisioned: Provisioned, *, tls: bool) -> tuple[str, ...]:
    """Give what the load generator needs to reach a broker at `port`."""
    arguments = ("--host", "127.0.0.1", "--port", str(port), "--client-id", provisioned.client_id)
    return (*arguments, *(tls_arguments(provisioned) if tls else ()))


def tls_arguments(provisioned: Provisioned) -> tuple[str, ...]:
    """Give what the load generator needs for TLS 1.3 with client certificates."""
    folder = provisioned.device
    files = ("--cafile", provisioned.ca, "--cert", folder / "device.crt", "--key", folder / "device.key")
    return ("--tls", "13", *map(str, files))


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
