"""Revocation lists and OCSP answers, as OpenSSL and pkilint read them."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from lockgate.pki.authority import DAY_SECONDS, Authority
from lockgate.pki.certificates import certificates_to_pem, generate_key
from lockgate.pki.revocation import (
    CRL_LIFE_SECONDS,
    Known,
    RevokedCertificate,
    answer_ocsp,
    build_crl,
    crl_to_der,
    crls_to_pem,
    make_staple,
)

NOW = float(int(time.time()))  # OpenSSL's `ocsp` knows no other time
ROOT = Authority.create_root("lockgate root CA 1", now=NOW)
ISSUING = ROOT.create_issuing("lockgate issuing CA 1", now=NOW)
OLDER = ROOT.create_issuing("lockgate issuing CA 0", now=NOW)
KEY = generate_key("ec").public_key()
LEAF = ISSUING.issue_device("sensor-1", KEY, now=NOW)
OTHER = ISSUING.issue_device("sensor-2", KEY, now=NOW)
COMPROMISED = RevokedCertificate(LEAF.serial_number, NOW - 60, reason=1)


def run(folder: Path, *words: str, code: int | None = 0) -> str:
    done = subprocess.run([*words], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert code is None or done.returncode == code, done
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root.pem").write_bytes(ROOT.certificate_pem())
    (tmp_path / "issuing.pem").write_bytes(ISSUING.certificate_pem())
    (tmp_path / "older.pem").write_bytes(OLDER.certificate_pem())
    (tmp_path / "chain.pem").write_bytes(ISSUING.certificate_pem() + ROOT.certificate_pem())
    (tmp_path / "leaf.pem").write_bytes(certificates_to_pem(LEAF))
    (tmp_path / "other.pem").write_bytes(certificates_to_pem(OTHER))
    return tmp_path


def lint(folder: Path, tool: str, name: str, *words: str) -> str:
    return run(folder, str(Path(sys.executable).parent / tool), "lint", "-s", "NOTICE", *words, name)


# Revocation lists


def test_openssl_verifies_the_list_and_refuses_who_is_in_it(folder: Path) -> None:
    crl = build_crl(ISSUING, [COMPROMISED], 7, NOW)
    (folder / "crl.pem").write_bytes(crls_to_pem([crl]))
    told = run(folder, "openssl", "crl", "-in", "crl.pem", "-noout", "-text", "-CAfile", "issuing.pem", "-verify")
    assert "verify OK" in told
    assert "X509v3 CRL Number: \n                7\n" in told
    assert "Key Compromise" in told
    checked = ("openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", "crl.pem", "-partial_chain",
               "-CAfile", "issuing.pem", "-purpose", "sslclient")  # fmt: skip
    assert run(folder, *checked, "other.pem") == "other.pem: OK\n"
    assert "certificate revoked" in run(folder, *checked, "leaf.pem", code=2)


def test_the_list_lints_clean(folder: Path) -> None:
    (folder / "crl.der").write_bytes(crl_to_der(build_crl(ISSUING, [COMPROMISED], 7, NOW)))
    (folder / "empty.der").write_bytes(crl_to_der(build_crl(ISSUING, [], 8, NOW)))
    for name in ("crl.der", "empty.der"):
        assert lint(folder, "lint_crl", name, "-t", "CRL", "-p", "PKIX").strip() == ""


def test_a_reason_is_told_and_unspecified_is_told_by_saying_nothing() -> None:
    serials = {code: 1000 + code for code in (0, 1, 2, 3, 4, 5, 9, 42)}
    crl = build_crl(ISSUING, [RevokedCertificate(serial, NOW, code) for code, serial in serials.items()], 1, NOW)
    told = {}
    for code, serial in serials.items():
        entry = crl.get_revoked_certificate_by_serial_number(serial)
        assert entry is not None
        told[code] = [extension.value.reason.value for extension in entry.extensions]
    assert (told[0], told[42]) == ([], [])
    assert (told[1], told[4], told[5]) == (["keyCompromise"], ["superseded"], ["cessationOfOperation"])


def test_the_expired_leave_the_list_after_one_that_names_them_beyond_their_end() -> None:
    def listed(expires_at: float | None) -> bool:
        revoked = RevokedCertificate(5, NOW - 90 * DAY_SECONDS, expires_at=expires_at)
        return len(build_crl(ISSUING, [revoked], 1, NOW)) == 1

    assert listed(None)
    assert listed(NOW + 1)
    assert listed(NOW - CRL_LIFE_SECONDS + 1)
    assert not listed(NOW - CRL_LIFE_SECONDS)


def test_the_list_says_when_the_next_one_is_due() -> None:
    crl = build_crl(ISSUING, [], 1, NOW, 3600)
    assert crl.last_update_utc == datetime.fromtimestamp(NOW, UTC)
    assert crl.next_update_utc == datetime.fromtimestamp(NOW + 3600, UTC)
    assert crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value == ISSUING.key_identifier()


# OCSP


def known(issuer: str, serial: int) -> RevokedCertificate | Known:
    if issuer != ISSUING.thumbprint:
        return Known.UNKNOWN
    if serial == LEAF.serial_number:
        return COMPROMISED
    return Known.GOOD if serial == OTHER.serial_number else Known.UNKNOWN


@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
@pytest.mark.parametrize(
    ("name", "told"), [("leaf.pem", "leaf.pem: revoked\n"), ("other.pem", "other.pem: good\n")]
)  # fmt: skip
def test_openssl_believes_the_answer_and_its_nonce(folder: Path, digest: str, name: str, told: str) -> None:
    run(folder, "openssl", "ocsp", digest, "-issuer", "issuing.pem", "-cert", name, "-nonce", "-reqout", "q.der")
    (folder / "a.der").write_bytes(answer_ocsp((folder / "q.der").read_bytes(), [OLDER, ISSUING], known, NOW))
    trusted = "-CAfile", "root.pem", "-verify_other", "issuing.pem"
    same = run(folder, "openssl", "ocsp", "-reqin", "q.der", "-respin", "a.der", *trusted)
    assert "Response verify OK" in same
    assert "nonce" not in same.lower()  # neither missing nor another one
    read = run(folder, "openssl", "ocsp", digest, "-issuer", "issuing.pem", "-cert", name, "-no_nonce",
               "-respin", "a.der", *trusted)  # fmt: skip
    assert told in read
    assert ("Reason: keyCompromise" in read) is (name == "leaf.pem")


def test_the_answer_lints_clean(folder: Path) -> None:
    for serial in (LEAF.serial_number, OTHER.serial_number, 4711):
        (folder / "a.der").write_bytes(answer_ocsp(request(ISSUING, serial), [ISSUING], known, NOW))
        assert lint(folder, "lint_ocsp_response", "a.der").strip() == ""


def request(authority: Authority, serial: int, nonce: bytes | None = None) -> bytes:
    some = authority.issue_device("some-device", KEY, now=NOW)
    made = ocsp.OCSPRequestBuilder().add_certificate(some, authority.certificate, hashes.SHA256()).build()
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        made.issuer_name_hash, made.issuer_key_hash, serial, hashes.SHA256()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def answer(der: bytes) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(answer_ocsp(der, [OLDER, ISSUING], known, NOW))


def test_a_certificate_that_was_never_issued_is_unknown() -> None:
    assert answer(request(ISSUING, 4711)).certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_the_authority_that_issued_signs_the_answer() -> None:
    read = answer(request(OLDER, LEAF.serial_number))
    assert read.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    digest = OLDER.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert read.responder_key_hash == digest


def test_another_authoritys_certificate_is_not_ours_to_answer_for() -> None:
    stranger = Authority.create_root("lockgate root CA 1", now=NOW).create_issuing("lockgate issuing CA 1", now=NOW)
    assert answer(request(stranger, LEAF.serial_number)).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize("der", [b"", b"rubbish", b"\x30\x80", b"\x30" * 20_000])
def test_what_cannot_be_read_is_malformed(der: bytes) -> None:
    assert answer(der).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_a_request_about_two_certificates_is_malformed(folder: Path) -> None:
    run(folder, "openssl", "ocsp", "-issuer", "issuing.pem", "-cert", "leaf.pem", "-cert", "other.pem",
        "-reqout", "q.der")  # fmt: skip
    assert answer((folder / "q.der").read_bytes()).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize(("length", "is_answered"), [(1, True), (128, True), (129, False), (4000, False)])
def test_a_nonce_comes_back_unless_it_is_too_long(length: int, is_answered: bool) -> None:
    read = answer(request(ISSUING, OTHER.serial_number, b"n" * length))
    assert (read.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL) is is_answered
    if is_answered:
        assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * length


def test_a_staple_is_good_for_a_day_or_as_long_as_it_is_told() -> None:
    read = ocsp.load_der_ocsp_response(make_staple(ISSUING, OTHER, Known.GOOD, NOW))
    assert read.serial_number == OTHER.serial_number
    assert read.next_update_utc == datetime.fromtimestamp(NOW + DAY_SECONDS, UTC)
    read = ocsp.load_der_ocsp_response(make_staple(ISSUING, LEAF, COMPROMISED, NOW, 60))
    assert read.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert read.revocation_time_utc == datetime.fromtimestamp(NOW - 60, UTC)
