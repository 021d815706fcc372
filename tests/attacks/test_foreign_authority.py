"""The threat: a CA that is not ours, or bears our CA's name, speaks for our devices.

TLS believes a CA by its key, never by its name; and a CA that is believed still says nothing about who a device is: the
registry knows a device by the public key that is registered for it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from lockgate.home import Home
from lockgate.model.device import Credential, CredentialKind
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_to_pem, generate_key, private_key_to_pem
from lockgate.pki.revocation import RevokedCertificate, build_crl, crls_to_pem
from lockgate.registry.registrar import Registrar
from tests.support.hub import RunningHub, eventually
from tests.support.mosquitto import publish
from tests.support.peers import WAIT_SECONDS, Login, login, program

pytestmark = pytest.mark.process
NOW = time.time()


class Plant:
    """A customer's CA, which the hub was told to trust, with the files of what it issues."""

    def __init__(self, hub: RunningHub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.ca = Authority.create_root("Plant CA", now=NOW)
        (folder / "plant.pem").write_bytes(self.ca.certificate_pem())
        hub.lockgate("ca", "trust", str(folder / "plant.pem"))

    def issue(self, device: str, by: Authority | None = None) -> tuple[Path, Path, x509.Certificate]:
        key = generate_key("ec")
        authority = by or self.ca
        leaf = authority.issue_device(device, key.public_key(), now=NOW)
        stem = f"{device}-{leaf.serial_number:x}"
        certificate, key_path = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        certificate.write_bytes(certificates_to_pem(leaf, authority.certificate))
        key_path.write_bytes(private_key_to_pem(key))
        return certificate, key_path, leaf

    def register(self, device: str, leaf: x509.Certificate) -> None:
        pem = certificates_to_pem(leaf).decode()
        with Home(self.hub.home).registry() as registry:
            Registrar(registry, "a test").add_device(device, [Credential(0, device, CredentialKind.X509, pem)])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with RunningHub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def ours(hub: RunningHub) -> Login:
    return login(hub.add_device("sensor", "x509"))


@pytest.fixture(scope="module")
def plant(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return Plant(hub, tmp_path_factory.mktemp("plant"))


def shows(shown: Login, name: str, certificate: Path, key: Path) -> subprocess.CompletedProcess[str]:
    """Connect and publish with a certificate, as the device `name`."""
    return publish(shown.but(certificate=certificate, key=key, client_id=name), f"devices/{name}/x", "hello")


def test_a_trusted_foreign_ca_cannot_speak_for_our_device(hub: RunningHub, ours: Login, plant: Plant) -> None:
    certificate, key, _ = plant.issue("sensor")
    assert shows(ours, "sensor", certificate, key).returncode != 0
    told = hub.wait_for_refusal("device not registered")
    assert told["step"] == "credential"
    assert publish(ours, "devices/sensor/x", "hello").returncode == 0


def test_a_trusted_foreign_ca_makes_no_new_device(hub: RunningHub, ours: Login, plant: Plant) -> None:
    certificate, key, _ = plant.issue("newcomer")
    assert shows(ours, "newcomer", certificate, key).returncode != 0


def test_its_certificate_counts_once_its_key_is_registered_and_until_its_list_names_it(
    hub: RunningHub, ours: Login, plant: Plant
) -> None:
    certificate, key, leaf = plant.issue("machine")
    plant.register("machine", leaf)
    eventually(lambda: shows(ours, "machine", certificate, key).returncode == 0, what="the registered machine")
    renamed, other_key, _ = plant.issue("machine")  # the same name, another key
    assert shows(ours, "machine", renamed, other_key).returncode != 0
    crl = build_crl(plant.ca, [RevokedCertificate(leaf.serial_number, NOW)], 1, NOW)
    (plant.folder / "plant.crl").write_bytes(crls_to_pem([crl]))
    hub.lockgate("ca", "trust", str(plant.folder / "plant.pem"), "--crl", str(plant.folder / "plant.crl"))
    eventually(lambda: shows(ours, "machine", certificate, key).returncode != 0, what="the foreign list")
    hub.wait_for_refusal("certificate revoked", device="machine")
    assert publish(ours, "devices/sensor/x", "hello").returncode == 0


@pytest.mark.requirement("F13")
@pytest.mark.parametrize("which", ["issuing CA", "both"])
def test_a_fake_ca_with_the_names_of_ours_is_refused_in_the_handshake(
    hub: RunningHub, ours: Login, plant: Plant, which: str
) -> None:
    home = Home(hub.home)
    names = [
        x509.load_pem_x509_certificate(path.read_bytes()).subject.rfc4514_string().removeprefix("CN=")
        for path in (home.root_path, home.issuing_path)
    ]
    root = Authority.create_root(names[0] if which == "both" else "another root", now=NOW)
    fake = root.create_issuing(names[1], now=NOW)
    certificate, key, _ = plant.issue("sensor", by=fake)
    assert shows(ours, "sensor", certificate, key).returncode != 0
    reasons = {"unknown issuer", "bad signature"}
    eventually(lambda: [r for r in hub.why("--step", "tls") if r["reason"] in reasons] or None, what="the refusal")
    (plant.folder / "fake.pem").write_bytes(fake.certificate_pem())
    refused = hub.lockgate("ca", "trust", str(plant.folder / "fake.pem"), check=False)
    assert refused.returncode == 1
    assert "the name of our own CA" in refused.stderr
    trial = subprocess.run(
        [program("openssl"), "s_client", "-connect", f"127.0.0.1:{hub.port}", "-CAfile", str(hub.ca_path), "-ign_eof",
         "-cert", str(certificate), "-key", str(key)],
        input=b"\xff\xff\xff\xff\xff\xff", capture_output=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert b"alert unknown ca" in trial.stderr
