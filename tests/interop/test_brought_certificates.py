"""A plant's devices with their plant's certificates: openssl is the CA, mosquitto_pub the device."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.hub import RunningHub, eventually
from tests.support.mosquitto import publish
from tests.support.peers import Login, program

pytestmark = pytest.mark.process
EXTENSIONS = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with RunningHub(tmp_path / "hub") as running:
        yield running


def openssl(*arguments: str | Path) -> None:
    subprocess.run([program("openssl"), *map(str, arguments)], capture_output=True, timeout=30, check=True)


def make_plant(folder: Path) -> Path:
    """Make a CA as a plant has one."""
    subject = ("-subj", "/O=Plant/CN=Plant Device CA")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", *subject,
            "-keyout", folder / "plant.key", "-out", folder / "plant.pem")  # fmt: skip
    return folder / "plant.pem"


def issue(folder: Path, serial: str) -> Path:
    """Have the plant's CA certify a machine by its serial number: it knows nothing of our names."""
    (folder / "extensions").write_text(EXTENSIONS)
    certificate, key, request = (folder / f"{serial}.{suffix}" for suffix in ("crt", "key", "csr"))
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={serial}",
            "-keyout", key, "-out", request)  # fmt: skip
    openssl("x509", "-req", "-in", request, "-CA", folder / "plant.pem", "-CAkey", folder / "plant.key", "-days", "9",
            "-extfile", folder / "extensions", "-out", certificate)  # fmt: skip
    return certificate


def test_a_foreign_certificate_lets_in_its_device_while_its_ca_is_trusted_and_no_other(
    hub: RunningHub, tmp_path: Path
) -> None:
    authority, certificate, other = make_plant(tmp_path), issue(tmp_path, "SN-4711"), issue(tmp_path, "SN-4712")

    def connects(shown: Path) -> bool:
        who = Login("localhost", hub.port, hub.ca_path, "pump", certificate=shown, key=shown.with_suffix(".key"))
        return publish(who, "devices/pump/hello", "hello").returncode == 0

    add = ("device", "add", "pump", "--auth", "x509", "--certificate", str(certificate))
    refused = hub.lockgate(*add, check=False)
    assert refused.returncode == 1
    assert "lockgate ca trust CA.pem" in refused.stderr
    assert not connects(certificate)
    told = hub.wait_for_refusal("unknown issuer")
    assert (told["step"], "lockgate ca trust CA.pem" in told["fix"]) == ("tls", True)

    hub.lockgate("ca", "trust", str(authority))
    assert "mosquitto_pub" in hub.lockgate(*add).stdout
    eventually(lambda: connects(certificate), what="the registered machine")

    assert not connects(other)
    told = hub.wait_for_refusal("device not registered")
    assert told["fix"] == "lockgate device add NAME --auth x509 --certificate FILE"

    taken = hub.lockgate("device", "add", "valve", *add[3:], check=False)
    assert "is registered to another device" in taken.stderr
    hub.lockgate("credential", "add", "pump", "--auth", "x509", "--certificate", str(other))
    eventually(lambda: connects(other), what="the second machine")

    shown = msgspec.json.decode(hub.lockgate("ca", "show", "--json").stdout)
    (foreign,) = (each["id"] for each in shown["issuers"] if each["state"] == "foreign")
    assert "rest on certificates" in hub.lockgate("ca", "untrust", foreign, check=False).stderr
    hub.lockgate("ca", "untrust", foreign, "--force")
    eventually(lambda: not connects(certificate), what="the end of the trust")
    assert not connects(other)
