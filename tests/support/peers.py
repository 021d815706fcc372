"""What real clients need to reach a hub: the programs, and who each client is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lockgate.model.device import CredentialKind
from lockgate.provision.folder import read_folder
from lockgate.provision.token import make_token

ALL_KINDS = tuple(
    kind.value for kind in CredentialKind if kind is not CredentialKind.SCRAM_SHA_256 and not kind.is_for_coap_alone
)
"""The kinds that every client speaks; for SCRAM see tests/interop/test_scram.py."""
WAIT_SECONDS = 10.0


def program(name: str) -> str:
    """Give the path of a program that `make peers` installs; without it the test fails, never skips."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: run make peers")
    return path


def shell_environment() -> dict[str, str]:
    """Give an environment in which a shell finds the `lockgate` command that belongs to these tests."""
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.pop("LOCKGATE_HOME", None)
    return environment


class Heard(msgspec.Struct, frozen=True):
    """One message that came, as far as the client tells."""

    topic: str
    payload: str
    qos: int = 0
    is_retained: bool = False
    properties: dict[str, Any] = {}


class Login(msgspec.Struct, frozen=True):
    """Where a client goes and what it shows; "" and None leave a thing out."""

    host: str
    port: int
    ca: Path
    client_id: str
    user_name: str = ""
    password: str = ""
    certificate: Path | None = None
    key: Path | None = None

    def but(self, **changes: object) -> Login:
        """Give the same login with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    def anonymous(self) -> Login:
        """Give the same login with nothing to show."""
        return self.but(user_name="", password="", certificate=None, key=None)


def login(folder: Path, suffix: str = "") -> Login:
    """Read a device's folder as its owner would; `suffix` makes the client id NAME/SUFFIX."""
    device = read_folder(folder)
    secret = ""
    if device.auth in (CredentialKind.JWT_ES256, CredentialKind.JWT_RS256, CredentialKind.JWT_EDDSA):
        secret = make_token(folder)
    elif device.password_file is not None:
        secret = (folder / device.password_file).read_text()
    return Login(
        host=device.host,
        port=device.port,
        ca=folder / device.ca_file,
        client_id=f"{device.client_id}/{suffix}" if suffix else device.client_id,
        user_name=device.name if secret else "",
        password=secret,
        certificate=folder / device.certificate_file if device.certificate_file else None,
        key=folder / device.key_file if device.certificate_file and device.key_file else None,
    )


class Talker:
    """A program that runs, with what it prints line by line. Leaving the `with` ends it."""

    def __init__(self, command: Sequence[str], *, cwd: Path | None = None) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            command, cwd=cwd, env=shell_environment(), text=True, bufsize=1, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def say(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait_for(
        self, wanted: Callable[[str], bool], what: str, after: int = 0, seconds: float = WAIT_SECONDS
    ) -> tuple[int, str]:
        """Wait for a line; give its number and itself. `after` skips the lines before that number."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for number, line in enumerate(self.lines[after:], after):
                    if wanted(line):
                        return number, line
                left = deadline - time.monotonic()
                if left <= 0 or (not self._reader.is_alive() and self.process.poll() is not None):
                    pytest.fail(f"{what} did not come; what came:\n" + "\n".join(self.lines))
                self._news.wait(min(left, 0.5))

    def stop(self) -> None:
        """End it, and what it started, politely."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and what it started, as a power switch would."""
        self._end(signal.SIGKILL)

    def _end(self, signal_number: signal.Signals) -> None:
        for each in (signal_number, signal.SIGKILL):  # some programs, between two attempts to connect, ignore a SIGTERM
            if self.process.poll() is None:
                os.killpg(self.process.pid, each)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(WAIT_SECONDS / 2)
        self._reader.join(WAIT_SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None and not stream.closed:
                stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()
