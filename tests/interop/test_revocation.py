"""Revoked to silence, at a real hub: whatever a device holds open or left behind ends, and nobody else's does."""

from __future__ import annotations

import io
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Connack, Connect, Packet, ReasonCode
from lockgate.home import Home
from tests.support.fleet import Fleet, enlist
from tests.support.hub import RunningHub, eventually
from tests.support.paho_peer import PahoPeer
from tests.support.peers import program

NOTICE_SECONDS = 5.0
DAY = 86_400
LET_IN = bytes.fromhex("2104002200202700100000")
"""What only a CONNACK that lets in holds: receive maximum, topic alias maximum, maximum packet size."""
REFUSED, ENDED, EXPIRED = ReasonCode.NOT_AUTHORIZED, ReasonCode.ADMINISTRATIVE_ACTION, ReasonCode.MAXIMUM_CONNECT_TIME


def revoked(hub: RunningHub, *words: str) -> list[dict[str, Any]]:
    """Run `lockgate revoke ... --report --json`; give the reports."""
    return msgspec.json.decode(hub.lockgate("revoke", *words, "--report", "--json").stdout, type=list[dict[str, Any]])


def test_a_report_of_a_running_hub_counts_what_was_there_and_what_is_left(hub: RunningHub) -> None:
    folder = hub.add_device("counted", "x509")
    peer = PahoPeer(folder, hub.port, expiry=DAY, will=("devices/counted/will", "gone"))
    absent = PahoPeer(folder, hub.port, suffix="absent", expiry=DAY)
    peer.gives_up = True
    with absent:
        absent.subscribe("devices/counted/#", 1)
    peer.connect()
    peer.subscribe("devices/counted/#", 1)
    for number in range(3):
        assert peer.publish(f"devices/counted/{number}", "x", 1, retain=True) == 0
    (report,) = revoked(hub, "counted", "--reason", "stolen from the yard")
    assert peer.wait_for_end(NOTICE_SECONDS)[0] == ENDED
    found = report["found"]
    assert (found["connections"], found["sessions"], found["subscriptions"], found["wills"]) == (1, 2, 2, 1)
    assert (found["queued"] >= 3, found["retained"]) == (True, 3)
    assert report["ended"] == found
    assert set(report["remaining"].values()) == set(report["stored"]["traces"].values()) == {0}
    assert (report["is_silent"], report["rights"]["credentials"], report["rights"]["certificates"]) == (True, 0, 0)
    assert report["silence_ms"] > 0
    trail = hub.lockgate("audit", "export").stdout
    assert "stolen from the yard" in trail
    with PahoPeer(hub.add_device("heir", "x509", "--receive", "devices/counted/#"), hub.port) as heir:
        heir.subscribe("devices/counted/#", 1)
        heir.subscribe("devices/heir/#", 1)
        heir.publish("devices/heir/x", "the end")
        heir.wait_for(1)
    assert heir.payloads() == [b"the end"], "neither will nor retained message"


def test_retained_messages_stay_when_the_command_says_so_and_after_a_restart(tmp_path: Path) -> None:
    with RunningHub(tmp_path) as hub:
        folder = hub.add_device("poet", "x509")
        with PahoPeer(folder, hub.port) as poet:
            poet.publish("devices/poet/words", "kept", 1, retain=True)
        (report,) = revoked(hub, "poet", "--retained", "keep")
        assert (report["keeps_retained"], report["is_silent"], report["remaining"]["retained"]) == (True, True, 1)
        hub.restart()
        reader = hub.add_device("reader", "x509", "--receive", "devices/poet/#")
        with PahoPeer(reader, hub.port) as ear:
            ear.subscribe("devices/poet/#", 1)
            ear.wait_for(1)
        assert ear.payloads() == [b"kept"]


