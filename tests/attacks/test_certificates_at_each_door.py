"""Threat: a certificate that looks right, at any door: MQTT over TLS, MQTT over WebSocket, the office's HTTPS.

Made by a CA that took our CA's name; for another device; for servers; expired, revoked, or of a device that is gone.
"""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import paho.mqtt.client as paho
import pytest
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.certificates import Authority, Issued
from tests.support.forgery import CertificateForger
from tests.support.hub import RunningHub, eventually
from tests.support.peers import WAIT_SECONDS, Login, login

pytestmark = pytest.mark.process

Knock: TypeAlias = Callable[[RunningHub, Login], bool]
"""Shows a certificate at a door, and says whether it was let in."""


def at_mqtt(hub: RunningHub, shown: Login) -> bool:
    return _paho(shown.but(port=hub.port), "tcp")


def at_websocket(hub: RunningHub, shown: Login) -> bool:
    return _paho(shown.but(port=hub.websocket_port), "websockets")


def at_office(hub: RunningHub, shown: Login) -> bool:
    """Ask for a first page with the certificate; whether HTTP was spoken at all is what counts here."""
    words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", "--cacert", str(hub.ca_path)]
    words += ["--cert", str(shown.certificate), "--key", str(shown.key)]
    url = f"https://localhost:{hub.office_port}/.well-known/est/cacerts"
    return subprocess.run([*words, url], capture_output=True, text=True, timeout=20).stdout == "200"


DOORS: dict[str, Knock] = {"mqtt": at_mqtt, "websocket": at_websocket, "office": at_office}


def _paho(shown: Login, transport: Literal["tcp", "websockets"]) -> bool:
    """Connect; true is a CONNACK that says yes, false any other end."""
    ends: list[bool] = []
    client = paho.Client(
        CallbackAPIVersion.VERSION2, shown.client_id, protocol=paho.MQTTv5, transport=transport,
        reconnect_on_failure=False,
    )  # fmt: skip
    client.tls_set(str(shown.ca), str(shown.certificate), str(shown.key))
    client.on_connect = lambda *given: ends.append(given[3].value == 0)
    client.on_disconnect = lambda *_: ends.append(False)
    try:
        client.connect(shown.host, shown.port)
    except (ssl.SSLError, OSError, paho.WebsocketConnectionError):
        return False
    client.loop_start()
    try:
        eventually(lambda: ends or None, WAIT_SECONDS, "an answer or the end")
    finally:
        client.disconnect()
        client.loop_stop()
    return ends[0]


class Forge:
    """A hub with an office, a device of it, and those who want to be it."""

    def __init__(self, hub: RunningHub, folder: Path) -> None:
        self.hub = hub
        self.folder = folder
        self.forger = CertificateForger(hub.home, folder)
        self.authority = Authority.from_home(hub.home)
        self.victim = login(hub.add_device("victim", "x509"))

    def device(self, name: str) -> Login:
        """Make another device."""
        return login(self.hub.add_device(name, "x509"))

    def shows(self, issued: Issued, name: str) -> Login:
        """Show a certificate as the victim."""
        certificate, key = issued.write(self.folder, name)
        return self.victim.anonymous().but(certificate=certificate, key=key)


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with RunningHub(tmp_path_factory.mktemp("hub"), office=True) as hub:
        hub.office_port  # noqa: B018  (it is up)
        yield Forge(hub, tmp_path_factory.mktemp("forged"))


@pytest.mark.parametrize("door", DOORS)
def test_the_devices_own_certificate_is_let_in(forge: Forge, door: str) -> None:
    assert DOORS[door](forge.hub, forge.victim)


def of_a_fake_ca(forge: Forge) -> Login:
    """Take our CA's name for a CA of one's own, and issue the victim's certificate."""
    subject = forge.authority.certificate.subject
    (name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    fake = Authority(str(name.value))
    assert fake.certificate.subject == subject
    return forge.shows(fake.issue("victim"), "fake")


FORGERIES: dict[str, Callable[[Forge], Login]] = {
    "a fake CA with our CA's name": of_a_fake_ca,
    "another home's CA, of the same names": lambda forge: forge.forger.foreign(forge.victim, "victim"),
    "another home's CA, shown along": lambda forge: forge.forger.foreign(forge.victim, "victim", with_ca=True),
    "our CA, without the client's key usage": lambda forge: forge.shows(
        forge.authority.issue("victim", names=["victim"], purpose="server"), "server"
    ),
    "our CA, expired": lambda forge: forge.forger.expired(forge.victim, "victim"),
    "our CA, not yet valid": lambda forge: forge.forger.future(forge.victim, "victim"),
    "signed by itself": lambda forge: forge.forger.self_signed(forge.victim, "victim"),
    "signed by the victim's certificate": lambda forge: forge.shows(below(forge), "below"),
}


def below(forge: Forge) -> Issued:
    """Issue a certificate with a leaf's key, as if it were a CA."""
    made = forge.authority.issue("mallory")
    parent = Authority.__new__(Authority)
    parent.certificate, parent.key, parent.chain = made.certificate, made.key, (made.certificate,)
    return parent.issue("victim")


@pytest.mark.requirement("T5", "F14")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_certificate_is_refused(forge: Forge, door: str, kind: str) -> None:
    assert not DOORS[door](forge.hub, FORGERIES[kind](forge))


@pytest.mark.parametrize("door", ["mqtt", "websocket"])
def test_a_valid_certificate_of_another_device_does_not_open_this_ones_session(forge: Forge, door: str) -> None:
    other = forge.device(f"other-{door}")
    assert not DOORS[door](forge.hub, other.but(client_id="victim"))
    assert DOORS[door](forge.hub, other)


@pytest.mark.parametrize("door", ["mqtt", "websocket"])
def test_a_certificate_of_ours_for_a_key_that_nobody_registered_is_refused(forge: Forge, door: str) -> None:
    assert not DOORS[door](forge.hub, forge.forger.ours(forge.victim, "victim"))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("act", ["revoke", "remove"])
def test_a_revoked_certificate_is_refused(forge: Forge, door: str, act: str) -> None:
    gone = forge.device(f"{act}d-{door}")
    assert DOORS[door](forge.hub, gone)
    forge.hub.lockgate("device", act, gone.client_id)
    eventually(lambda: not DOORS[door](forge.hub, gone), 10.0, "the refusal")
    assert not DOORS[door](forge.hub, gone)
