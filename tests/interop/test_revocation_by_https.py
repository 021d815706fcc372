"""OCSP and revocation lists of the office, judged by openssl."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import RunningHub, eventually

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with RunningHub(tmp_path_factory.mktemp("hub"), office=True) as running:
        yield running


def run(*command: str | Path, stdin: bytes = b"") -> bytes:
    done = subprocess.run(list(map(str, command)), input=stdin, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout + done.stderr


def curl(hub: RunningHub, path: str, *options: str | Path) -> bytes:
    url = f"https://localhost:{hub.office_port}{path}"
    command = ["curl", "-sSf", "--max-time", "20", "--cacert", str(hub.ca_path), *map(str, options), url]
    done = subprocess.run(command, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def ask(hub: RunningHub, device: Path, folder: Path, by_get: bool = False) -> str:
    """Ask about a device's certificate as openssl does, over TLS by curl; give what openssl makes of the answer."""
    issuing = hub.home / "ca" / "issuing.crt"
    request, answer = folder / "request.der", folder / "answer.der"
    run("openssl", "ocsp", "-issuer", issuing, "-cert", device / "device.crt", "-reqout", request)
    if by_get:
        text = base64.b64encode(request.read_bytes()).decode()
        quoted = text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        answer.write_bytes(curl(hub, f"/pki/ocsp/{quoted}"))
    else:
        header = "Content-Type: application/ocsp-request"
        answer.write_bytes(curl(hub, "/pki/ocsp", "--data-binary", f"@{request}", "-H", header))
    return run(
        "openssl", "ocsp", "-issuer", issuing, "-cert", device / "device.crt", "-reqin", request, "-respin", answer,
        "-CAfile", hub.ca_path, "-verify_other", issuing,
        "-no_nonce",  # the one in the request is compared; without this word openssl puts a second one in
    ).decode()  # fmt: skip


@pytest.mark.parametrize("by_get", [False, True], ids=["post", "get"])
def test_ocsp_tells_openssl_good_and_then_revoked(hub: RunningHub, tmp_path: Path, by_get: bool) -> None:
    name = f"asked-{'get' if by_get else 'post'}"
    device = hub.add_device(name, "x509")
    said = ask(hub, device, tmp_path, by_get)
    assert "Response verify OK" in said
    assert "device.crt: good" in said
    hub.lockgate("device", "revoke", name)
    said = ask(hub, device, tmp_path, by_get)
    assert "Response verify OK" in said
    assert "device.crt: revoked" in said


def test_the_revocation_list_is_made_anew_by_the_office_and_openssl_believes_it(
    hub: RunningHub, tmp_path: Path
) -> None:
    device = hub.add_device("listed", "x509")
    serial = (
        run("openssl", "x509", "-in", device / "device.crt", "-noout", "-serial").decode().partition("=")[2].strip()
    )
    hub.lockgate("device", "revoke", "listed")

    def listed() -> bytes | None:
        der = curl(hub, "/pki/issuing.crl")
        text = run("openssl", "crl", "-inform", "DER", "-noout", "-text", stdin=der).decode()
        return der if serial.lower() in text.lower() else None

    (tmp_path / "crl.der").write_bytes(eventually(listed, 10.0))
    pem = run("openssl", "crl", "-inform", "DER", "-in", tmp_path / "crl.der")
    (tmp_path / "crl.pem").write_bytes(pem)
    issuing = hub.home / "ca" / "issuing.crt"
    assert b"verify OK" in run("openssl", "crl", "-in", tmp_path / "crl.pem", "-CAfile", issuing, "-noout")
    done = subprocess.run(
        ["openssl", "verify", "-crl_check", "-CAfile", hub.ca_path, "-untrusted", issuing,
         "-CRLfile", tmp_path / "crl.pem", device / "device.crt"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "certificate revoked" in done.stderr


def test_the_authorities_certificates_are_there(hub: RunningHub) -> None:
    issuing = curl(hub, "/pki/issuing.crt")
    assert b"issuing CA" in run("openssl", "x509", "-inform", "DER", "-noout", "-subject", stdin=issuing)
    assert curl(hub, "/pki/root.crt") == hub.ca_path.read_bytes()


def test_the_office_staples_the_answer_about_its_own_certificate(hub: RunningHub) -> None:
    def stapled() -> str | None:
        said = run("openssl", "s_client", "-connect", f"localhost:{hub.office_port}", "-CAfile", hub.ca_path, "-status")
        return said.decode("utf-8", "replace") if b"OCSP Response Status: successful" in said else None

    assert "Cert Status: good" in eventually(stapled, 10.0, "a stapled answer")
