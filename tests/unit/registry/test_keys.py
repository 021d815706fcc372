"""Credentials as they are handed in: right kind, strong enough, not expired."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import NameOID

from lockgate.errors import InvalidSettings
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.mosquitto_hash import MosquittoHash
from lockgate.model.scram import ScramVerifier
from lockgate.registry.keys import algorithm_of, check_credential
from tests.unit.model.test_mosquitto_hash import ONCE

NOW = datetime(2030, 1, 1, tzinfo=UTC)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA_2048 = rsa.generate_private_key(65_537, 2048)
RSA_1024 = rsa.generate_private_key(65_537, 1024)


def pem(key: PublicKeyTypes) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, spki).decode()


def thumbprint(key: PublicKeyTypes) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, spki)).hexdigest()


def certificate(
    key: CertificateIssuerPrivateKeyTypes, device: str = "dev", until: datetime = NOW + timedelta(days=30)
) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, until - timedelta(days=60), until)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:lockgate:device:{device}")])
    made = builder.add_extension(names, False).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def check(kind: CredentialKind, public: str, expires_at: float | None = None) -> Credential:
    return check_credential("dev", Credential(0, "dev", kind, public, expires_at=expires_at), NOW.timestamp())


@pytest.mark.parametrize(
    ("kind", "key"), [(CredentialKind.JWT_ES256, P256.public_key()), (CredentialKind.JWT_RS256, RSA_2048.public_key())]
)
def test_a_good_key_is_kept_with_its_thumbprint(kind: CredentialKind, key: PublicKeyTypes) -> None:
    kept = check(kind, "text around it\n" + pem(key))
    assert kept == Credential(0, "dev", kind, pem(key), thumbprint(key), NOW.timestamp())


def test_a_certificate_is_kept_with_the_thumbprint_of_its_key_and_its_end() -> None:
    kept = check(CredentialKind.X509, certificate(P256))
    assert (kept.thumbprint, kept.expires_at) == (
        thumbprint(P256.public_key()),
        (NOW + timedelta(days=30)).timestamp(),
    )


def test_the_earlier_end_counts() -> None:
    sooner = NOW.timestamp() + 5
    assert check(CredentialKind.X509, certificate(P256), sooner).expires_at == sooner


@pytest.mark.parametrize(
    ("kind", "public", "word"),
    [
        (CredentialKind.JWT_ES256, pem(P384.public_key()), "secp384r1"),
        (CredentialKind.JWT_ES256, pem(RSA_2048.public_key()), "an RSA key"),
        (CredentialKind.JWT_RS256, pem(P256.public_key()), "secp256r1"),
        (CredentialKind.JWT_RS256, pem(RSA_1024.public_key()), "2048 bits"),
        (CredentialKind.X509, certificate(RSA_1024), "2048 bits"),
        (CredentialKind.JWT_ES256, "no key", "PEM"),
        (CredentialKind.X509, pem(P256.public_key()), "certificates in PEM"),
        (CredentialKind.X509, certificate(P256, until=NOW - timedelta(seconds=1)), "expired"),
        (CredentialKind.X509, certificate(P256, device="other"), "names the device other"),
        (CredentialKind.PASSWORD, "hunter2", "argon2id"),
        (CredentialKind.SCRAM_SHA_256, "hunter2", "SCRAM verifier"),
    ],
)
def test_a_credential_that_cannot_be_used_is_refused_with_its_fix(kind: CredentialKind, public: str, word: str) -> None:
    with pytest.raises(InvalidSettings, match=word) as caught:
        check(kind, public)
    assert caught.value.fix


def test_a_scram_verifier_is_kept_as_it_is() -> None:
    kept = ScramVerifier(b"s" * 16, 4096, b"a" * 32, b"b" * 32).to_text()
    assert check(CredentialKind.SCRAM_SHA_256, kept).public == kept
    assert check(CredentialKind.SCRAM_SHA_256, kept).thumbprint == ""


@pytest.mark.parametrize("kind", [CredentialKind.PASSWORD, CredentialKind.SCRAM_SHA_256])
def test_a_password_handed_in_by_mistake_is_not_repeated(kind: CredentialKind) -> None:
    with pytest.raises(InvalidSettings) as caught:
        check(kind, "hunter2")
    assert "hunter2" not in str(caught.value) + caught.value.fix


def test_a_private_key_is_not_taken_for_a_public_one_and_not_repeated() -> None:
    private = P256.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with pytest.raises(InvalidSettings) as caught:
        check(CredentialKind.JWT_ES256, private)
    assert private.splitlines()[1] not in str(caught.value) + caught.value.fix


def test_what_a_registered_credential_is_made_of() -> None:
    assert algorithm_of(Credential(1, "d", CredentialKind.PASSWORD, "$argon2id$")) == "argon2id"
    assert algorithm_of(Credential(1, "d", CredentialKind.JWT_ES256, "no key")) == "unreadable"
    assert algorithm_of(Credential(1, "d", CredentialKind.X509, "no certificate")) == "unreadable"


def test_a_hash_of_mosquitto_is_kept_as_it_is_and_said_to_be_one() -> None:
    held = MosquittoHash.from_text(ONCE)
    credential = check_credential("d", Credential(0, "d", CredentialKind.PASSWORD, held.text), NOW.timestamp())
    assert (credential.public, credential.thumbprint) == (held.text, "")
    assert algorithm_of(credential) == "mosquitto's SHA-512"
    with pytest.raises(InvalidSettings):
        check_credential("d", Credential(0, "d", CredentialKind.PASSWORD, "$mosquitto$6$x"), NOW.timestamp())
