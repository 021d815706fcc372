"""The authority's certificates hold what RFC 5280 asks, and OpenSSL's strict verification agrees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lockgate.errors import InvalidSettings
from lockgate.pki.authority import DAY_SECONDS, YEAR_SECONDS, Authority
from lockgate.pki.certificates import (
    certificates_from_pem,
    certificates_to_pem,
    device_name_of,
    generate_key,
    names_of,
)

NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.create_root(now=NOW)


@pytest.fixture(scope="module")
def issuing(root: Authority) -> Authority:
    return root.create_issuing(now=NOW)


def _request(key: ec.EllipticCurvePrivateKey, common_name: str) -> x509.CertificateSigningRequest:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


def _verify(folder: Path, root: Authority, issuing: Authority, leaf: x509.Certificate, *extra: str) -> str:
    (folder / "root.pem").write_bytes(root.certificate_pem())
    (folder / "issuing.pem").write_bytes(issuing.certificate_pem())
    (folder / "leaf.pem").write_bytes(issuing.chain_pem(leaf))
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW)), "-no-CApath", "-no-CAstore",
         "-CAfile", "root.pem", "-untrusted", "issuing.pem", *extra, "leaf.pem"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_openssl_verifies_a_server_certificate_strictly(tmp_path: Path, root: Authority, issuing: Authority) -> None:
    leaf = issuing.issue_server(["hub.local", "192.0.2.7", "fd00::7"], generate_key("ec").public_key(), now=NOW)
    for name in (["-verify_hostname", "hub.local"], ["-verify_ip", "192.0.2.7"], ["-verify_ip", "fd00::7"]):
        assert _verify(tmp_path, root, issuing, leaf, "-purpose", "sslserver", *name) == "leaf.pem: OK\n"
    assert "hostname mismatch" in _verify(tmp_path, root, issuing, leaf, "-verify_hostname", "other.local")


def test_openssl_verifies_a_device_certificate_strictly_as_client_only(
    tmp_path: Path, root: Authority, issuing: Authority
) -> None:
    leaf = issuing.issue_device("sensor-1", generate_key("ec").public_key(), now=NOW)
    assert _verify(tmp_path, root, issuing, leaf, "-purpose", "sslclient") == "leaf.pem: OK\n"
    refused = _verify(tmp_path, root, issuing, leaf, "-purpose", "sslserver")
    assert "leaf.pem: OK" not in refused
    assert "purpose" in refused


def test_openssl_refuses_a_certificate_of_a_second_root_with_the_same_name(
    tmp_path: Path, root: Authority, issuing: Authority
) -> None:
    imitation = Authority.create_root(now=NOW).create_issuing(now=NOW)
    leaf = imitation.issue_device("sensor-1", generate_key("ec").public_key(), now=NOW)
    assert "leaf.pem: OK" not in _verify(tmp_path, root, issuing, leaf)


def test_root_and_issuing_certificates_have_their_shape(root: Authority, issuing: Authority) -> None:
    for authority, path_length, years in ((root, 1, 20), (issuing, 0, 10)):
        certificate = authority.certificate
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, path_length)
        assert usage.critical
        assert usage.value.key_cert_sign
        assert usage.value.crl_sign
        assert not usage.value.digital_signature
        assert certificate.not_valid_after_utc.timestamp() == NOW + years * YEAR_SECONDS
        assert certificate.not_valid_before_utc.timestamp() == NOW - 3600
    assert root.is_root
    assert not issuing.is_root
    issuing.certificate.verify_directly_issued_by(root.certificate)


def test_device_certificate_names_the_device_and_may_only_be_a_client(issuing: Authority) -> None:
    leaf = issuing.issue_device("sensor-1", generate_key("ec").public_key(), now=NOW)
    extensions = leaf.extensions
    assert device_name_of(leaf) == "sensor-1"
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    subject_key = issuing.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority_key = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority_key.key_identifier == subject_key.digest


def test_server_certificate_may_only_be_a_server_and_lists_each_name_once(issuing: Authority) -> None:
    leaf = issuing.issue_server(["Hub.Local.", "hub.local", "127.0.0.1"], generate_key("rsa").public_key(), now=NOW)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert names_of(leaf) == ("hub.local", "127.0.0.1")
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert leaf.not_valid_after_utc.timestamp() == NOW + 2 * YEAR_SECONDS


def test_a_name_too_long_for_a_common_name_stays_in_the_alternative_names(issuing: Authority) -> None:
    name = ".".join(["a" * 40] * 3)
    leaf = issuing.issue_server([name], generate_key("ec").public_key(), now=NOW)
    assert names_of(leaf) == (name,)
    assert leaf.subject.rfc4514_string() == "CN=lockgate hub"


def test_no_certificate_outlives_its_issuer() -> None:
    short = Authority.create_root(now=NOW, life_seconds=DAY_SECONDS)
    issuing = short.create_issuing(now=NOW)
    leaf = issuing.issue_device("sensor-1", generate_key("ec").public_key(), now=NOW)
    assert issuing.certificate.not_valid_after_utc == short.certificate.not_valid_after_utc
    assert leaf.not_valid_after_utc == short.certificate.not_valid_after_utc


def test_an_expired_authority_issues_nothing_and_says_since_when() -> None:
    short = Authority.create_root(now=NOW, life_seconds=DAY_SECONDS)
    with pytest.raises(InvalidSettings, match=r"expired at 2026-09-2\d .*can issue nothing more"):
        short.create_issuing(now=NOW + 2 * DAY_SECONDS)


def test_serial_numbers_are_random_and_positive(issuing: Authority) -> None:
    key = generate_key("ec").public_key()
    serials = {issuing.issue_device("sensor-1", key, now=NOW).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(0 < serial < 1 << 159 for serial in serials)  # RFC 5280 section 4.1.2.2: at most 20 octets
    assert max(serials) > 1 << 64


def test_a_certificate_request_gives_its_key_and_nothing_else(issuing: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = issuing.issue_device_for_request("sensor-1", _request(key, "somebody-else"), now=NOW)
    assert leaf.public_key() == key.public_key()
    assert device_name_of(leaf) == "sensor-1"
    assert "somebody-else" not in leaf.subject.rfc4514_string()


def test_a_certificate_request_with_a_broken_signature_is_refused(issuing: Authority) -> None:
    der = bytearray(_request(ec.generate_private_key(ec.SECP256R1()), "victim").public_bytes(Encoding.DER))
    position = bytes(der).index(b"victim")
    der[position : position + 6] = b"impost"
    with pytest.raises(InvalidSettings, match="not signed by the key that it asks a certificate for"):
        issuing.issue_device_for_request("sensor-1", x509.load_der_x509_csr(bytes(der)), now=NOW)


def test_a_weak_device_key_gets_no_certificate(issuing: Authority) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(InvalidSettings, match="at least 2048 bits, this one has 1024"):
        issuing.issue_device("sensor-1", weak.public_key(), now=NOW)


def test_an_invalid_device_name_gets_no_certificate(issuing: Authority) -> None:
    with pytest.raises(InvalidSettings, match="no valid device name"):
        issuing.issue_device("a/#", generate_key("ec").public_key(), now=NOW)


def test_a_server_certificate_without_names_is_refused(issuing: Authority) -> None:
    with pytest.raises(InvalidSettings, match="at least one host name or IP address"):
        issuing.issue_server([], generate_key("ec").public_key(), now=NOW)


def test_an_authority_comes_back_from_pem_and_signs_again(root: Authority, issuing: Authority) -> None:
    again = Authority.from_pem(issuing.certificate_pem(), issuing.key_pem())
    leaf = again.issue_device("sensor-1", generate_key("ec").public_key(), now=NOW)
    leaf.verify_directly_issued_by(issuing.certificate)
    assert certificates_from_pem(again.chain_pem(leaf)) == (leaf, issuing.certificate)
    assert certificates_from_pem(root.chain_pem(leaf)) == (leaf,)


def test_an_authority_with_a_foreign_key_is_refused(root: Authority, issuing: Authority) -> None:
    with pytest.raises(InvalidSettings, match="key does not belong to its certificate"):
        Authority.from_pem(issuing.certificate_pem(), root.key_pem())


def test_a_leaf_certificate_makes_no_authority(issuing: Authority) -> None:
    key = generate_key("ec")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    leaf = issuing.issue_device("sensor-1", key.public_key(), now=NOW)
    with pytest.raises(InvalidSettings, match="not one of a certificate authority"):
        Authority(leaf, key)


def test_the_authority_never_shows_its_key(root: Authority) -> None:
    assert repr(root) == "Authority('CN=lockgate root CA')"


# Profiles


def _lint(path: Path) -> list[str]:
    """Give what pkilint finds in a certificate beyond information."""
    tool = Path(sys.executable).parent / "lint_pkix_cert"
    done = subprocess.run([tool, "lint", "-s", "NOTICE", path], capture_output=True, text=True, check=False, timeout=60)
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("    ")]


@pytest.mark.parametrize("public_url", ["", "https://hub.example:8443"])
def test_certificates_lint_clean(tmp_path: Path, root: Authority, issuing: Authority, public_url: str) -> None:
    authority = Authority(issuing.certificate, issuing._key, public_url)
    key = generate_key("ec").public_key()
    made = {
        "root": root.certificate,
        "issuing": issuing.certificate,
        "certified": root.certify(issuing, now=NOW).certificate,
        "server": authority.issue_server(["hub.local", "192.0.2.7", "fd00::7"], key, now=NOW),
        "device": authority.issue_device("sensor-1", key, now=NOW),
    }
    found = {}
    for name, certificate in made.items():
        (tmp_path / name).write_bytes(certificates_to_pem(certificate))
        found[name] = _lint(tmp_path / name)
    # The linter's check of a URI knows URLs with a host and no URNs (RFC 8141); RFC 5280 section 4.2.1.6 asks for a
    # scheme and what belongs to it, and for a host only where there is an authority.
    assert found.pop("device") == [
        'pkix.invalid_uri_syntax (ERROR): Invalid URI syntax: "urn:lockgate:device:sensor-1"'
    ]
    assert found == {"root": [], "issuing": [], "certified": [], "server": []}


def test_device_and_server_certificates_follow_the_profile_for_constrained_devices(issuing: Authority) -> None:
    """RFC 7925 section 4.4, but for the EUI-64: a device is named by its operator."""
    key = generate_key("ec").public_key()
    for leaf, usage in (
        (issuing.issue_device("sensor-1", key, now=NOW), ExtendedKeyUsageOID.CLIENT_AUTH),
        (issuing.issue_server(["hub.local"], key, now=NOW), ExtendedKeyUsageOID.SERVER_AUTH),
    ):
        assert leaf.version is x509.Version.v3
        assert 0 < leaf.serial_number < 1 << 159  # at most 20 octets, positive
        assert leaf.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA256
        public = leaf.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert isinstance(public.curve, ec.SECP256R1)
        extensions = leaf.extensions
        key_usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert key_usage.critical
        assert key_usage.value.digital_signature
        assert not key_usage.value.key_cert_sign
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
        assert extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert len(leaf.public_bytes(Encoding.DER)) < 640  # what a small device receives and shows
        assert leaf.not_valid_after_utc <= issuing.certificate.not_valid_after_utc
