"""A real hub in a process of its own, for tests that speak to it by sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from lockgate.home import DoorFacts, RunFacts
from lockgate.logs import GATHERING_SECONDS

START_SECONDS = 20.0
STOP_SECONDS = 15.0

T = TypeVar("T")


class Announcement(msgspec.Struct):
    """What `lockgate up --json` prints first."""

    doors: tuple[DoorFacts, ...]
    names: tuple[str, ...] = ()


class RunningHub:
    """A home in `folder` with a hub that runs on free ports; `with` starts and stops it.

    Args:
        folder: an empty or new folder; the home is `folder/home`, made unless it is there.
        lab: open the lab door too.
        names: the names in the server certificate.
        settings: text to put after `[mqtt] port = 0` in lockgate.toml.
        office: run the office beside it.
        coap: settings of `[coap]`, each as it stands in lockgate.toml: 'nosec_enabled = true'.

    `environment` holds variables that the hub and the command line get besides the test's own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lab: bool = False,
        names: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
        settings: str = "",
        office: bool = False,
        coap: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.log_path = folder / "hub.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.doors: tuple[DoorFacts, ...] = ()
        self.environment: dict[str, str] = {}
        self._lab = lab
        self._office = office
        folder.mkdir(parents=True, exist_ok=True)
        options = [word for name in names for word in ("--name", name)]
        if not self.home.exists():
            self.lockgate("init", "--port", "0", *options)
        path = self.home / "lockgate.toml"
        said = "".join(f"coap.{line}\n" for line in coap)
        path.write_text(said + path.read_text() + settings)

    def __enter__(self) -> RunningHub:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port of MQTT over TLS."""
        return next(door.port for door in self.doors if (door.protection, door.transport) == ("tls", "tcp"))

    @property
    def websocket_port(self) -> int:
        """The port of MQTT over secure WebSocket."""
        return next(door.port for door in self.doors if door.transport == "websocket")

    @property
    def lab_port(self) -> int:
        """The port of the lab door."""
        return next(door.port for door in self.doors if (door.door, door.protection) == ("mqtt", "none"))

    @property
    def coap_port(self) -> int:
        """The port of CoAP over DTLS."""
        return next(door.port for door in self.doors if (door.door, door.protection) == ("coap", "dtls"))

    @property
    def plain_coap_port(self) -> int:
        """The port of CoAP without DTLS."""
        return next(door.port for door in self.doors if (door.door, door.protection) == ("coap", "none"))

    @property
    def office_port(self) -> int:
        """The port of the office, as soon as it is open."""
        path = self.home / "run" / "office.json"

        def look() -> int | None:
            return msgspec.json.decode(path.read_bytes(), type=RunFacts).doors[0].port if path.exists() else None

        return eventually(look, START_SECONDS, "the office")

    @property
    def ca_path(self) -> Path:
        """The root certificate."""
        return self.home / "ca" / "root.crt"

    @property
    def pid(self) -> int:
        """The hub's process id."""
        assert self.process is not None
        return self.process.pid

    def start(self, tls_port: int = 0) -> None:
        """Start the hub; `tls_port` asks for a port (e.g. the one from before a restart)."""
        settings = self.home / "lockgate.toml"
        lines = [
            f"port = {tls_port}" if line.startswith("port = ") else line for line in settings.read_text().split("\n")
        ]
        settings.write_text("\n".join(lines))
        command = [sys.executable, "-m", "lockgate", "up", "--home", str(self.home), "--json", "--until-eof"]
        if not self._office:
            command.append("--no-office")
        if self._lab:
            command += ["--lab-port", "0"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, process_group=0,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the hub did not start:\n{self.log()}"
        self.doors = msgspec.json.decode(line, type=Announcement).doors

    def stop(self) -> int:
        """Stop the hub cleanly; give its exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        assert process.stdin is not None
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the hub did not stop:\n{self.log()}") from None
        finally:
            process.stdin.close()
            process.stdout.close()
        return code

    def kill(self, whole_group: bool = False) -> None:
        """Kill the hub as a power switch would: no last words; `whole_group` takes all that run in its group along."""
        process, self.process = self.process, None
        assert process is not None
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()

    def restart(self) -> None:
        """Stop and start again on the same port."""
        port = self.port
        self.stop()
        self.start(port)

    def log(self) -> str:
        """Everything that the hub logged."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """The logged events of one name, those of this moment with them: lines leave together, a little later."""
        time.sleep(3 * GATHERING_SECONDS)
        found = []
        for line in self.log().splitlines():
            if line.startswith("{"):
                event = msgspec.json.decode(line, type=dict[str, Any])
                if event.get("event") == name:
                    found.append(event)
        return found

    def lockgate(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line on this home."""
        return run_lockgate(*arguments, home=self.home, check=check, environment=self.environment)

    def add_device(self, name: str, auth: str, *options: str) -> Path:
        """Provision a device by `lockgate device add`; give its folder."""
        out = self.folder / f"device-{name}"
        self.lockgate("device", "add", name, "--auth", auth, "--out", str(out), "--hub", "localhost", *options)
        return out

    def token(self, folder: Path, lifetime: str = "1h") -> str:
        """Make a token by `lockgate device token`."""
        return run_lockgate("device", "token", str(folder), "--for", lifetime).stdout.strip()

    def why(self, *arguments: str) -> list[dict[str, Any]]:
        """What `lockgate why` knows, newest first."""
        text = self.lockgate("why", "--last", "100", "--json", *arguments).stdout
        return msgspec.json.decode(text, type=list[dict[str, Any]])

    def wait_for_refusal(self, reason: str, seconds: float = 5.0, **fields: str) -> dict[str, Any]:
        """Wait until `lockgate why` knows a refusal with this reason and these fields; give it."""
        wanted = {"reason": reason, **fields}.items()
        return eventually(lambda: next((r for r in self.why() if wanted <= r.items()), None), seconds, reason)


def run_lockgate(
    *arguments: str, home: Path | None = None, check: bool = True, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line; with `check`, a failure fails the test with what it said."""
    variables = {**os.environ, **(environment or {})}
    if home is not None:
        variables["LOCKGATE_HOME"] = str(home)
    done = subprocess.run(
        [sys.executable, "-m", "lockgate", *arguments], capture_output=True, text=True, env=variables, timeout=60
    )
    if check:
        assert done.returncode == 0, f"lockgate {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
    return done


def eventually(look: Callable[[], T | None], seconds: float = 5.0, what: str = "it") -> T:
    """Give what `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.02)
