"""One topic space behind two doors: messages, permissions and revocations cross between CoAP over DTLS and MQTT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.coap_peers import GNUTLS, OPENSSL, coap, shown
from tests.support.hub import RunningHub, eventually
from tests.support.mosquitto import Heard, Subscriber, publish
from tests.support.peers import Talker, login, program

pytestmark = pytest.mark.process
LONG = "0123456789" * 608


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with RunningHub(tmp_path_factory.mktemp("crossing"), names=("localhost", "127.0.0.1")) as running:
        yield running


@pytest.fixture
def url(hub: RunningHub) -> str:
    return f"coaps://localhost:{hub.coap_port}"


@pytest.fixture(scope="module")
def folders(hub: RunningHub) -> dict[str, Path]:
    """One device for each way to prove oneself, all of the same rights, and one that speaks MQTT."""
    rights = "--publish", "rooms/#", "--receive", "rooms/#"
    return {kind: hub.add_device(f"by-{kind}", kind, *rights) for kind in ("psk", "rpk", "x509", "jwt-es256")}


@pytest.mark.parametrize(
    ("kind", "client"), [("psk", GNUTLS), ("psk", OPENSSL), ("rpk", GNUTLS), ("x509", GNUTLS), ("x509", OPENSSL)]
)
def test_each_mode_publishes_reads_and_crosses_to_mqtt(
    folders: dict[str, Path], url: str, kind: str, client: str
) -> None:
    words, topic = shown(folders[kind], kind), f"rooms/{kind}/{client}"
    with Subscriber(login(folders["jwt-es256"]), topic, qos=1) as ear:
        assert coap(client, *words, "-m", "put", "-t", "50", "-e", "21", f"{url}/{topic}") == ""
        assert ear.next() == Heard(topic, "21", 1, False)
    assert coap(client, *words, "-m", "get", f"{url}/{topic}") == "21"
    assert coap(client, *words, "-m", "put", f"{url}/{topic}", body=LONG.encode()) == ""
    assert coap(client, *words, "-m", "get", f"{url}/{topic}") == LONG
    assert coap(client, *words, "-m", "delete", f"{url}/{topic}") == ""
    assert coap(client, *words, "-m", "get", f"{url}/{topic}").startswith("4.04")
    assert coap(client, *words, "-m", "get", f"{url}/elsewhere").startswith("4.03 not authorized: no rule allows it")


def test_what_mqtt_retains_coap_reads_and_what_it_says_coap_observes(folders: dict[str, Path], url: str) -> None:
    pen, words = login(folders["jwt-es256"]), shown(folders["psk"], "psk")
    assert publish(pen, "rooms/state", "kept", extra=["-r"]).returncode == 0
    assert coap(GNUTLS, *words, "-m", "get", f"{url}/rooms/state") == "kept"
    with Talker([program(GNUTLS), *words, "-v", "7", "-s", "60", "-m", "get", f"{url}/rooms/state"]) as observer:
        at, _ = observer.wait_for(lambda line: "kept" in line, "the first answer")
        publish(pen, "rooms/state", "at-least-once", qos=1)
        at, line = observer.wait_for(lambda line: "at-least-once" in line, "the notification", at)
        assert "t:CON" in line
        publish(pen, "rooms/state", "at-most-once", qos=0)
        _, line = observer.wait_for(lambda line: "at-most-once" in line, "the notification", at)
        assert "t:NON" in line


def test_one_device_is_revoked_at_both_doors_at_once(hub: RunningHub, url: str) -> None:
    folder = hub.add_device("both", "x509")
    words = shown(folder, "x509")
    topic = "devices/both/x"
    with (
        Subscriber(login(folder), topic, qos=1) as ear,
        Talker([program(GNUTLS), *words, "-v", "7", "-s", "60", "-m", "get", f"{url}/{topic}"]) as observer,
    ):
        at, _ = observer.wait_for(lambda line: "c:2.05" in line, "the first answer")
        coap(GNUTLS, *words, "-m", "put", "-e", "last", f"{url}/{topic}")
        at, _ = observer.wait_for(lambda line: "last" in line, "the notification", at)
        assert ear.next().payload == "last"
        (report,) = msgspec.json.decode(
            hub.lockgate("revoke", "both", "--report", "--json").stdout, type=list[dict[str, Any]]
        )
        _, line = observer.wait_for(lambda line: "c:4.03" in line, "the last notification", at)
        assert "credential revoked" in line
    found = report["found"]
    assert (found["connections"], found["subscriptions"], found["retained"]) == (2, 2, 1)
    assert set(report["remaining"].values()) == {0}
    assert report["is_silent"]
    assert "Certificate was revoked" in coap(GNUTLS, *words, "-m", "get", f"{url}/{topic}")

    def refused() -> bool:
        return any(each["door"] == "coap" and "revoked" in each["reason"] for each in hub.why("--device", "both"))

    eventually(refused, 5.0, "the refused handshake in `lockgate why`")


def test_a_blocked_device_is_told_so_by_the_door(hub: RunningHub, url: str) -> None:
    words = shown(hub.add_device("blocked", "psk"), "psk")
    hub.lockgate("device", "block", "blocked")
    topic = f"{url}/devices/blocked/x"
    assert coap(GNUTLS, *words, "-m", "get", topic).startswith("4.03 device blocked (reference ")
    hub.lockgate("device", "unblock", "blocked")

    def is_in() -> bool:
        return coap(GNUTLS, *words, "-m", "put", "-e", "1", topic) == ""

    eventually(is_in, 5.0, "the device to be let in again")
