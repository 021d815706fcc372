"""Each mode of CoAP with each client of libcoap that can do it: what an observer hears, and who listens on the wire.

What else they can do: `test_coap_crossing` and `test_coap_clients`; npm's client: `test_coapjs`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lockgate.model.device import CredentialKind
from tests.support.capture import Capture
from tests.support.coap_peers import GNUTLS, NOTLS, OPENSSL, coap, register, shown
from tests.support.hub import RunningHub
from tests.support.mosquitto import publish
from tests.support.peers import Login, Talker, login, program

pytestmark = [pytest.mark.process, pytest.mark.requirement("C1", "C2")]
LONG = "".join(f"{number:05} " for number in range(1000)).strip()
TOPIC, PAYLOAD = "meetingroom", "windows-are-open"
DTLS = [("psk", GNUTLS), ("psk", OPENSSL), ("rpk", GNUTLS), ("x509", GNUTLS), ("x509", OPENSSL)]
HANDSHAKE, APPLICATION_DATA = "22", "23"
ALL = [("nosec", NOTLS), *DTLS]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    made = RunningHub(tmp_path_factory.mktemp("modes"), coap=("nosec_enabled = true", "nosec_port = 0"))
    register(made.home, "by-nosec", CredentialKind.NOSEC, "127.0.0.1", "rooms/#")
    with made as running:
        yield running


@pytest.fixture(scope="module")
def folders(hub: RunningHub) -> dict[str, Path]:
    rights = "--publish", "rooms/#", "--receive", "rooms/#"
    return {kind: hub.add_device(f"by-{kind}", kind, *rights) for kind in ("psk", "rpk", "x509", "jwt-es256")}


@pytest.fixture
def pen(folders: dict[str, Path]) -> Login:
    """A device that speaks MQTT."""
    return login(folders["jwt-es256"])


class Way:
    """How one client comes in by one mode."""

    def __init__(self, hub: RunningHub, folders: dict[str, Path], kind: str, client: str) -> None:
        is_open = kind == "nosec"
        self.port = hub.plain_coap_port if is_open else hub.coap_port
        self._words = [] if is_open else shown(folders[kind], kind)
        self._client = client
        self._url = f"coap{'' if is_open else 's'}://127.0.0.1:{self.port}/rooms"

    def ask(self, *words: str, path: str, body: str = "") -> str:
        """Run the client once; give what it says."""
        return coap(self._client, *self._words, *words, f"{self._url}/{path}", body=body.encode() if body else None)

    def observe(self, path: str) -> Talker:
        """Let the client observe; each notification is a line."""
        line = ["-w", "-s", "60", "-m", "get", f"{self._url}/{path}"]
        return Talker([program("stdbuf"), "-oL", program(self._client), *self._words, *line])


def words_in(captured: bytes, words: Sequence[str]) -> list[str]:
    """Give those of the words that a capture shows."""
    return [word for word in words if word.encode() in captured]


def dissected(capture: Capture, port: int, protocol: str, field: str) -> set[str]:
    """Give what tshark finds in a field of what went over a port, taken as a protocol."""
    command = [program("tshark"), "-r", str(capture.path), "-d", f"udp.port=={port},{protocol}"]
    command += ["-Y", f"udp.port=={port}", "-T", "fields", "-e", field]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {each for line in done.stdout.splitlines() for each in line.split(",") if each}


@pytest.mark.parametrize(("kind", "client"), ALL)
def test_an_observer_hears_short_and_long_from_both_doors(
    hub: RunningHub, folders: dict[str, Path], pen: Login, kind: str, client: str
) -> None:
    way, path = Way(hub, folders, kind, client), f"{kind}/{client}"
    assert way.ask("-m", "put", "-e", "first", path=path) == ""
    with way.observe(path) as observer:
        at, _ = observer.wait_for(lambda line: line == "first", "the first answer")
        assert way.ask("-m", "put", "-e", "second", path=path) == ""
        at, _ = observer.wait_for(lambda line: line == "second", "a short notification", at)
        assert way.ask("-b", "512", "-m", "put", path=path, body=LONG) == ""
        at, _ = observer.wait_for(lambda line: line == LONG, "a long notification", at)
        assert publish(pen, f"rooms/{path}", "by MQTT", qos=1).returncode == 0
        at, _ = observer.wait_for(lambda line: line == "by MQTT", "a notification from the other door", at)
        assert publish(pen, f"rooms/{path}", LONG, qos=0, extra=["-r"]).returncode == 0
        observer.wait_for(lambda line: line == LONG, "a long one from the other door", at + 1)
    assert way.ask("-m", "get", path=path) == LONG


def talk(way: Way, observed: str) -> None:
    """Say a word on a topic that an observer hears, and fetch it."""
    assert way.ask("-m", "put", "-e", PAYLOAD, path=observed) == ""
    with way.observe(observed) as observer:
        at, _ = observer.wait_for(lambda line: line == PAYLOAD, "the first answer")
        assert way.ask("-b", "64", "-m", "put", path=observed, body=f"{PAYLOAD} " * 20) == ""
        observer.wait_for(lambda line: line.startswith(f"{PAYLOAD} {PAYLOAD}"), "the notification", at)


@pytest.mark.requirement("C3", "F1")
@pytest.mark.parametrize(("kind", "client"), DTLS)
def test_who_listens_on_the_wire_sees_neither_topic_nor_payload_nor_key(
    hub: RunningHub, folders: dict[str, Path], tmp_path: Path, kind: str, client: str
) -> None:
    way = Way(hub, folders, kind, client)
    with Capture(tmp_path / "dtls.pcap", "udp") as capture:
        talk(way, f"{TOPIC}/{kind}")
    captured = capture.packets_of(way.port)
    assert len(captured) > 3_000
    assert dissected(capture, way.port, "dtls", "dtls.record.content_type") >= {HANDSHAKE, APPLICATION_DATA}
    secrets = [path.read_text() for path in folders[kind].glob("psk")]
    assert words_in(captured, [TOPIC, PAYLOAD, "rooms", *secrets]) == []
    if kind == "psk":
        assert words_in(captured, ["by-psk"]) == ["by-psk"], "the identity stands in the handshake"


def test_who_listens_on_the_wire_without_dtls_sees_it_all(
    hub: RunningHub, folders: dict[str, Path], tmp_path: Path
) -> None:
    way = Way(hub, folders, "nosec", NOTLS)
    with Capture(tmp_path / "plain.pcap", "udp") as capture:
        talk(way, f"{TOPIC}/nosec")
    captured = capture.packets_of(way.port)
    assert words_in(captured, [TOPIC, PAYLOAD, "rooms"]) == [TOPIC, PAYLOAD, "rooms"]
    assert {"rooms", TOPIC, "nosec"} <= dissected(capture, way.port, "coap", "coap.opt.uri_path")
