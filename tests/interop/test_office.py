"""The office beside the gate: it starts, it dies and comes again, it ends with the hub, and HTTPS holds its bounds."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.home import RunFacts
from lockgate.provision import est
from tests.support.hub import RunningHub, eventually

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with RunningHub(tmp_path_factory.mktemp("hub"), office=True) as running:
        yield running


def office_pid(hub: RunningHub) -> int | None:
    path = hub.home / "run" / "office.json"
    return msgspec.json.decode(path.read_bytes(), type=RunFacts).pid if path.exists() else None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def curl(hub: RunningHub, path: str, *options: str) -> str:
    url = f"https://localhost:{hub.office_port}{path}"
    command = ["curl", "-sS", "--max-time", "20", "--cacert", str(hub.ca_path), *options, url]
    done = subprocess.run(command, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_it_serves_the_cas_certificates(hub: RunningHub, tmp_path: Path) -> None:
    body = curl(hub, "/.well-known/est/cacerts").encode()
    assert len(est.decode_certificates(body)) == 2
    path = tmp_path / "cacerts.p7"
    path.write_bytes(b"-----BEGIN PKCS7-----\n" + body + b"-----END PKCS7-----\n")
    text = subprocess.run(["openssl", "pkcs7", "-in", path, "-print_certs"], capture_output=True, text=True, check=True)
    assert text.stdout.count("BEGIN CERTIFICATE") == 2


def test_its_door_is_in_doors_json(hub: RunningHub) -> None:
    port = hub.office_port
    path = hub.home / "run" / "doors.json"

    def look() -> bool:
        doors = msgspec.json.decode(path.read_bytes(), type=RunFacts).doors
        return any((door.door, door.port, door.transport) == ("office", port, "https") for door in doors)

    assert eventually(look, 10.0, "the office's door")
    assert hub.port != port
    hub.lockgate("device", "add", "after", "--auth", "x509", "--out", str(hub.folder / "after"))
    assert f'"port": {hub.port}' in (hub.folder / "after" / "device.json").read_text(), "MQTT's port, not the office's"


def test_it_comes_again_when_it_dies_and_the_gate_goes_on(hub: RunningHub) -> None:
    hub.office_port  # noqa: B018  (it is up)
    first = office_pid(hub)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    second = eventually(lambda: pid if (pid := office_pid(hub)) != first else None, 20.0, "another office")
    assert second is not None
    assert hub.process is not None
    assert hub.process.poll() is None
    assert eventually(lambda: hub.events("office.died") or None)
    assert curl(hub, "/health") == "ok\n"


def test_a_refused_certificate_is_in_why(hub: RunningHub) -> None:
    command = ["curl", "-sS", "--max-time", "10", f"https://localhost:{hub.office_port}/health"]
    assert subprocess.run(command, capture_output=True, timeout=20).returncode != 0, "an unknown CA"
    found = eventually(lambda: next((r for r in hub.why() if r["door"] == "office"), None), 5.0, "the refusal")
    assert found["step"] == "tls"


def test_the_gate_opens_its_doors_also_when_the_office_cannot(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        hub = RunningHub(tmp_path, office=True)
        settings = hub.home / "lockgate.toml"
        port = taken.getsockname()[1]
        settings.write_text(settings.read_text().replace("office.port = 0", f"office.port = {port}"))
        with hub:
            died = eventually(lambda: hub.events("office.died") or None, 20.0, "the office's end")
            assert died[0]["code"] == 1
            assert f"port {port} is taken" in hub.log()
            with socket.create_connection(("127.0.0.1", hub.port), 5):
                pass


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_it_ends_with_the_hub(tmp_path: Path, way: str) -> None:
    hub = RunningHub(tmp_path, office=True)
    hub.start()
    try:
        port = hub.office_port
        pid = office_pid(hub)
        assert pid is not None
    finally:
        hub.stop() if way == "stop" else hub.kill()
    eventually(lambda: not is_alive(pid), 10.0, "the office's end")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 2)


def test_a_slow_request_is_ended_with_words(tmp_path: Path) -> None:
    hub = RunningHub(tmp_path, office=True)
    settings = hub.home / "lockgate.toml"
    settings.write_text(
        settings.read_text().replace("office.port = 0", "office.port = 0\noffice.request_deadline_seconds = 0.3")
    )
    with hub:
        context = ssl.create_default_context(cafile=str(hub.ca_path))
        with socket.create_connection(("127.0.0.1", hub.office_port), 10) as raw:
            tls = context.wrap_socket(raw, server_hostname="localhost")
            tls.sendall(b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\nSlow")
            answer = b"".join(iter(lambda: tls.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"reference: " in answer
        hub.wait_for_refusal("request not finished", door="office")
