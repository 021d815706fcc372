"""Credentials as they are handed in: right kind, strong enough, not expired."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto.keys import PublicKeyInfo, RSAPublicKey  # type: ignore[import-untyped]
from asn1crypto.pem import armor  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import NameOID

from lockgate.errors import InvalidSettings
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.mosquitto_hash import MosquittoHash
from lockgate.model.scram import ScramVerifier
from lockgate.pki.certificates import spki_thumbprint
from lockgate.registry.keys import algorithm_of, check_credential
from lockgate.registry.shared_secrets import bound_to
from lockgate.registry.vault import SECRETS_FILE, Vault
from tests.unit.model.test_mosquitto_hash import ONCE

NOW = datetime(2030, 1, 1, tzinfo=UTC)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA_2048 = rsa.generate_private_key(65_537, 2048)
RSA_1024 = rsa.generate_private_key(65_537, 1024)

RANDOM = "9f1c05b7e2d84a63b0f5de7713a84c2f96e1d0588a3b47c6f2019be47d5530aa"


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


def self_signed(key: CertificateIssuerPrivateKeyTypes, begin: datetime, until: datetime) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "unused")])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(until)
        .sign(key, digest)
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


ED25519 = ed25519.Ed25519PrivateKey.generate()
DAY = timedelta(days=1)


@pytest.mark.requirement("I5")
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (CredentialKind.JWT_RS256, RSA_2048),
        (CredentialKind.JWT_ES256, P256),
        (CredentialKind.JWT_EDDSA, ED25519),
    ],
)
def test_a_tokens_key_is_taken_alone_or_in_a_certificate_and_ends_with_it(
    kind: CredentialKind, key: CertificateIssuerPrivateKeyTypes
) -> None:
    # RSA_PEM and RSA_X509_PEM, ES256_PEM and ES256_X509_PEM, and the same for Ed25519.
    bare = check_credential("dev", Credential(0, "", kind, pem(key.public_key())), NOW.timestamp())
    wrapped = check_credential("dev", Credential(0, "", kind, self_signed(key, NOW, NOW + DAY)), NOW.timestamp())
    assert (bare.public, bare.thumbprint) == (wrapped.public, wrapped.thumbprint)
    assert (bare.expires_at, wrapped.expires_at) == (None, (NOW + DAY).timestamp())
    assert algorithm_of(bare) in ("RSA-2048", "P-256", "Ed25519")


@pytest.mark.parametrize("kind", [CredentialKind.JWT_ES256, CredentialKind.X509])
@pytest.mark.parametrize(
    ("begin", "until", "why"),
    [(NOW + DAY, NOW + 2 * DAY, "not valid before 2030-01-02"), (NOW - 2 * DAY, NOW - DAY, "expired on 2029-12-31")],
)
def test_a_certificate_before_or_after_its_time_is_refused(
    kind: CredentialKind, begin: datetime, until: datetime, why: str
) -> None:
    with pytest.raises(InvalidSettings, match=why) as caught:
        check_credential("dev", Credential(0, "", kind, self_signed(P256, begin, until)), NOW.timestamp())
    assert caught.value.fix


def test_a_weak_key_is_refused_in_every_form() -> None:
    known = ec.derive_private_key(1, ec.SECP256R1())
    for kind, text in (
        (CredentialKind.JWT_ES256, pem(known.public_key())),
        (CredentialKind.JWT_ES256, self_signed(known, NOW, NOW + DAY)),
        (CredentialKind.X509, self_signed(known, NOW, NOW + DAY)),
    ):
        with pytest.raises(InvalidSettings, match="is published"):
            check_credential("dev", Credential(0, "", kind, text), NOW.timestamp())


def test_a_private_key_is_refused_and_never_repeated() -> None:
    secret = P256.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with pytest.raises(InvalidSettings, match="this is a private key") as caught:
        check_credential("dev", Credential(0, "", CredentialKind.JWT_ES256, secret), NOW.timestamp())
    assert secret.splitlines()[1] not in str(caught.value) + caught.value.fix


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 17, 65_536, 65_538])
def test_an_rsa_key_with_a_small_or_even_exponent_is_refused(exponent: int) -> None:
    inside = RSAPublicKey({"modulus": RSA_2048.public_key().public_numbers().n, "public_exponent": exponent})
    text = armor("PUBLIC KEY", PublicKeyInfo.wrap(inside, "rsa").dump()).decode()
    with pytest.raises(InvalidSettings, match="expon") as caught:
        check_credential("dev", Credential(0, "", CredentialKind.JWT_RS256, text), NOW.timestamp())
    assert caught.value.fix


@pytest.mark.parametrize("point", [b"\x00", b"\x04" + bytes(63) + b"\x01", b"\x04" + b"\xff" * 64])
def test_what_is_no_point_of_the_curve_is_refused(point: bytes) -> None:
    head = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    inside = head + bytes([3, len(point) + 1, 0]) + point
    text = armor("PUBLIC KEY", bytes([0x30, len(inside)]) + inside).decode()
    with pytest.raises(InvalidSettings, match="no point of its curve") as caught:
        check_credential("dev", Credential(0, "", CredentialKind.JWT_ES256, text), NOW.timestamp())
    assert caught.value.fix


def test_an_ed25519_kind_wants_an_ed25519_key() -> None:
    with pytest.raises(InvalidSettings, match="jwt-eddsa needs an Ed25519 key; dev came with an RSA key"):
        check_credential("dev", Credential(0, "", CredentialKind.JWT_EDDSA, pem(RSA_2048.public_key())), 0.0)


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


def of_kind(kind: CredentialKind, public: str, vault: Vault | None = None) -> Credential:
    return check_credential("dev", Credential(0, "dev", kind, public), NOW.timestamp(), vault)


@pytest.mark.parametrize(
    ("kind", "secret", "public", "handle", "algorithm"),
    [
        (CredentialKind.PSK, bytes.fromhex(RANDOM), f"dev:{RANDOM}", "psk-dev", "shared key"),
        (
            CredentialKind.OSCORE, b"\x5e" * 16 + b"\x5a" * 8, f"a1b2:{'5e' * 16}:{'5a' * 8}", "oscore-a1b2",
            "AES-CCM-16-64-128",
        ),
    ],
)  # fmt: skip
def test_what_a_device_shares_with_the_hub_is_kept_sealed(
    tmp_path: Path, kind: CredentialKind, secret: bytes, public: str, handle: str, algorithm: str
) -> None:
    vault = Vault(tmp_path / SECRETS_FILE)
    kept = of_kind(kind, public, vault)
    assert (kept.thumbprint, algorithm_of(kept)) == (handle, algorithm)
    assert secret.hex() not in kept.public
    assert vault.open(kept.public, bound_to(kept)) == secret


@pytest.mark.parametrize("kind", [CredentialKind.PSK, CredentialKind.OSCORE])
def test_without_a_vault_no_secret_is_registered(kind: CredentialKind) -> None:
    public = f"dev:{RANDOM}" if kind is CredentialKind.PSK else f"a1b2:{'5e' * 16}:{'5a' * 8}"
    with pytest.raises(InvalidSettings, match="where it can be sealed"):
        of_kind(kind, public)


def test_a_raw_public_key_is_on_p256_and_found_by_its_thumbprint() -> None:
    kept = of_kind(CredentialKind.RPK, pem(P256.public_key()))
    assert (kept.thumbprint, algorithm_of(kept)) == (spki_thumbprint(P256.public_key()), "P-256")
    with pytest.raises(InvalidSettings, match="rpk needs a key on P-256"):
        of_kind(CredentialKind.RPK, pem(ed25519.Ed25519PrivateKey.generate().public_key()))


def test_a_device_without_protection_is_an_address() -> None:
    kept = of_kind(CredentialKind.NOSEC, "::ffff:192.0.2.7")
    assert (kept.public, kept.thumbprint, algorithm_of(kept)) == ("192.0.2.7", "address-192.0.2.7", "nothing")
    for text in ("0.0.0.0", "::", "224.0.1.187", "ff02::fd", "kitchen", "192.0.2.0/24"):
        with pytest.raises(InvalidSettings):
            of_kind(CredentialKind.NOSEC, text)
