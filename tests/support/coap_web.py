"""Somebody with curl, before an office: asks for topics and devices' resources by HTTPS."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from tests.support.hub import RunningHub


class Answer(msgspec.Struct):
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Curl:
    """One person.

    Args:
        hub: a hub with an office.
        credentials: curl's options that show who asks.
    """

    def __init__(self, hub: RunningHub, *credentials: str) -> None:
        self._hub = hub
        self._credentials = credentials

    @classmethod
    def by_certificate(cls, hub: RunningHub, device: str) -> Curl:
        """Give somebody with a device's certificate."""
        folder = hub.folder / f"device-{device}"
        return cls(hub, "--cert", str(folder / "device.crt"), "--key", str(folder / "device.key"))

    @property
    def url(self) -> str:
        """Where the office is."""
        return f"https://localhost:{self._hub.office_port}"

    def __call__(self, method: str, path: str, *options: str, body: bytes | None = None) -> Answer:
        """Make one request; the path goes out as it is written."""
        command = ["curl", "-sS", "--max-time", "20", "--path-as-is", "--globoff", "--cacert", str(self._hub.ca_path)]
        command += ["--head"] if method == "HEAD" else ["-X", method]
        if body is not None:
            command += ["--data-binary", "@-"]
            if not any(option.lower().startswith("content-type") for option in options):
                command += ["-H", "Content-Type:"]
        command += ["-D", "/dev/stderr", *self._credentials, *options, f"{self.url}{path}"]
        done = subprocess.run(command, input=body or b"", capture_output=True, timeout=30, check=False)
        head = done.stderr.decode("latin-1")
        assert done.returncode == 0, head
        first, *lines = head.rpartition("HTTP/1.1 ")[2].splitlines()
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if ":" in line)
        }
        return Answer(int(first.split()[0]), headers, b"" if method == "HEAD" else done.stdout)


def password_of(folder: Path) -> str:
    """Give the password in a device's folder."""
    return (folder / "password").read_text().strip()
