"""The stage of a demonstration: a temporary home, a hub in a process of its own, and devices of that hub."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from lockgate.ca.desk import Desk
from lockgate.errors import Unavailable
from lockgate.home import DoorFacts, Home
from lockgate.model.device import CredentialKind
from lockgate.model.permission import Operation, Rule
from lockgate.provision.bundle import make_bundle
from lockgate.provision.folder import HubAddress
from lockgate.registry.registrar import Registrar

ACTOR = "demonstration"
STOP_SECONDS = 10.0


class _Announcement(msgspec.Struct):
    doors: tuple[DoorFacts, ...]


class Stage:
    """A hub that lives as long as its `with` block.

    Args:
        with_lab: open the plaintext lab door too.
    """

    def __init__(self, with_lab: bool = False) -> None:
        self._with_lab = with_lab
        self.folder: Path
        self.home: Home
        self.doors: tuple[DoorFacts, ...] = ()
        self._hub: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Stage:
        """Make the home and start the hub."""
        self.folder = Path(tempfile.mkdtemp(prefix="lockgate-demo-"))
        try:
            self._make_home()
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the hub, and remove everything."""
        self._stop()

    @property
    def tls_port(self) -> int:
        """The port of MQTT over TLS."""
        return next(door.port for door in self.doors if door.protection == "tls")

    @property
    def lab_port(self) -> int:
        """The port of the lab door."""
        return next(door.port for door in self.doors if door.protection == "none")

    def add_device(
        self,
        name: str,
        kind: CredentialKind,
        publish: Sequence[str] = (),
        receive: Sequence[str] = (),
        port: int | None = None,
    ) -> Path:
        """Provision a device as `lockgate device add` does; give its folder. `port` stands in for the hub's own."""
        rules = [Rule(f"device:{name}", Operation.PUBLISH, f) for f in publish]
        rules += [Rule(f"device:{name}", Operation.RECEIVE, f) for f in receive]
        out = self.folder / name
        with self.home.registry() as registry:
            registrar = Registrar(registry, ACTOR)
            make_bundle(
                kind,
                name,
                out,
                HubAddress("localhost", port or self.tls_port),
                Desk(self.home, registry, ACTOR) if kind is CredentialKind.X509 else None,
                self.home.root_pem(),
                self.home.settings().identity.jwt_audience,
                time.time(),
                register=lambda credential: registrar.add_device(name, [credential], (), rules),
            )
        return out

    def _make_home(self) -> None:
        port = 8883 if _is_free(8883) else 0
        self.home = Home.create(self.folder / "home", ("localhost", "127.0.0.1", "::1"), time.time(), ACTOR, port=port)
        with self.home.settings_path.open("a") as settings:  # under [mqtt]: a demonstration is for this machine alone
            settings.write('hosts = ["127.0.0.1", "::1"]\nwebsocket_enabled = false\n')

    def _start(self) -> None:
        command = [sys.executable, "-m", "lockgate", "up", "--home", str(self.home.path), "--json", "--until-eof"]
        command.append("--no-office")
        if self._with_lab:
            command += ["--lab-port", "0"]
        log_path = self.folder / "hub.log"
        with log_path.open("wb") as log:
            # In a process group of its own: Ctrl-C is for the demonstration, which then ends the hub.
            self._hub = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, process_group=0
            )
        assert self._hub.stdout is not None
        line = self._hub.stdout.readline()
        if not line:
            raise Unavailable(f"the hub did not start: {log_path.read_text()[-2000:]}")
        self.doors = msgspec.json.decode(line, type=_Announcement).doors

    def _stop(self) -> None:
        hub, self._hub = self._hub, None
        if hub is not None:
            assert hub.stdin is not None
            assert hub.stdout is not None
            hub.stdin.close()
            try:
                hub.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                hub.kill()
                hub.wait()
            hub.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_free(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family is socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((host, port))
        except OSError:
            if family is socket.AF_INET:
                return False
    return True
