"""CoAP beside libcoap's coap-server and aiocoap: what a request, a notification, a handshake and a session cost.

Each server is reached with what it can do: libcoap (GnuTLS) with pre-shared keys and certificates loaded, as ours
has them; aiocoap without DTLS, to its advantage, since it brings none that does all modes.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from bench.brokers import FREE_PORTS, NO_LIMITS, Settings, lockgate_command, merged, settings_text
from bench.generator import COAP_LOAD, generator
from bench.machine import BROKER_CORE, PINNED, TOP, memory_bytes
from bench.measures import Context, wait_until_quiet
from bench.processes import BrokerFailed, free_port, output_of, started, wait_for
from bench.report import OURS, SATURATED_SHARE, Goal, Reference, Row, Sample

LIBCOAP, AIOCOAP = "libcoap", "aiocoap"
EVERY_COAP = (OURS, LIBCOAP, AIOCOAP)
AIOCOAP_SERVER = TOP / "bench" / "peers" / "aiocoap_server.py"
PATH = "bench/0"
DEVICE, CERTIFIED = "bench", "certified"
PSK_FILE = "psk"
KEY = b"a key for benches"
OPEN = ("--address", "127.0.0.1", "--accept-no-security")
CORE = BROKER_CORE if PINNED else None
COAP_SETTINGS: Settings = {
    "coap": {
        "port": 0,
        "nosec_enabled": True,
        "nosec_port": 0,
        "max_connections": 20_000,
        "max_connections_per_address": 20_000,
    },
    "store": {"durability": "memory"},  # what the others are given, they keep in memory alone
}

GET, PUT, NOTIFICATION = "CoAP GET over DTLS", "CoAP PUT over DTLS", "CoAP notification over DTLS, 50 observers"
PSK_HANDSHAKE, X509_HANDSHAKE = "DTLS handshake and GET, pre-shared key", "DTLS handshake and GET, certificates"
COAP_IDLE = "memory per idle DTLS session"

Security = Literal["none", "psk", "x509"]


def _row(measure: str, limit: float, beside: str, written: str = "") -> Row:
    goal = Goal(limit, Reference(beside), written=written, beside=beside)
    return Row(f"{measure}, beside {beside}", measure, "cpu", "µs", goal, is_must=False)


class CoapBroker(Protocol):
    """A CoAP server that the bench can start."""

    name: str

    def version(self) -> str: ...

    @contextmanager
    def serving(self, folder: Path, context: Context, security: Security) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Run it; give its process and the generator's options that reach it."""
        ...


class CoapMeasure(Protocol):
    """One kind of measurement, on each of some servers."""

    @property
    def name(self) -> str: ...

    @property
    def brokers(self) -> tuple[str, ...]: ...

    def run(self, broker: CoapBroker, place: Path, context: Context) -> Sample: ...


def udp_port() -> int:
    """Give a UDP port whose successor is free as well: coap-server takes both."""
    for _ in range(100):
        port = free_port()
        try:
            with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
                return port
        except OSError:
            continue
    raise BrokerFailed("no two neighbouring UDP ports are free")


class OurCoap:
    """Ours, as installed, with a device by pre-shared key, one by certificate and one without security."""

    name = OURS

    def version(self) -> str:
        return output_of(lockgate_command(), "--version")

    @contextmanager
    def serving(self, folder: Path, context: Context, security: Security) -> Iterator[tuple[int, tuple[str, ...]]]:
        made = _home(context)
        home = folder / "home"
        shutil.copytree(made / "home", home)
        path = home / "lockgate.toml"
        written = tomllib.loads(path.read_text(encoding="utf-8"))
        path.write_text(settings_text(merged(NO_LIMITS, written, FREE_PORTS, COAP_SETTINGS)), encoding="utf-8")
        log, doors = folder / "lockgate.log", home / "run" / "doors.json"
        wanted = "none" if security == "none" else "dtls"
        with started((lockgate_command(), "up", "--home", str(home)), log, CORE) as process:
            port = wait_for(lambda: _find(doors, wanted), process, log, 0.005)
            yield process.pid, ("--port", str(port), *_shown(made, security))

    def shown(self, context: Context, security: Security) -> tuple[str, ...]:
        """Give what a client shows, as options of the generator."""
        return _shown(_home(context), security)


