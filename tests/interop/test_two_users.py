"""Gate and office as two users: each does its work, and the gate's user gets at no key of the CA. Needs root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.cli.service import share
from lockgate.home import Home, RunFacts
from tests.support.hub import eventually, run_lockgate

pytestmark = [pytest.mark.process, pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as two users")]

GATE, OFFICE, GROUP = "daemon", "bin", "daemon"


SITE = os.pathsep.join(path for path in sys.path if path.startswith("/") and Path(path).is_dir())


def as_user(user: str, *command: str | Path, log: int | None = subprocess.PIPE) -> subprocess.Popen[str]:
    facts = pwd.getpwnam(user)
    group = facts.pw_gid if user == "nobody" else pwd.getpwnam(GROUP).pw_gid
    return subprocess.Popen(
        [*map(str, command)], user=facts.pw_uid, group=group, extra_groups=[], text=True, cwd="/",
        env={**os.environ, "HOME": "/", "PYTHONPATH": SITE}, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def python() -> str:
    """A Python that other users may run as well."""
    for path in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        try:
            process = as_user(GATE, path, "-c", "import lockgate.cli.up, lockgate.office")
        except OSError:
            continue
        process.communicate(timeout=60)
        if process.returncode == 0:
            return path
    pytest.skip("no other user may run this Python")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of two users, in a place that both can reach."""
    folder = Path(tempfile.mkdtemp(prefix="lockgate-two-"))
    folder.chmod(0o711)
    path = folder / "home"
    run_lockgate("init", "--home", str(path), "--port", "0", "--name", "localhost")
    share(Home.open(path), GATE, OFFICE, GROUP)
    yield path
    shutil.rmtree(folder)


def said(user: str, script: str) -> str:
    process = as_user(user, "sh", "-c", script)
    return process.communicate(timeout=30)[0]


def test_each_does_its_work_and_the_gate_gets_at_no_key(home: Path, python: str) -> None:
    lockgate = (python, "-m", "lockgate")
    log = (home.parent / "log").open("w")
    processes = [
        as_user(GATE, *lockgate, "up", "--no-office", "--home", home, log=log.fileno()),
        as_user(OFFICE, *lockgate, "office", "--home", home, log=log.fileno()),
    ]
    try:
        for name in ("doors.json", "office.json"):
            eventually((home / "run" / name).exists, 20.0, name)
        out = home.parent / "out"
        out.mkdir()
        shutil.chown(out, OFFICE)
        added = as_user(
            OFFICE, *lockgate, "device", "add", "sensor", "--auth", "x509", "--out", out / "sensor", "--home", home,
        )  # fmt: skip
        text = added.communicate(timeout=60)[0]
        assert added.returncode == 0, text
        port = next(
            d.port for d in msgspec.json.decode((home / "run" / "doors.json").read_bytes(), type=RunFacts).doors
        )
        sensor = out / "sensor"
        done = subprocess.run(
            ["mosquitto_pub", "-h", "localhost", "-p", str(port), "--cafile", sensor / "ca.pem", "-i", "sensor",
             "--cert", sensor / "device.crt", "--key", sensor / "device.key", "-q", "1",
             "-t", "devices/sensor/x", "-m", "1"],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + (home.parent / "log").read_text()
        office_port = msgspec.json.decode((home / "run" / "office.json").read_bytes(), type=RunFacts).doors[0].port
        by_http = subprocess.run(
            ["curl", "-sS", "--cacert", sensor / "ca.pem", "--cert", sensor / "device.crt",
             "--key", sensor / "device.key", "-T", "-", "-w", "%{http_code}",
             f"https://localhost:{office_port}/coap/devices/sensor/y"],
            input="1", capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert by_http.stdout == "201", (by_http, (home.parent / "log").read_text())
        eventually((home / "ca" / "crl.pem").exists, 20.0, "the office's revocation list")
        assert "denied" in said(GATE, f"cat {home}/ca/issuing.key")
        assert "denied" in said(GATE, f"cat {home}/ca/root.key")
        assert "not permitted" in said(GATE, f"mv {home}/ca {home}/ca2")
        assert "denied" in said(GATE, f"mv {home}/ca/issuing.key {home}/ca/x")
        assert "denied" in said(GATE, f"cp {home}/lockgate.toml {home}/ca/issuing.crt")
        assert "BEGIN CERTIFICATE" in said(GATE, f"cat {home}/ca/bundle.crt")
        assert "denied" in said("nobody", f"cat {home}/lockgate.toml")
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in processes]
        log.close()
    assert codes == [0, 0], (home.parent / "log").read_text()
