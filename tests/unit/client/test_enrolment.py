"""The device's side of enrolment: whom it believes, what it writes, and that a cut in the middle costs nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lockgate.client import enrolment
from lockgate.client.enrolment import Office, fetch_root, is_due, parse_fingerprint, parse_url
from lockgate.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidSettings,
    LockgateError,
    QuotaExceeded,
    RateExceeded,
    Unavailable,
)
from lockgate.model.device import CredentialKind
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_from_pem, private_key_from_pem
from lockgate.provision import est
from lockgate.provision.bundle import make_bundle
from lockgate.provision.folder import HubAddress, read_folder

NOW = datetime.now(UTC).timestamp()
ROOT = Authority.create_root(now=NOW)
ISSUING = ROOT.create_issuing("issuing", now=NOW)
URL = "https://hub.example:8443"


class Hub:
    """Answers as the office does."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.keys: list[object] = []
        self.logins: list[str] = []
        self.name = "sensor"
        self.port = "1234"
        self.fails: list[LockgateError] = []

    def ask(
        self, office: Office, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[bytes, Mapping[str, str]]:
        self.asked.append((method, path.rpartition("/")[2]))
        if path.endswith("cacerts"):
            return est.encode_certificates([ROOT.certificate, ISSUING.certificate]), {}
        assert body is not None
        request = est.decode_request(body)
        self.keys.append(request.public_key())
        self.logins.append(headers.get("Authorization", ""))
        if self.fails:
            raise self.fails.pop()
        leaf = ISSUING.issue_device_for_request(self.name, request, now=NOW)
        return est.encode_certificates([leaf]), {"lockgate-mqtt-port": self.port}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr(Office, "_ask", lambda *arguments: made.ask(*arguments))
    return made


def enrol(out: Path) -> x509.Certificate:
    return enrolment.enrol(URL, "sensor", "lgc_1_2", ROOT.certificate_pem(), out)


def test_enrolling_makes_a_whole_folder_with_a_key_that_was_made_here(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "sensor"
    leaf = enrol(out)
    device = read_folder(out)
    assert (device.name, device.auth, device.host, device.port) == ("sensor", CredentialKind.X509, "hub.example", 1234)
    assert device.office == URL
    chain = certificates_from_pem((out / "device.crt").read_bytes())
    assert chain == (leaf, ISSUING.certificate), "the issuing CA, and not the root"
    assert private_key_from_pem((out / "device.key").read_bytes()).public_key() == leaf.public_key() == hub.keys[0]
    assert hub.logins == ["Basic c2Vuc29yOmxnY18xXzI="]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sensor"]


@pytest.mark.parametrize("told", ["", "0", "65536", "x", "{}"])
def test_a_port_that_is_none_is_not_believed(hub: Hub, tmp_path: Path, told: str) -> None:
    hub.port = told
    enrol(tmp_path / "sensor")
    assert read_folder(tmp_path / "sensor").port == 8883


def test_a_second_attempt_comes_with_the_same_key(hub: Hub, tmp_path: Path) -> None:
    hub.fails = [Unavailable("the wire was cut")]
    with pytest.raises(Unavailable):
        enrol(tmp_path / "sensor")
    pending = tmp_path / ".sensor.key"
    assert pending.stat().st_mode & 0o777 == 0o600
    enrol(tmp_path / "sensor")
    assert hub.keys[0] == hub.keys[1]
    assert not pending.exists()


def test_a_certificate_for_somebody_else_is_not_taken(hub: Hub, tmp_path: Path) -> None:
    hub.name = "other"
    with pytest.raises(Unavailable, match="no certificate of sensor"):
        enrol(tmp_path / "sensor")
    assert not (tmp_path / "sensor").exists()


def test_nobody_is_asked_when_the_folder_is_taken(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "sensor").mkdir()
    (tmp_path / "sensor" / "x").touch()
    with pytest.raises(Conflict):
        enrol(tmp_path / "sensor")
    assert hub.asked == []


def test_a_place_that_cannot_be_written_is_said(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSettings, match="cannot be"):
        enrol(tmp_path / "file" / "sensor")


@pytest.mark.parametrize("keeps_key", [False, True])
def test_renewing_puts_key_and_certificate_in_place(hub: Hub, tmp_path: Path, keeps_key: bool) -> None:
    out = tmp_path / "sensor"
    old = enrol(out)
    new = enrolment.renew(out, keeps_key=keeps_key)
    assert (new.public_key() == old.public_key()) == keeps_key
    assert certificates_from_pem((out / "device.crt").read_bytes())[0] == new
    assert private_key_from_pem((out / "device.key").read_bytes()).public_key() == new.public_key()
    assert not list(out.glob("*.new"))


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_a_renewal_that_is_cut_short_leaves_a_pair_that_fits_after_the_next(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_after: int
) -> None:
    out = tmp_path / "sensor"
    enrol(out)
    steps = iter(range(1, 10))
    real_write, real_replace = enrolment._write_private, os.replace

    def cut() -> None:
        if next(steps) > cut_after:
            raise KeyboardInterrupt

    def write(path: Path, content: bytes) -> None:
        cut()
        real_write(path, content)

    def replace(source: Path, target: Path) -> None:
        cut()
        real_replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(enrolment, "_write_private", write)
        patched.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            enrolment.renew(out)
    leaf = enrolment.renew(out)
    assert private_key_from_pem((out / "device.key").read_bytes()).public_key() == leaf.public_key()
    assert not list(out.glob("*.new"))


def test_only_a_certificate_is_renewed(tmp_path: Path) -> None:
    out = tmp_path / "sensor"
    hub_address = HubAddress("hub.example", 8883)
    make_bundle(CredentialKind.JWT_ES256, "sensor", out, hub_address, None, ROOT.certificate_pem(), "lockgate", NOW)
    with pytest.raises(InvalidSettings, match="has no certificate"):
        enrolment.renew(out)
    assert not is_due(out)


def test_a_certificate_is_due_after_two_thirds_of_its_life(hub: Hub, tmp_path: Path) -> None:
    leaf = enrol(tmp_path / "sensor")
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    assert not is_due(tmp_path / "sensor", begin + (end - begin) * 0.66)
    assert is_due(tmp_path / "sensor", begin + (end - begin) * 0.67)
    assert not is_due(tmp_path / "sensor")


def test_a_root_is_believed_by_its_fingerprint_alone(hub: Hub) -> None:
    fingerprint = ROOT.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert fetch_root(URL, f"sha256 Fingerprint={fingerprint}") == ROOT.certificate_pem()
    for other in (ISSUING.certificate.fingerprint(hashes.SHA256()).hex(), "00" * 32):
        with pytest.raises(AuthenticationFailed, match="another hub"):
            fetch_root(URL, other)


@pytest.mark.parametrize("text", ["", "x", "00" * 31, "zz" * 32])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="64 hexadecimal digits"):
        parse_fingerprint(text)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://hub", ("hub", 8443)),
        ("hub:1", ("hub", 1)),
        ("https://[fd00::1]:8443/", ("fd00::1", 8443)),
        ("http://hub", None),
        ("https://hub/x", None),
        ("https://:8443", None),
        ("https://hub:x", None),
        ("https://hub?x", None),
    ],
)
def test_an_address_of_an_office(url: str, found: tuple[str, int] | None) -> None:
    if found is None:
        with pytest.raises(InvalidSettings):
            parse_url(url)
    else:
        assert parse_url(url) == found


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b"claim token expired: make another\nreference: K7Q2-9XMD\n", AuthenticationFailed),
        (429, b"too many wrong claim tokens: wait", RateExceeded),
        (429, b"quota exceeded", QuotaExceeded),
        (500, b"", Unavailable),
        (404, b"\xff", Unavailable),
    ],
)
def test_a_refusal_is_told_in_the_hubs_words(status: int, body: bytes, kind: type[LockgateError]) -> None:
    error = enrolment._refusal(status, body)
    assert type(error) is kind
    assert str(error).startswith("the hub refused: ")
    if b"reference" in body:
        assert str(error).endswith("(reference K7Q2-9XMD)")
        assert error.fix == "make another"