class Libcoap:
    """Debian's coap-server-gnutls, with one pre-shared key and its certificates loaded."""

    name = LIBCOAP

    def __init__(self) -> None:
        self._command = "coap-server-gnutls"

    def version(self) -> str:
        done = subprocess.run([self._command, "-?"], capture_output=True, text=True, check=False)
        return next((line for line in (done.stderr + done.stdout).splitlines() if " v" in line), self._command)

    @contextmanager
    def serving(self, folder: Path, context: Context, security: Security) -> Iterator[tuple[int, tuple[str, ...]]]:
        made, port = _home(context), udp_port()
        home, device = made / "home", made / CERTIFIED
        keys = ("-k", KEY.decode(), "-h", "hub")
        certificates = ("-c", str(home / "server.crt"), "-j", str(home / "server.key"), "-C", str(device / "ca.pem"))
        command = (self._command, "-A", "127.0.0.1", "-p", str(port), "-d", "100", *keys, *certificates)
        log = folder / "coap-server.log"
        with started(command, log, CORE) as process:
            wait_for(lambda: _answers(port), process, log)
            where = port if security == "none" else port + 1
            shown = ("--psk-identity", DEVICE, "--psk", KEY.hex()) if security == "psk" else _shown(made, security)
            yield process.pid, ("--port", str(where), *shown)


class AioCoap:
    """aiocoap's server, in Python, without DTLS."""

    name = AIOCOAP

    def version(self) -> str:
        return f"aiocoap {metadata.version('aiocoap')}"

    @contextmanager
    def serving(self, folder: Path, context: Context, security: Security) -> Iterator[tuple[int, tuple[str, ...]]]:
        del context, security
        port, log = udp_port(), folder / "aiocoap.log"
        with started((sys.executable, str(AIOCOAP_SERVER), str(port), PATH), log, CORE) as process:
            wait_for(lambda: _answers(port), process, log)
            yield process.pid, ("--port", str(port))


class Requests(msgspec.Struct, frozen=True):
    """One kind of request, or notifications: the CPU of each; each client has one under way."""

    name: str
    what: Literal["get", "put", "observe"]
    security: Security = "psk"
    clients: int = 10
    brokers: tuple[str, ...] = EVERY_COAP

    def run(self, broker: CoapBroker, place: Path, context: Context) -> Sample:
        words = ("--do", self.what, "--clients", str(self.clients), "--seconds", f"{context.seconds:g}")
        return _cpu_of(self.name, broker, place, context, self.security, words)


class CoapHandshakes(msgspec.Struct, frozen=True):
    """Full handshakes, one after the other, each with one GET and a goodbye: the CPU of all that."""

    name: str
    security: Security
    count: int = 1000
    quick_count: int = 200
    brokers: tuple[str, ...] = (OURS, LIBCOAP)

    def run(self, broker: CoapBroker, place: Path, context: Context) -> Sample:
        count = self.quick_count if context.quick else self.count
        words = ("--do", "handshakes", "--clients", str(count))
        return _cpu_of(self.name, broker, place, context, self.security, words)


class CoapIdle(msgspec.Struct, frozen=True):
    """DTLS sessions that are silent: what each adds to the memory of all processes."""

    name: str
    count: int = 2000
    quick_count: int = 500
    brokers: tuple[str, ...] = (OURS, LIBCOAP)

    def run(self, broker: CoapBroker, place: Path, context: Context) -> Sample:
        count = self.quick_count if context.quick else self.count
        with broker.serving(place, context, "psk") as (pid, where):
            words = (*where, "--path", PATH, "--do", "idle", "--clients", str(count))
            with generator(words, f"{broker.name} in {self.name}", COAP_LOAD) as load:
                load.wait_until_warm()
                wait_until_quiet(pid)
                before = memory_bytes(pid)
                load.connect_idle()
                wait_until_quiet(pid)
                after = memory_bytes(pid)
                said = load.finish()
        return Sample(self.name, broker.name, {"bytes": (after - before) / count}, None, 0.0, _share(said), said)


