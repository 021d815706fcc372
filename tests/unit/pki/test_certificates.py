"""Keys, names and thumbprints: what goes out as PEM comes back, and what is weak or foreign is refused in words."""

from __future__ import annotations

import hashlib
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidSettings
from lockgate.model.device import RESERVED_NAMES
from lockgate.pki import certificates as pki
from lockgate.pki.authority import Authority

NOW = 1_790_000_000.0


def _certificate(*uris: str, common_name: str = "sensor-1") -> x509.Certificate:
    """Make a self-signed certificate as a stranger might show it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    root = Authority.create_root(now=NOW).certificate
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(root.not_valid_before_utc).not_valid_after(root.not_valid_after_utc)
    )  # fmt: skip
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


def _is_free(name: str) -> bool:
    return name.lower() not in RESERVED_NAMES


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_private_key_comes_back_from_pem(kind: Literal["ec", "rsa"]) -> None:
    key = pki.generate_key(kind)
    pem = pki.private_key_to_pem(key)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert pki.private_key_from_pem(pem).public_key() == key.public_key()
    assert pki.public_key_from_pem(pki.public_key_to_pem(key.public_key())) == key.public_key()


def test_generated_keys_are_p256_and_rsa_3072() -> None:
    elliptic, rsa_key = pki.generate_key("ec"), pki.generate_key("rsa")
    assert isinstance(elliptic, ec.EllipticCurvePrivateKey)
    assert elliptic.curve.name == "secp256r1"
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert rsa_key.key_size == 3072


def test_an_encrypted_private_key_is_refused_in_words() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(InvalidSettings, match="found one that needs a password"):
        pki.private_key_from_pem(pem)


@given(st.binary(max_size=200))
def test_anything_that_is_no_pem_is_refused_in_words(text: bytes) -> None:
    for read in (pki.private_key_from_pem, pki.public_key_from_pem, pki.certificates_from_pem):
        with pytest.raises(InvalidSettings, match="found something else"):
            read(text)


def test_weak_and_foreign_public_keys_are_refused_with_the_reason() -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    small = rsa.generate_private_key(public_exponent=3, key_size=2048).public_key()
    curve = ec.generate_private_key(ec.SECP256K1()).public_key()
    foreign = dsa.generate_private_key(key_size=2048).public_key()
    for key, reason in (
        (short, "at least 2048 bits, this one has 1024"),
        (small, "exponent of at least 65537, this one has 3"),
        (curve, "P-256, P-384 or P-521, not on secp256k1"),
        (foreign, "elliptic-curve, RSA or Ed25519"),
    ):
        with pytest.raises(InvalidSettings, match=reason):
            pki.check_public_key(key)


def test_an_ed25519_key_is_accepted() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    assert pki.check_public_key(key.public_key()) == key.public_key()
    assert isinstance(pki.private_key_from_pem(pki.private_key_to_pem(key)), ed25519.Ed25519PrivateKey)


def test_the_thumbprint_of_a_key_and_of_its_certificate_are_the_same() -> None:
    key = pki.generate_key("ec").public_key()
    leaf = Authority.create_root(now=NOW).issue_device("sensor-1", key, now=NOW)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert pki.spki_thumbprint(key) == hashlib.sha256(der).hexdigest() == pki.certificate_thumbprint(leaf)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True).filter(_is_free))
def test_every_valid_device_name_comes_back_from_its_certificate(name: str) -> None:
    leaf = _AUTHORITY.issue_device(name, _KEY, now=NOW)
    assert pki.device_name_of(leaf) == name


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("urn:other:device:sensor-1",),
        ("urn:lockgate:device:",),
        ("urn:lockgate:device:a/b",),
        ("urn:lockgate:device:hub",),
        ("urn:lockgate:device:one", "urn:lockgate:device:two"),
    ],
)
def test_a_certificate_without_exactly_one_valid_device_name_names_nobody(uris: tuple[str, ...]) -> None:
    assert pki.device_name_of(_certificate(*uris)) is None


def test_the_common_name_alone_never_names_a_device() -> None:
    assert pki.device_name_of(_certificate(common_name="sensor-1")) is None


def test_describe_says_who_by_whom_until_when() -> None:
    issuing = Authority.create_root(now=NOW).create_issuing(now=NOW)
    device = pki.describe(issuing.issue_device("sensor-1", _KEY, now=NOW))
    assert device.startswith("device sensor-1, issued by lockgate issuing CA, valid until 2036-")
    server = pki.describe(issuing.issue_server(["hub.local", "192.0.2.1"], _KEY, now=NOW))
    assert server.startswith("hub.local, 192.0.2.1, issued by lockgate issuing CA, valid until 20")


def test_describe_never_lets_a_foreign_name_break_the_line() -> None:
    assert "\n" not in pki.describe(_certificate(common_name="x\nfake log line"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("HUB.example.", "hub.example"),
        ("raspberry_pi", "raspberry_pi"),
        ("192.168.1.10", "192.168.1.10"),
        ("FD00::0:7", "fd00::7"),
    ],
)
def test_host_names_and_addresses_become_alternative_names(text: str, value: str) -> None:
    assert str(pki.general_name(text).value) == value


@pytest.mark.parametrize(
    "text",
    ["", "*.example", "hub example", "-hub", "hub..local", "https://hub", "hub:8883", "300.1.1.1", "bücher", "a" * 64],
)
def test_what_is_no_host_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"no host name or IP address: expected something like hub\.example"):
        pki.general_name(text)


def test_an_address_with_a_scope_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="leave out '%eth0'"):
        pki.general_name("fe80::1%eth0")


_AUTHORITY = Authority.create_root(now=NOW)
_KEY = pki.generate_key("ec").public_key()


def test_a_certificate_claims_a_device_also_when_it_names_none_rightly() -> None:
    for uri in ("urn:lockgate:device:a", "urn:lockgate:device:a/b", "URN:Lockgate:Device:a"):
        assert pki.claims_device(_certificate(uri))
    assert not pki.claims_device(_certificate("https://plant.example/SN-1"))
    assert not pki.claims_device(_certificate(common_name="sensor-1"))
