"""`lockgate up` as an operator meets it: what it says, what it refuses, how it ends, and what it bears."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import Connect, Suback, Subscribe, SubscriptionRequest
from lockgate.client.options import tls_context
from lockgate.home import RunFacts
from lockgate.model.topic import TopicFilter
from lockgate.net.addresses import machine_addresses
from lockgate.provision.folder import read_folder
from tests.support.hub import RunningHub, eventually, run_lockgate
from tests.support.paho_peer import PahoPeer
from tests.support.raw_peer import RawPeer

SHUTTING_DOWN = 0x8B


def up(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Run `lockgate up` as a person does."""
    command = [sys.executable, "-m", "lockgate", "up", "--home", str(home), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def refused_up(home: Path, *arguments: str) -> str:
    """Run `lockgate up` where it must refuse; give what it said: one sentence, perhaps a fix, and exit code 1."""
    process = up(home, *arguments)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 1, errors
    assert output == ""
    said = [line for line in errors.splitlines() if not line.startswith("{")]
    assert said[0].startswith("error: "), errors
    assert len(said) <= 2, errors
    assert "Traceback" not in errors
    return said[0]


def listening_ports(pid: int) -> set[int]:
    """Give the TCP ports on which a process listens."""
    inodes = {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for fields in map(str.split, Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]):
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def resident_bytes(pid: int) -> int:
    """Give how much memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that no hub has used."""
    home = tmp_path_factory.mktemp("pristine") / "home"
    run_lockgate("init", "--home", str(home), "--port", "0", "--name", "localhost")
    return home


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Path:
    """A fresh copy of it."""
    return Path(shutil.copytree(pristine, tmp_path / "home"))


# What it says


def test_it_prints_each_door_and_keeps_doors_json_while_it_runs(home: Path) -> None:
    process = up(home)
    assert process.stdout is not None
    eventually((home / "run" / "doors.json").exists, 10.0, "doors.json")
    facts = msgspec.json.decode((home / "run" / "doors.json").read_bytes(), type=RunFacts)
    assert facts.pid == process.pid
    assert {door.protection for door in facts.doors} <= {"tls", "dtls"}
    assert (home / "run" / "doors.json").stat().st_mode & 0o777 == 0o600
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors
    lines = output.splitlines()
    for door in facts.doors:
        shown = f"[{door.address}]:{door.port}" if ":" in door.address else f"{door.address}:{door.port}"
        how = "DTLS 1.2" if door.protection == "dtls" else "TLS 1.2 and 1.3"
        assert any(line.startswith("open") and shown in line and how in line for line in lines), output
    assert any("the certificate is for: localhost" in line for line in lines)
    assert not (home / "run" / "doors.json").exists()


@pytest.mark.requirement("F2")
def test_no_door_is_in_plaintext_unless_asked_for(hub: RunningHub) -> None:
    assert {door.protection for door in hub.doors} <= {"tls", "dtls"}
    assert listening_ports(hub.pid) == {hub.port, hub.websocket_port}
    with socket.create_connection(("127.0.0.1", hub.port), 5) as plain:
        plain.sendall(wire.encode(Connect(4, "plain"), 4))
        answer = plain.recv(100)
    assert not answer.startswith(b"\x20"), "no CONNACK"


@pytest.mark.requirement("F2", "F3")
def test_the_lab_door_is_on_loopback_alone_and_says_so_loudly(home: Path) -> None:
    process = up(home, "--lab-port", "0")
    eventually((home / "run" / "doors.json").exists, 10.0, "doors.json")
    facts = msgspec.json.decode((home / "run" / "doors.json").read_bytes(), type=RunFacts)
    lab = [door for door in facts.doors if door.protection == "none"]
    assert {door.address for door in lab} <= {"127.0.0.1", "::1"}
    port = lab[0].port
    socket.create_connection(("127.0.0.1", port), 5).close()
    for address in machine_addresses().reachable:
        with pytest.raises(OSError):
            socket.create_connection((address, port), 5)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert f"127.0.0.1:{port}: NO ENCRYPTION, NO IDENTITY, for experiments on this machine only" in output
    warned = [line for line in errors.splitlines() if '"lab.door_opened"' in line or "lab_door" in line]
    assert warned, errors
    assert '"level":"warning"' in warned[0]


# What it refuses


@pytest.mark.requirement("F6")
def test_a_taken_port_is_named_with_its_owner(home: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        settings = home / "lockgate.toml"
        settings.write_text(settings.read_text().replace("port = 0", f"port = {port}"))
        said = refused_up(home)
    assert f"port {port} is taken by " in said
    assert f"(process {os.getpid()})" in said
    assert not (home / "run" / "doors.json").exists()


def test_a_second_hub_on_one_home_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with RunningHub(tmp_path) as hub:
        assert f"a hub (process {hub.pid}) runs on {hub.home} already" in refused_up(hub.home)
        assert (hub.home / "run" / "doors.json").exists()
        with PahoPeer(hub.add_device("sensor", "jwt-es256"), hub.port) as peer:
            assert peer.publish("devices/sensor/x", "still served") == 0x10


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no registry": (lambda home: (home / "registry.db").unlink(), "registry.db is missing"),
    "registry is text": (lambda home: (home / "registry.db").write_text("garbage"), "registry.db is damaged"),
    "registry is cut": (lambda home: os.truncate(home / "registry.db", 5000), "registry.db is damaged"),
    "registry is empty": (lambda home: os.truncate(home / "registry.db", 0), "registry.db is not a registry database"),
    "messages overwritten": (lambda home: overwrite(home / "messages.db", 8192, b"x" * 9000), "messages.db is damaged"),
    "messages swapped": (
        lambda home: shutil.copy(home / "registry.db", home / "messages.db"),
        "messages.db is not a messages database",
    ),
    "no key": (lambda home: (home / "server.key").unlink(), "server.key cannot be read"),
    "another key": (
        lambda home: shutil.copy(home / "ca" / "issuing.key", home / "server.key"),
        "server.key does not belong to the server certificate",
    ),
    "key is text": (lambda home: (home / "server.key").write_text("x"), "server.key is no unencrypted PEM key"),
    "no certificate": (lambda home: (home / "server.crt").unlink(), "server.crt"),
    "certificate is text": (lambda home: (home / "server.crt").write_text("x"), "server.crt"),
    "no CA": (lambda home: (home / "ca" / "bundle.crt").unlink(), "bundle.crt cannot be read"),
    "home is open": (lambda home: home.chmod(0o755), "can be read by other users"),
    "key is open": (lambda home: (home / "server.key").chmod(0o640), "server.key can be read by other users"),
    "no home": (shutil.rmtree, "there is no home at"),
    "misspelt setting": (
        lambda home: (home / "lockgate.toml").write_text("[mqtt]\nprot = 1\n"),
        "unknown setting mqtt.prot",
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_damaged_is_refused_in_one_sentence(home: Path, what: str) -> None:
    damage, expected = DAMAGES[what]
    damage(home)
    said = refused_up(home)
    assert expected in said
    assert str(home) in said


# How it ends


def test_sigterm_tells_every_client_and_ends_with_0(tmp_path: Path) -> None:
    with RunningHub(tmp_path) as hub:
        folder = hub.add_device("sensor", "jwt-es256")
        peers = [PahoPeer(folder, hub.port, suffix=str(n), version=5 if n else 4) for n in range(4)]
        for peer in peers:
            peer.gives_up = True
            peer.connect()
        assert hub.stop() == 0
        for peer in peers[1:]:
            code, text = peer.wait_for_end()
            assert (code, text.partition(" (reference ")[0]) == (SHUTTING_DOWN, "server shutting down")
        peers[0].wait_for_end()
        assert hub.events("hub.stopped")


def test_with_until_eof_it_ends_with_its_standard_input(tmp_path: Path) -> None:
    hub = RunningHub(tmp_path)
    hub.start()
    assert hub.process is not None
    assert hub.process.stdin is not None
    hub.process.stdin.close()
    assert hub.process.wait(10) == 0
    assert not (hub.home / "run" / "doors.json").exists()
    hub.process.stdout.close()  # type: ignore[union-attr]
    hub.process = None


# What it bears


def test_clients_that_take_their_time_before_connect_are_cut(tmp_path: Path) -> None:
    # Long enough for whoever does not dawdle, also on a machine that is busy.
    settings = "connect_deadline_seconds = 3\n[net]\nhandshake_deadline_seconds = 3\n"
    with RunningHub(tmp_path, lab=True, settings=settings) as hub:
        folder = hub.add_device("slow", "jwt-es256")
        context = tls_context(folder, read_folder(folder))
        hello = wire.encode(Connect(5, "slow"), 5)
        silent = socket.create_connection(("localhost", hub.port))
        dribbling = socket.create_connection(("localhost", hub.port))
        dribbling.sendall(b"\x16")  # the first byte of a handshake, and then nothing
        secured = context.wrap_socket(socket.create_connection(("localhost", hub.port)), server_hostname="localhost")
        secured.sendall(hello[:1])
        plain = socket.create_connection(("127.0.0.1", hub.lab_port))
        plain.sendall(hello[:1])
        for each in (silent, dribbling, secured, plain):
            each.settimeout(20)
            while True:
                try:
                    if not each.recv(4096):
                        break
                except ConnectionResetError:
                    break
            each.close()
        hub.wait_for_refusal("no CONNECT in time")
        with PahoPeer(folder, hub.port) as peer:
            assert peer.publish("devices/slow/x", "in time") == 0x10


def dropped_of(hub: RunningHub, client_id: str) -> int:
    """Give how many messages the log says were dropped on the way to a client."""
    dropped = [each for each in hub.events("message.dropped") if each["client_id"] == client_id]
    return sum(int(each.get("count", 0)) for each in dropped)


def test_a_subscriber_that_does_not_read_stops_nobody_and_costs_a_bounded_amount(tmp_path: Path) -> None:
    settings = "[hub]\nmax_queued_messages = 500\nmax_queued_bytes = 4_000_000\n"
    payload, count = os.urandom(100_000), 600
    with RunningHub(tmp_path, settings=settings) as hub:
        source = PahoPeer(hub.add_device("source", "x509", "--publish", "flood/#"), hub.port)
        source.connect()
        reader = PahoPeer(hub.add_device("reader", "x509", "--receive", "flood/#"), hub.port)
        reader.connect()
        reader.subscribe("flood/#", 1)
        folder = hub.add_device("deaf", "x509", "--receive", "flood/#")
        with RawPeer(folder, hub.port) as deaf:
            deaf.send(Subscribe(1, (SubscriptionRequest(TopicFilter("flood/#"), 0),)))
            deaf.receive(Suback)
            before = resident_bytes(hub.pid)
            sent = []
            for number in range(count):
                sent.append(source.client.publish("flood/x", b"%04d" % number + payload, 1))
                reader.wait_for(number - 20)  # the reader keeps up: what its queue holds is not under test here
            reader.wait_for(count, 30.0)
            grown = resident_bytes(hub.pid) - before
            eventually(lambda: len(source.acknowledged) == count, 10.0, "the last acknowledgement")
            assert {source.acknowledged[each.mid] for each in sent} == {0}
            assert [each.payload[:4] for each in reader.heard] == [b"%04d" % number for number in range(count)]
            eventually(lambda: hub.events("message.dropped") or None, 5.0, "a word about it while it goes on")
        assert grown < 40_000_000, f"{grown} bytes after 60 MB"
        # What the buffers on the way hold was not dropped; the rest is counted.
        eventually(lambda: count // 2 < dropped_of(hub, "deaf") < count, 5.0, "the note of what was dropped")
        for peer in (source, reader):
            peer.close()