def test_only_the_sessions_of_the_revoked_credential_end(hub: RunningHub) -> None:
    old = hub.add_device("rotating", "x509")
    new = hub.folder / "device-rotating-new"
    hub.lockgate("device", "rotate", "rotating", "--out", str(new), "--hub", "localhost")
    first, second = PahoPeer(old, hub.port), PahoPeer(new, hub.port, suffix="new")
    for peer in (first, second):
        peer.gives_up = True
        assert peer.connect()[0] == 0
    listed = hub.lockgate("credential", "list", "rotating", "--json").stdout
    numbers = sorted(each["id"] for each in msgspec.json.decode(listed, type=list[dict[str, Any]]))
    (report,) = revoked(hub, "--credential", str(numbers[0]))
    assert first.wait_for_end(NOTICE_SECONDS)[0] == ENDED
    assert (report["found"]["connections"], report["remaining"]["connections"]) == (2, 1)
    assert report["rights"]["credentials"] == 1
    assert second.publish("devices/rotating/x", "still here") in (0, 0x10)
    assert not second.ends
    second.close()


def test_a_group_is_revoked_at_once_and_nobody_else(hub: RunningHub, tmp_path: Path) -> None:
    names = [f"pack-{number}" for number in range(5)]
    passes = enlist(Home.open(hub.home), tmp_path, [*names, "loner"], dict.fromkeys(names, ("pack",)))
    with Fleet(hub.port, hub.ca_path, passes) as fleet:
        assert {answer and answer.code for answer in fleet.connect().values()} == {0}
        reports = revoked(hub, "--group", "pack")
        assert [(each["device"], each["is_silent"]) for each in reports] == [(name, True) for name in names]
        eventually(lambda: all(fleet.members[name].closed_at for name in names), NOTICE_SECONDS, "the end of all")
        assert {goodbye and goodbye.code for goodbye in (fleet.members[name].goodbye for name in names)} == {ENDED}
        assert fleet.are_alive(["loner"]) == ["loner"]
        again = fleet.connect(names)  # TLS refuses them already, once the revocation list is in force
        assert {answer and answer.code for answer in again.values()} <= {REFUSED, None}


@pytest.mark.parametrize("act", ["revoke", "device block"])
def test_nobody_speaks_or_hears_for_a_device_that_is_shut_out(hub: RunningHub, act: str) -> None:
    name = f"valve-{act.split()[-1]}"
    gateway = f"gateway-of-{name}"
    hub.add_device(name, "x509")
    folder = hub.add_device(gateway, "x509")
    hub.lockgate("gateway", "bind", gateway, name)
    source = hub.add_device(f"master-of-{name}", "x509", "--publish", f"devices/{name}/#")
    with PahoPeer(folder, hub.port) as speaker, PahoPeer(source, hub.port) as master:
        speaker.gives_up = True
        eventually(lambda: speaker.publish(f"devices/{name}/state", "open") != REFUSED, NOTICE_SECONDS, "the right")
        assert speaker.subscribe(f"devices/{name}/set", 1) == 1
        assert speaker.subscribe(f"devices/{gateway}/#", 1) == 1
        master.publish(f"devices/{name}/set", "shut")
        speaker.wait_for(1)
        hub.lockgate(*act.split(), name)
        eventually(lambda: speaker.publish(f"devices/{name}/state", "open") == REFUSED, NOTICE_SECONDS, "the refusal")
        master.publish(f"devices/{name}/set", "unheard")
        speaker.publish(f"devices/{gateway}/x", "mine")
        speaker.wait_for(2)
        assert speaker.payloads() == [b"shut", b"mine"]
        assert not speaker.ends, "the gateway itself is as good as before"


# TLS


@pytest.mark.requirement("T13")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_the_ticket_of_a_revoked_device_resumes_nothing(hub: RunningHub, tmp_path: Path, version: str) -> None:
    name = f"thief{version}"
    (pem,) = enlist(Home.open(hub.home), tmp_path, [name]).values()
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{hub.port}", "-servername", "localhost", version]
    command += ["-CAfile", str(hub.ca_path), "-cert", str(pem), "-key", str(pem), "-cert_chain", str(pem), "-ign_eof"]

    def speak(*options: str) -> bytes:
        """Connect and ask to be let in; give what came until the CONNACK, or until the hub closed the connection."""
        heard = b""
        with subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            assert client.stdin
            assert isinstance(client.stdout, io.BufferedReader)
            client.stdin.write(wire.encode(Connect(V5, name), V5))
            client.stdin.flush()
            while LET_IN not in heard and (part := client.stdout.read1(65_536)):
                heard += part
            client.kill()
        return heard

    ticket = str(tmp_path / "ticket")
    assert LET_IN in speak("-sess_out", ticket)
    resumed = speak("-sess_in", ticket)
    assert b"Reused, TLSv1" in resumed
    assert LET_IN in resumed, "as long as the device is good, so is its ticket"
    hub.lockgate("revoke", name, "--report")
    assert LET_IN not in speak("-sess_in", ticket)
    refusal = hub.wait_for_refusal("certificate revoked", device=name)
    assert refusal["step"] == "tls"


