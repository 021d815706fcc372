"""`lockgate demo` as a person or a script sees it, and what a real capture of it holds."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lockgate.cli.demo.eavesdrop import PAYLOAD, TOPIC, speak
from lockgate.provision.folder import KEY_FILE, PASSWORD_FILE
from tests.support.capture import Capture
from tests.support.hub import RunningHub, eventually, run_lockgate

DEMO = [sys.executable, "-m", "lockgate", "demo"]


def start_demo(folder: Path, *arguments: str, **streams: int) -> subprocess.Popen[bytes]:
    """Start the demonstration in a session of its own, with its temporary files under `folder`."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "TERM": "xterm-256color"}
    return subprocess.Popen([*DEMO, *arguments], env=environment, start_new_session=True, **streams)  # type: ignore[call-overload,no-any-return]


def session_members(session: int) -> list[str]:
    """Give the processes of a session that still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(process.name)
    return found


class Watched:
    """A demonstration of ten seconds that was listened to."""

    def __init__(self, folder: Path) -> None:
        with Capture(folder / "demo.pcap") as capture:
            process = start_demo(folder / "tmp", "--for", "10", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            (impostor,) = eventually(lambda: list((folder / "tmp").glob("*/impostor")) or None, 10.0, "the devices")
            sensor = eventually(lambda: next((folder / "tmp").glob("*/sensor"), None), 10.0, "the sensor")
            self.password = (impostor / PASSWORD_FILE).read_bytes()
            self.key_line = (sensor / KEY_FILE).read_bytes().split(b"\n")[2]
            token = run_lockgate("device", "token", str(sensor)).stdout
            self.token_head = token.split(".")[0].encode()  # the same in every token of this device
            output, errors = process.communicate(timeout=40)
        self.code, self.lines, self.errors = process.returncode, output.decode().splitlines(), errors.decode()
        self.leftovers = session_members(process.pid), list((folder / "tmp").iterdir())
        (port,) = set(re.findall(r"port (\d+)", "\n".join(self.lines[:2])))
        self.captured = capture.packets_of(int(port))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("watched"))


@pytest.mark.requirement("Q3")
def test_without_a_terminal_it_prints_plain_lines_and_ends_by_itself(watched: Watched) -> None:
    assert watched.code == 0, watched.errors
    assert watched.errors == ""
    text = "\n".join(watched.lines)
    assert "\x1b" not in text, "no colours, no tables"
    assert re.search(r"device +sensor proved who it is by JWT, ES256; TLSv1\.3, TLS_", text)
    assert re.search(r"device +office proved who it is by X\.509 certificate; TLSv1\.3, TLS_", text)
    assert re.search(r"message +sensor -> office +Office/Meetingroom/Temperature: \d", text)
    assert re.search(r"message +office -> sensor +Office/Meetingroom/Command: \w", text)
    assert re.search(r"refused +eavesdropper .*: no credentials", text)
    assert re.search(r"refused +impostor .*: client id belongs to another device", text)
    assert re.search(r"refused +lamp .*: not authorized: no rule allows it", text)
    assert "NOT REFUSED" not in text
    assert "trouble" not in text


def test_nothing_is_left_of_it(watched: Watched) -> None:
    assert watched.leftovers == ([], [])


@pytest.mark.requirement("F1")
def test_a_capture_of_it_holds_no_secret_and_no_message(watched: Watched) -> None:
    assert len(watched.captured) > 10_000
    assert b"localhost" in watched.captured, "the capture sees the handshakes: the name asked for is in the clear"
    words = (b"Office/", b"Meetingroom", b"Temperature", b"open the window", b"thank you", b"impostor", b"eyJ0")
    secrets = (watched.password, watched.key_line, watched.token_head)
    assert [word for word in (*words, *secrets) if word in watched.captured] == []


def test_a_capture_of_the_same_on_the_lab_port_holds_everything(tmp_path: Path) -> None:
    with RunningHub(tmp_path / "hub", lab=True) as hub, Capture(tmp_path / "lab.pcap") as capture:
        password = (hub.add_device("sensor", "password") / PASSWORD_FILE).read_text()
        token = hub.token(hub.add_device("meter", "jwt-es256"))
        speak(hub.lab_port, None, "sensor", password)
        speak(hub.lab_port, None, "meter", token)
        port = hub.lab_port
    captured = capture.packets_of(port)
    assert [word for word in (password, token, TOPIC, PAYLOAD) if word.encode() not in captured] == []


def test_sigterm_ends_it_cleanly_and_leaves_nothing(tmp_path: Path) -> None:
    process = start_demo(tmp_path / "tmp", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    while b"message" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # an impatient hand does not disturb the tidying up
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")
    assert session_members(process.pid) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_sigterm_while_it_sets_up_leaves_nothing(tmp_path: Path) -> None:
    process = start_demo(tmp_path / "tmp", "--for", "10", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    eventually(lambda: list((tmp_path / "tmp").glob("*")) or None, 10.0, "the temporary home")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")
    assert session_members(process.pid) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_on_a_terminal_it_draws_tables(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 160, 0, 0))
    process = start_demo(tmp_path / "tmp", "--for", "5s", stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    drawn = b""
    while True:
        try:
            chunk = os.read(master, 65_536)
        except OSError:  # the other end is closed: it is over
            break
        if not chunk:
            break
        drawn += chunk
    os.close(master)
    assert process.wait(10) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
    assert b"\x1b[" in drawn, "it is redrawn in place, in colours"
    last = text[text.rindex("╭─ lockgate: the hub") :]
    for part in ("╭─ devices", "╭─ messages, through the hub", "╭─ refused", "proved who it is by"):
        assert part in last
    for fact in ("MQTT on port", "TLSv1.3", "X.509 certificate", "Office/Meetingroom/Temperature"):
        assert fact in last
    for who in ("sensor", "office", "eavesdropper", "impostor", "lamp"):
        assert who in last


@pytest.mark.requirement("F1", "Q3", "I1")
def test_eavesdrop_reads_everything_on_the_lab_port_and_nothing_on_the_tls_port(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    process = start_demo(tmp_path / "tmp", "eavesdrop", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")
    for what in ("password", "token", "topic", "payload"):
        assert re.search(rf"^{what} +yes +no *$", output.decode(), re.MULTILINE), output.decode()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert session_members(process.pid) == []