def _cpu_of(
    name: str, broker: CoapBroker, place: Path, context: Context, security: Security, words: tuple[str, ...]
) -> Sample:
    with (
        broker.serving(place, context, security) as (pid, where),
        generator((*where, "--path", PATH, *words), f"{broker.name} in {name}", COAP_LOAD) as load,
    ):
        load.wait_until_warm()
        wait_until_quiet(pid)
        result = load.go(pid)
    said = result.said
    figures = {
        "cpu": result.broker_cpu_seconds / said["count"] * 1e6,
        "per_second": said["count"] / said["elapsed_seconds"],
    }
    share, problem = _share(said), None
    if share > SATURATED_SHARE:
        problem = f"{broker.name}: the load generator was saturated ({share:.0%} of its core)"
    elif said["resent"]:
        problem = f"{broker.name}: {said['resent']} requests had to be sent again"
    return Sample(name, broker.name, figures, problem, result.others_share, share, said)


def _share(said: dict[str, float]) -> float:
    return said["cpu_seconds"] / said["elapsed_seconds"]


def _home(context: Context) -> Path:
    """Give the folder of the home and its devices, made once for a bench."""
    folder = context.fleet.home.parent / "coap"
    if (folder / "made").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    home = ("--home", str(folder / "home"))
    rules = ("--publish", "bench/#", "--receive", "bench/#")
    names = ("--name", "localhost", "--name", "127.0.0.1")
    output_of(lockgate_command(), "init", *home, *names, "--port", str(free_port()))
    settings = folder / "home" / "lockgate.toml"
    settings.write_text("coap.nosec_enabled = true\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
    for name, auth in ((DEVICE, ("psk",)), (CERTIFIED, ("x509",)), ("open", ("nosec", *OPEN))):
        out = ("--out", str(folder / name))
        output_of(lockgate_command(), "device", "add", name, "--auth", *auth, *out, *rules, *home)
    (folder / "made").touch()
    return folder


def _shown(made: Path, security: Security) -> tuple[str, ...]:
    """Give what a client of ours shows, as options of the generator."""
    if security == "none":
        return ()
    if security == "psk":
        return "--psk-identity", DEVICE, "--psk", (made / DEVICE / PSK_FILE).read_bytes().hex()
    device = made / CERTIFIED
    return "--cafile", str(device / "ca.pem"), "--cert", str(device / "device.crt"), "--key", str(device / "device.key")


def _find(doors: Path, protection: str) -> int | None:
    """Give the port of our CoAP door, as soon as it is open."""
    if not doors.exists():
        return None
    with suppress(ValueError):
        facts = json.loads(doors.read_text(encoding="utf-8"))["doors"]
        for door in facts:
            if (door["door"], door["protection"]) == ("coap", protection):
                return int(door["port"])
    return None


def _answers(port: int) -> int | None:
    """Give the port when a CoAP ping there is answered (RFC 7252 section 4.3)."""
    with socket.socket(type=socket.SOCK_DGRAM) as asking, suppress(OSError):
        asking.settimeout(0.2)
        asking.connect(("127.0.0.1", port))
        asking.send(b"\x40\0\x47\x11")
        asking.recv(16)
        return port
    return None


COAP_MEASURES: tuple[CoapMeasure, ...] = (
    Requests(GET, "get"),
    Requests(PUT, "put"),
    Requests(NOTIFICATION, "observe", clients=50),
    CoapHandshakes(PSK_HANDSHAKE, "psk"),
    CoapHandshakes(X509_HANDSHAKE, "x509"),
    CoapIdle(COAP_IDLE),
)

COAP_ROWS: tuple[Row, ...] = (
    _row(GET, 5.0, LIBCOAP),
    _row(GET, 1 / 3, AIOCOAP, "1/3"),
    _row(PUT, 5.0, LIBCOAP),
    _row(NOTIFICATION, 5.0, LIBCOAP),
    _row(PSK_HANDSHAKE, 2.0, LIBCOAP),
    _row(X509_HANDSHAKE, 1.1, LIBCOAP),
    Row(COAP_IDLE, COAP_IDLE, "bytes", "B", Goal(25_000, None), is_must=False),
)
