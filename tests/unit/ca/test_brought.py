"""Certificates that devices bring: taken when the gate would believe them now, else refused with what mends it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from lockgate.ca.brought import check_brought
from lockgate.ca.desk import Desk
from lockgate.ca.rotation import distrust_foreign, trust_foreign
from lockgate.errors import InvalidSettings
from lockgate.home import Home
from lockgate.pki.authority import Authority as OwnAuthority
from lockgate.pki.certificates import certificate_thumbprint, generate_key
from lockgate.pki.revocation import RevokedCertificate, build_crl, crls_to_pem
from tests.support.certificates import Authority, pem

NOW = time.time()
PLANT = Authority("Plant CA")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", ["hub.example"], now=NOW, actor="a test")


def trusts(home: Home, authority: x509.Certificate, crl: bytes | None = None) -> None:
    with home.registry() as registry:
        trust_foreign(Desk(home, registry, "a test"), pem(authority), crl, NOW)


def with_extension(value: x509.ExtensionType) -> str:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(PLANT.certificate.subject)
        .public_key(PLANT.issue().key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(PLANT.certificate.not_valid_before_utc)
        .not_valid_after(PLANT.certificate.not_valid_after_utc)
    )
    return pem(builder.add_extension(value, critical=True).sign(PLANT.key, hashes.SHA256())).decode()


def usage(*, digital_signature: bool) -> x509.KeyUsage:
    others = ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
    return x509.KeyUsage(
        digital_signature=digital_signature, key_encipherment=not digital_signature, encipher_only=False,
        decipher_only=False, **dict.fromkeys(others, False),
    )  # fmt: skip


def test_one_of_a_foreign_ca_is_taken_while_that_is_trusted(home: Home) -> None:
    text = PLANT.issue("sensor").certificate_pem.decode()
    with pytest.raises(InvalidSettings, match="does not lead to a CA that the hub trusts") as caught:
        check_brought(home, "sensor", text, NOW)
    assert caught.value.fix
    assert caught.value.fix.startswith("lockgate ca trust CA.pem, with the certificate of CN=Plant CA")
    trusts(home, PLANT.certificate)
    assert check_brought(home, "sensor", text, NOW) == text
    with home.registry() as registry:
        beginning = certificate_thumbprint(PLANT.certificate)[:16]
        distrust_foreign(Desk(home, registry, "a test"), beginning, NOW)
    with pytest.raises(InvalidSettings, match="does not lead to"):
        check_brought(home, "sensor", text, NOW)


def test_one_of_our_own_ca_is_taken(home: Home) -> None:
    key = generate_key("ec").public_key()
    text = home.authority().chain_pem(home.authority().issue_device("sensor", key, now=NOW)).decode()
    assert check_brought(home, "sensor", text, NOW) == text
    with pytest.raises(InvalidSettings, match="names the device sensor, not lamp"):
        check_brought(home, "lamp", text, NOW)


def test_what_is_between_it_and_the_ca_comes_along(home: Home) -> None:
    between = Authority("Line 3", PLANT)
    issued = between.issue("sensor")
    trusts(home, PLANT.certificate)
    assert check_brought(home, "sensor", issued.certificate_pem.decode(), NOW)
    with pytest.raises(InvalidSettings) as caught:
        check_brought(home, "sensor", pem(issued.certificate).decode(), NOW)
    assert "CN=Line 3" in str(caught.value.fix)


def test_another_ca_of_the_trusted_ones_name_proves_nothing(home: Home) -> None:
    trusts(home, PLANT.certificate)
    with pytest.raises(InvalidSettings, match="does not lead to"):
        check_brought(home, "sensor", pem(Authority("Plant CA").issue("sensor").certificate).decode(), NOW)


def test_what_a_handshake_would_refuse_is_refused_before(home: Home) -> None:
    trusts(home, PLANT.certificate)
    issued = PLANT.issue("sensor")
    for text, words in (
        ("nothing", "expected one or more certificates"),
        (issued.certificate_pem.decode() + issued.key_pem.decode(), "holds a private key"),
        (PLANT.issue_expired().certificate_pem.decode(), "has expired"),
        (PLANT.issue_future().certificate_pem.decode(), "not valid before"),
        (PLANT.issue("sensor", purpose="server").certificate_pem.decode(), "lacks clientAuth"),
        (with_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])), "lacks clientAuth"),
        (with_extension(usage(digital_signature=False)), "lacks digitalSignature"),
        (with_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:lockgate:device:a/b")])),
         "one that no device can be called"),
    ):  # fmt: skip
        with pytest.raises(InvalidSettings, match=words) as caught:
            check_brought(home, "sensor", text, NOW)
        assert caught.value.fix


def test_one_that_says_nothing_of_its_use_is_taken(home: Home) -> None:
    trusts(home, PLANT.certificate)
    for value in (x509.BasicConstraints(ca=False, path_length=None), usage(digital_signature=True)):
        assert check_brought(home, "sensor", with_extension(value), NOW)


def test_one_that_its_ca_has_revoked_is_refused(home: Home) -> None:
    plant = OwnAuthority.create_root("Plant CA", now=NOW)
    leaf = plant.issue_device("sensor", generate_key("ec").public_key(), now=NOW)
    crl = crls_to_pem([build_crl(plant, [RevokedCertificate(leaf.serial_number, NOW)], 1, NOW)])
    trusts(home, plant.certificate)
    assert check_brought(home, "sensor", pem(leaf).decode(), NOW)
    trusts(home, plant.certificate, crl)
    with pytest.raises(InvalidSettings, match="its CA has revoked"):
        check_brought(home, "sensor", pem(leaf).decode(), NOW)
