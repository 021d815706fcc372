"""The bench's load generator counts what it should: each of its tasks runs against Debian's mosquitto."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.generator import LOAD_SOURCE
from tests.support.certificates import Authority, pem
from tests.support.hub import eventually
from tests.support.peers import program

pytestmark = pytest.mark.process

CLIENTS = 6


class Mosquitto:
    """A mosquitto with three doors: for everybody, for those with a password, and over mutual TLS."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        self.folder = folder
        self.plain, self.guarded, self.tls = _free_ports(3)
        (folder / "ca.pem").write_bytes(pem(authority.certificate))
        server = authority.issue("localhost", purpose="server", names=["localhost"]).write(folder, "server")
        for number in range(CLIENTS):
            authority.issue(f"client-{number}").write(folder, f"client-{number}")
        passwords = folder / "passwords"
        passwords.touch(mode=0o600)
        for number in range(2):
            user, secret = f"user-{number}", f"secret-{number}"
            subprocess.run([program("mosquitto_passwd"), "-b", passwords, user, secret], check=True)
        settings = [
            "user root",
            "per_listener_settings true",
            "max_queued_messages 0",
            f"listener {self.plain} 127.0.0.1",
            "allow_anonymous true",
            f"listener {self.guarded} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            f"listener {self.tls} 127.0.0.1",
            f"cafile {folder / 'ca.pem'}",
            f"certfile {server[0]}",
            f"keyfile {server[1]}",
            "require_certificate true",
            "use_identity_as_username true",
        ]
        (folder / "mosquitto.conf").write_text("\n".join(settings) + "\n")
        self.process = subprocess.Popen([program("mosquitto"), "-c", folder / "mosquitto.conf"])
        eventually(lambda: all(_is_open(port) for port in (self.plain, self.guarded, self.tls)) or None, 10.0)

    def over_tls(self) -> list[str]:
        cert, key = self.folder / "client-%i.pem", self.folder / "client-%i.key.pem"
        files = ["--cafile", str(self.folder / "ca.pem"), "--cert", str(cert), "--key", str(key)]
        return ["--port", str(self.tls), "--tls", "13", "--server-name", "localhost", *files]


def _free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    running = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield running
    running.process.terminate()
    running.process.wait()


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("load") / "load"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", made, LOAD_SOURCE, "-lssl", "-lcrypto"], check=True
    )
    return made