class Half:
    """A TLS client whose handshake waits for the test; TLS 1.3, where the client has the last word of it."""

    def __init__(self, hub: RunningHub, pem: Path) -> None:
        context = ssl.create_default_context(cafile=str(hub.ca_path))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(pem)
        self.socket = socket.create_connection(("127.0.0.1", hub.port), timeout=NOTICE_SECONDS)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._begin()

    def _begin(self) -> None:
        """Say hello, and take the hub's answer; the last word stays unsent."""
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self.socket.sendall(self._outgoing.read())
        while True:
            self._incoming.write(self.socket.recv(65_536))
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            return

    def finish(self) -> None:
        """Say the last word of the handshake."""
        self.socket.sendall(self._outgoing.read())

    def send(self, packet: Packet) -> None:
        """Send one packet of MQTT."""
        self._tls.write(wire.encode(packet, V5))
        self.socket.sendall(self._outgoing.read())

    def receive(self) -> bytes:
        """Give all that comes until the hub closes the connection."""
        heard = b""
        while data := self.socket.recv(65_536):
            self._incoming.write(data)
            while True:
                try:
                    part = self._tls.read(65_536)
                except ssl.SSLWantReadError:
                    break
                except ssl.SSLError:
                    return heard
                if not part:
                    return heard
                heard += part
        return heard


def test_who_is_in_the_middle_of_the_handshake_is_not_let_in(hub: RunningHub, tmp_path: Path) -> None:
    (pem,) = enlist(Home.open(hub.home), tmp_path, ["midway"]).values()
    half = Half(hub, pem)
    hub.lockgate("revoke", "midway", "--report")
    half.finish()
    half.send(Connect(V5, "midway"))
    packet, _ = wire.decode(half.receive(), 0, V5, 65_536) or (None, 0)
    assert isinstance(packet, Connack)
    assert packet.code == REFUSED
    half.socket.close()


def test_who_is_through_the_handshake_and_has_said_nothing_is_closed(hub: RunningHub, tmp_path: Path) -> None:
    mine, others = (enlist(Home.open(hub.home), tmp_path, [name])[name] for name in ("quiet", "other"))
    quiet, other = Half(hub, mine), Half(hub, others)
    for half in (quiet, other):
        half.finish()
    time.sleep(0.2)  # the hub has seen the last word
    (report,) = revoked(hub, "quiet")
    assert report["found"]["connections"] == report["ended"]["connections"] == 1
    assert quiet.receive() == b""
    other.send(Connect(V5, "other"))
    other.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        other.receive()
    for half in (quiet, other):
        half.socket.close()


# Expiry


@pytest.mark.requirement("Q17")
def test_a_session_ends_when_its_certificate_does_and_what_waits_for_it_stays(hub: RunningHub, tmp_path: Path) -> None:
    passes = enlist(Home.open(hub.home), tmp_path, ["mayfly"], life_seconds=6.0)
    ends_at = time.monotonic() + 5.5
    with Fleet(hub.port, hub.ca_path, passes, expiry_seconds=DAY) as fleet:
        answer = fleet.connect()["mayfly"]
        assert answer is not None
        assert answer.code == 0
        member = fleet.members["mayfly"]
        eventually(lambda: member.closed_at, 6.0 + NOTICE_SECONDS, "the end of the session")
        assert member.goodbye is not None
        assert member.goodbye.code == EXPIRED
        assert member.closed_at is not None
        assert member.closed_at > ends_at - 1.5, "the certificate's end is a whole second"
    listed = revoked(hub, "mayfly")
    assert listed[0]["found"]["sessions"] == 1
