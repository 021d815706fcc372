"""Certificates and requests as EST carries them."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from pyasn1.codec.der import decoder

from lockgate.errors import InvalidSettings
from lockgate.pki.authority import Authority
from lockgate.provision import est

NOW = 1_800_000_000.0
ROOT = Authority.create_root(now=NOW)
ISSUING = ROOT.create_issuing("issuing", now=NOW)
KEY = ec.generate_private_key(ec.SECP256R1())


def request(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey = KEY,
) -> x509.CertificateSigningRequest:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor")])
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())


def test_certificates_come_back_as_they_went() -> None:
    sent = est.encode_certificates([ROOT.certificate, ISSUING.certificate])
    assert all(len(line) <= 76 for line in sent.splitlines())
    assert set(est.decode_certificates(sent)) == {ROOT.certificate, ISSUING.certificate}


@pytest.mark.parametrize("body", [b"", b"!", b"AAAA", "é".encode()])
def test_what_holds_no_certificates_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidSettings, match="no certificates"):
        est.decode_certificates(body)


def test_a_request_comes_back_as_it_went_in_any_dress() -> None:
    sent = request()
    der = sent.public_bytes(Encoding.DER)
    bodies = (
        est.encode_request(sent),
        base64.b64encode(der),
        b" \r\n" + base64.encodebytes(der),
        b"\n" + sent.public_bytes(Encoding.PEM),
    )
    assert [est.decode_request(body) for body in bodies] == [sent] * 4


@pytest.mark.parametrize("body", [b"", b"x", b"{}", request().public_bytes(Encoding.DER), b"-----BEGIN NOTHING-----"])
def test_what_is_no_request_is_refused_with_how_to_make_one(body: bytes) -> None:
    with pytest.raises(InvalidSettings) as caught:
        est.decode_request(body)
    assert caught.value.reason == "not a certificate request"
    assert "openssl req" in caught.value.fix


def test_a_request_signed_by_another_key_proves_nothing() -> None:
    der = bytearray(request().public_bytes(Encoding.DER))
    mine, other = KEY.public_key(), ec.generate_private_key(ec.SECP256R1()).public_key()
    points = [key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for key in (mine, other)]
    with pytest.raises(InvalidSettings) as caught:
        est.decode_request(base64.b64encode(bytes(der).replace(points[0], points[1])))
    assert caught.value.reason == "no proof of possession"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (rsa.generate_private_key(65_537, 1024), "at least 2048 bits"),
        (rsa.generate_private_key(3, 2048), "exponent"),
        (ec.generate_private_key(ec.SECP256K1()), "P-256"),
        (ec.derive_private_key(1, ec.SECP256R1()), "is published"),
        (dsa.generate_private_key(2048), "elliptic-curve, RSA or Ed25519"),
    ],
    ids=["short", "exponent", "curve", "published", "dsa"],
)
def test_a_weak_key_is_refused_with_the_reason(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey, why: str
) -> None:
    with pytest.raises(InvalidSettings, match=why) as caught:
        est.decode_request(est.encode_request(request(key)))
    assert why in caught.value.reason, "the device is told"


def test_the_attributes_name_the_curve_and_the_hash() -> None:
    found, rest = decoder.decode(base64.b64decode(est.attributes()))
    assert rest == b""
    assert [str(found[0][0]), str(found[0][1][0]), str(found[1])] == [
        "1.2.840.10045.2.1",
        "1.2.840.10045.3.1.7",
        "1.2.840.10045.4.3.2",
    ]
