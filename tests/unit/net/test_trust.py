"""Whom a handshake believes: the alert for a revoked certificate, and no refusal for want of a revocation list."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from lockgate.errors import InvalidSettings
from lockgate.net.context import TlsContext, load_context
from lockgate.net.failures import TlsReason
from lockgate.net.trust import load_crls, outdated, why_not_believed
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_to_pem, generate_key, private_key_to_pem
from lockgate.pki.revocation import RevokedCertificate, build_crl, crls_to_pem
from tests.support.tls import Pair

NOW = time.time()
ROOT = Authority.create_root("Root A", now=NOW)
ISSUING = ROOT.create_issuing("Issuing A", now=NOW)
OLDER = ROOT.create_issuing("Issuing 0", now=NOW)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Device:
    """A device with a certificate of `authority`."""

    def __init__(self, folder: Path, authority: Authority, name: str) -> None:
        key = generate_key("ec")
        self.certificate = authority.issue_device(name, key.public_key(), now=NOW)
        self._files = folder / f"{name}.crt", folder / f"{name}.key"
        self._files[0].write_bytes(authority.chain_pem(self.certificate))
        self._files[1].write_bytes(private_key_to_pem(key))

    def meets(self, server: TlsContext, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Pair:
        client = ssl.create_default_context(cadata=ROOT.certificate_pem().decode())
        client.minimum_version = client.maximum_version = version
        client.load_cert_chain(*self._files)
        return Pair(server, client).shake_hands()

    def revoked(self) -> RevokedCertificate:
        return RevokedCertificate(self.certificate.serial_number, NOW - 5, reason=1)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    key = generate_key("ec")
    leaf = ISSUING.issue_server(["localhost"], key.public_key(), now=NOW)
    paths = tmp_path / "server.crt", tmp_path / "server.key", tmp_path / "bundle.crt"
    paths[0].write_bytes(ISSUING.chain_pem(leaf))
    paths[1].write_bytes(private_key_to_pem(key))
    paths[2].write_bytes(certificates_to_pem(ISSUING.certificate, OLDER.certificate))
    return paths


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("age_days", [0, 300])
def test_a_revoked_certificate_is_refused_with_its_alert_also_by_a_list_that_ran_out(
    tmp_path: Path, files: tuple[Path, Path, Path], version: ssl.TLSVersion, age_days: int
) -> None:
    good, bad = Device(tmp_path, ISSUING, "good"), Device(tmp_path, ISSUING, "bad")
    made_at = NOW - 86_400 * age_days
    crl_path = tmp_path / "crl.pem"
    crl_path.write_bytes(crls_to_pem([build_crl(ISSUING, [bad.revoked()], 1, made_at)]))
    server = load_context(*files, crl_path=crl_path)
    assert good.meets(server, version).stream.is_established
    refused = bad.meets(server, version)
    assert not refused.stream.is_established
    assert refused.failure is not None
    assert refused.failure.reason is TlsReason.CERTIFICATE_REVOKED
    assert "'bad' was revoked" in refused.failure.message
    assert "revoked" in str(refused.client_error).lower()


def test_an_authority_without_a_list_is_not_shut_out_by_anothers(
    tmp_path: Path, files: tuple[Path, Path, Path]
) -> None:
    old = Device(tmp_path, OLDER, "old")
    crl_path = tmp_path / "crl.pem"
    crl_path.write_bytes(crls_to_pem([build_crl(ISSUING, [old.revoked()], 1, NOW)]))  # a number says nothing by itself
    assert old.meets(load_context(*files, crl_path=crl_path)).stream.is_established
    lists = [build_crl(ISSUING, [], 2, NOW), build_crl(OLDER, [old.revoked()], 1, NOW)]
    crl_path.write_bytes(crls_to_pem(lists))
    assert not old.meets(load_context(*files, crl_path=crl_path)).stream.is_established


def test_without_a_list_nobody_is_refused_by_one(tmp_path: Path, files: tuple[Path, Path, Path]) -> None:
    device = Device(tmp_path, ISSUING, "device")
    assert device.meets(load_context(*files, crl_path=tmp_path / "none.pem")).stream.is_established
    assert device.meets(load_context(*files)).stream.is_established


def test_only_the_issuing_authorities_are_anchors_so_that_one_can_be_retired(
    tmp_path: Path, files: tuple[Path, Path, Path]
) -> None:
    files[2].write_bytes(certificates_to_pem(ISSUING.certificate))
    refused = Device(tmp_path, OLDER, "old").meets(load_context(*files))
    assert refused.failure is not None
    assert refused.failure.reason is TlsReason.UNKNOWN_ISSUER


@pytest.mark.parametrize("content", [b"rubbish", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_what_is_no_list_is_refused_and_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "crl.pem").write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"crl\.pem holds no revocation list"):
        load_crls(tmp_path / "crl.pem", [ISSUING.certificate])


def test_a_list_that_only_bears_our_name_is_refused(tmp_path: Path) -> None:
    imitation = Authority.create_root("Root A", now=NOW).create_issuing("Issuing A", now=NOW)
    (tmp_path / "crl.pem").write_bytes(crls_to_pem([build_crl(imitation, [], 1, NOW)]))
    with pytest.raises(InvalidSettings, match="not signed by CN=Issuing A"):
        load_crls(tmp_path / "crl.pem", [ISSUING.certificate, OLDER.certificate])


def test_a_list_of_a_ca_that_is_no_longer_believed_is_passed_over(tmp_path: Path) -> None:
    lists = [build_crl(ISSUING, [], 1, NOW), build_crl(OLDER, [], 1, NOW)]
    (tmp_path / "crl.pem").write_bytes(crls_to_pem(lists))
    assert load_crls(tmp_path / "crl.pem", [ISSUING.certificate]) == lists[:1]
    rsa_key = generate_key("rsa")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Issuing A")])
    namesake = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(rsa_key.public_key()).serial_number(1)
        .not_valid_before(datetime.now(UTC)).not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(rsa_key, hashes.SHA256())
    )  # fmt: skip
    with pytest.raises(InvalidSettings, match="not signed by"):
        load_crls(tmp_path / "crl.pem", [namesake])


def test_a_list_that_cannot_be_read_is_named_and_an_empty_file_holds_none(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"\n")
    assert load_crls(tmp_path / "empty.pem", [ISSUING.certificate]) == []
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_crls(tmp_path, [ISSUING.certificate])


def test_outdated_lists_are_told_from_current_ones() -> None:
    old, new = build_crl(ISSUING, [], 1, NOW - 100, 50), build_crl(OLDER, [], 1, NOW)
    assert outdated([old, new], NOW) == [old]


def test_a_chain_is_judged_before_any_handshake() -> None:
    leaf = ISSUING.issue_device("sensor", generate_key("ec").public_key(), now=NOW)
    chain = [leaf, ISSUING.certificate]
    assert why_not_believed(chain, [ROOT.certificate], NOW) == ""
    assert "unable to get" in why_not_believed(chain[:1], [ROOT.certificate], NOW)
    assert why_not_believed(chain[:1], [ISSUING.certificate], NOW) == "", "an authority need not be a root"
    assert "expired" in why_not_believed(chain, [ROOT.certificate], NOW + 30 * 366 * 86_400)