def run(load: Path, *words: object) -> dict[str, Any]:
    """Give the result of one run, which must end well; every result says what every task says."""
    done = subprocess.run([load, *map(str, words)], input="\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (result["lost"], result["duplicates"]) == (0, 0)
    assert {"cpu_seconds", "cpu_share", "saturated", "elapsed_seconds", "connect_seconds"} <= result.keys()
    return result


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_flow_delivers_every_message_once(load: Path, broker: Mosquitto, qos: int, protocol: int) -> None:
    words = ("--qos", qos, "--protocol", protocol, "--in-flight", 10, "--messages", 300, "--subscribers", 2)
    result = run(load, "--port", broker.plain, *words)
    assert (result["published"], result["delivered"]) == (300, 600)
    assert result["acked"] == (300 if qos else 0)


@pytest.mark.parametrize("qos", [1, 2])
def test_a_window_that_is_refilled_in_parts_delivers_every_message(load: Path, broker: Mosquitto, qos: int) -> None:
    words = ("--qos", qos, "--publishers", 3, "--in-flight", 10, "--refill", 5, "--messages", 301, "--warm-up", 7)
    result = run(load, "--port", broker.plain, *words)
    assert (result["published"], result["delivered"], result["acked"]) == (301, 301, 301)


def test_a_flood_is_held_to_what_it_may_send_at_most(load: Path, broker: Mosquitto) -> None:
    words = ("--publishers", 5, "--at-most", 2000, "--seconds", 0.3)
    result = run(load, "--port", broker.plain, *words)
    assert 0 < result["published"] <= 600


def test_the_same_connections_publish_again_when_told(load: Path, broker: Mosquitto) -> None:
    command = [str(load), "--port", str(broker.plain), "--subscribers", "3", "--messages", "10", "--steps"]
    done = subprocess.run(command, input="go\nagain 7\nend\n", capture_output=True, text=True, timeout=60, check=True)
    warm, first, again = done.stdout.splitlines()
    assert (warm, json.loads(first)["delivered"], json.loads(again)["delivered"]) == ("warm", 30, 21)


def test_many_publishers_reach_one_wildcard_filter(load: Path, broker: Mosquitto) -> None:
    words = ("--publishers", 50, "--topic", "bench/%i/load", "--filter", "bench/+/load", "--messages", 500)
    assert run(load, "--port", broker.plain, *words)["delivered"] == 500


def test_in_pairs_each_subscriber_hears_its_own_publisher(load: Path, broker: Mosquitto) -> None:
    words = ("--publishers", 5, "--subscribers", 5, "--topic", "bench/%i", "--messages", 500)
    assert run(load, "--port", broker.plain, *words)["delivered"] == 500


def test_at_a_rate_each_message_has_its_latency(load: Path, broker: Mosquitto) -> None:
    words = ("--publishers", 5, "--rate", 1000, "--seconds", 0.2, "--warm-up", 10)
    result = run(load, "--port", broker.plain, *words)
    assert result["published"] == result["latency_microseconds"]["count"] == result["lag_microseconds"]["count"] == 200
    assert result["latency_microseconds"]["p50"] <= result["latency_microseconds"]["max"]


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_persistent_session_is_gone_afterwards(load: Path, broker: Mosquitto, protocol: int) -> None:
    words = ("--qos", 1, "--session", "persistent", "--protocol", protocol, "--publishers", 3, "--messages", 300)
    for _ in range(2):  # the second would find a session that the first left
        result = run(load, "--port", broker.plain, *words)
        assert (result["session"], result["delivered"]) == ("persistent", 300)


def test_each_client_has_its_own_line_of_the_password_file(load: Path, broker: Mosquitto, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text("secret-0\nsecret-1\n")
    words = ("--port", broker.guarded, "--user", "user-%i", "--messages", 10)
    assert run(load, *words, "--password-file", secrets)["delivered"] == 10
    assert run(load, *words, "--password", "secret-%i")["delivered"] == 10
    secrets.write_text("secret-1\nsecret-0\n")
    refused = _fails(load, *words, "--password-file", secrets)
    assert "refused with CONNACK code" in refused
    secrets.write_text("secret-0\n")
    assert "1 lines for 2 connections" in _fails(load, *words, "--password-file", secrets)


def test_handshakes_are_counted_and_resumed_when_asked(load: Path, broker: Mosquitto) -> None:
    words = ("--do", "handshakes", "--count", 20, "--at-once", 3)
    plain = run(load, "--port", broker.plain, *words)
    assert (plain["completed"], plain["connack_microseconds"]["count"], plain["tls"]) == (20, 20, "")
    full = run(load, *broker.over_tls(), *words, "--clients", CLIENTS)
    assert (full["completed"], full["resumed"], full["tls"]) == (20, 0, "TLSv1.3")
    again = run(load, *broker.over_tls(), *words, "--clients", CLIENTS, "--resume", "--rate", 500)
    assert (again["completed"], again["resumed"]) == (20, 20)
    older = run(load, *broker.over_tls(), *words, "--resume", "--tls", 12)
    assert (older["resumed"], older["tls"]) == (20, "TLSv1.2")


def test_idle_connections_are_all_there_when_it_says_so(load: Path, broker: Mosquitto) -> None:
    command = [str(load), *broker.over_tls(), "--do", "idle", "--count", str(CLIENTS), "--steps"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for said in ("warm", "idle"):
            assert process.stdout.readline() == f"{said}\n"
            process.stdin.write("go\n")
            process.stdin.flush()
        assert json.loads(process.stdout.readline())["connections"] == CLIENTS
        process.communicate("end\n")
    assert process.returncode == 0


def test_a_subscribe_storm_tells_quiet_from_storm(load: Path, broker: Mosquitto) -> None:
    words = ("--do", "storm-subscribe", "--count", 20, "--filters", 4, "--rate", 1000, "--seconds", 0.2)
    result = run(load, "--port", broker.plain, *words, "--at-once", 10, "--storm-rate", 200)
    assert result["subacks"] == 80
    assert result["quiet_microseconds"]["count"] >= 200
    assert result["quiet_microseconds"]["count"] + result["storm_microseconds"]["count"] == result["published"]


@pytest.mark.parametrize("how", [(), ("--fin", "--resume"), ("--filters", "2")])
def test_after_a_reconnect_storm_everyone_is_back(load: Path, broker: Mosquitto, how: tuple[str, ...]) -> None:
    words = ("--do", "storm-reconnect", "--count", CLIENTS - 2, "--rate", 500, "--seconds", 0.2, "--warm-up", 10)
    result = run(load, *broker.over_tls(), *words, *how)
    assert result["per_second"] > 0
    assert result["failed_attempts"] == 0
    assert result["resumed"] == (CLIENTS - 2 if "--resume" in how else 0)
    assert result["subacks"] == (2 * (CLIENTS - 2) if "--filters" in how else 0)


def test_a_broker_that_is_not_there_is_an_error_in_words(load: Path) -> None:
    (port,) = _free_ports(1)
    assert "Connection refused" in _fails(load, "--port", port, "--messages", 1)


def test_a_message_that_is_lost_or_comes_twice_is_counted(load: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        careless = threading.Thread(target=_lose_the_third_and_double_the_fifth, args=(server,))
        careless.start()
        words = ("--messages", 10, "--warm-up", 0, "--stall-seconds", 0.2, "--at-once", 1)
        done = subprocess.run(
            [load, "--port", str(server.getsockname()[1]), *map(str, words)],
            capture_output=True,
            timeout=60,
            check=True,
        )
        careless.join()
    result = json.loads(done.stdout)
    assert (result["published"], result["delivered"], result["lost"], result["duplicates"]) == (10, 9, 1, 1)


def _fails(load: Path, *words: object) -> str:
    done = subprocess.run([load, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def _lose_the_third_and_double_the_fifth(server: socket.socket) -> None:
    """Serve one subscriber, then one publisher, with a broker that is not careful."""
    hearing = server.accept()[0]
    _packet(hearing)
    hearing.sendall(bytes((0x20, 2, 0, 0)))
    identifier = _packet(hearing)[1][:2]
    hearing.sendall(bytes((0x90, 3, *identifier, 0)))
    publisher = server.accept()[0]
    _packet(publisher)
    publisher.sendall(bytes((0x20, 2, 0, 0)))
    for number in range(1, 11):
        first, body = _packet(publisher)
        times = {3: 0, 5: 2}.get(number, 1)
        hearing.sendall((bytes((first, len(body))) + body) * times)
    for each in (publisher, hearing):
        while each.recv(64):
            pass
        each.close()


def _packet(stream: socket.socket) -> tuple[int, bytes]:
    """Read one packet of at most 127 bytes: its first byte and its body."""
    first, length = stream.recv(2, socket.MSG_WAITALL)
    return first, stream.recv(length, socket.MSG_WAITALL)
