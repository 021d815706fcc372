"""Enrolment over Secure Transport, the forms of it: certificates and requests as EST carries them, without I/O.

Everything travels as base64 of DER (RFC 7030 section 4, with RFC 8951's clarifications: no header for the encoding,
line ends as the sender likes). Certificates come in a degenerate PKCS #7 that holds nothing else, "certs-only"
(RFC 5652 section 5.2.1).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from lockgate.errors import InvalidSettings, Step
from lockgate.pki.certificates import PrivateKey, PublicKey, check_public_key, spki_thumbprint
from lockgate.registry.weaknesses import check_weaknesses

CERTIFICATES_TYPE = "application/pkcs7-mime"
CERTS_ONLY_TYPE = "application/pkcs7-mime; smime-type=certs-only"
REQUEST_TYPE = "application/pkcs10"
ATTRIBUTES_TYPE = "application/csrattrs"

_MAKE = "openssl req -new -key device.key -subj /CN=NAME -outform DER | openssl base64"
_LINE = 76
MAX_REASON_CHARACTERS = 200
"""A reason goes into an answer's header line; what is said of a key may quote a number as long as the key."""
# ecPublicKey on P-256, and ecdsa-with-SHA256: what a device that can choose should make (RFC 7030 section 4.5.2).
# SEQUENCE { SEQUENCE { OID 1.2.840.10045.2.1, SET { OID 1.2.840.10045.3.1.7 } }, OID 1.2.840.10045.4.3.2 }
_ATTRIBUTES = bytes.fromhex("3021301506072a8648ce3d0201310a06082a8648ce3d03010706082a8648ce3d040302")


def encode_certificates(certificates: Sequence[x509.Certificate]) -> bytes:
    """Give certificates as EST's answers carry them: base64 of a certs-only PKCS #7."""
    return _base64(pkcs7.serialize_certificates(list(certificates), Encoding.DER))


def decode_certificates(body: bytes) -> list[x509.Certificate]:
    """Read what `encode_certificates`, or another EST server, has written; the order is not told (it is a set).

    Raises:
        InvalidSettings: when it is no base64, or no PKCS #7 with certificates.
    """
    try:
        found = pkcs7.load_der_pkcs7_certificates(_from_base64(body))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSettings("the hub's answer holds no certificates in PKCS #7 form") from error
    return list(found)


def make_request(name: str, key: PrivateKey) -> x509.CertificateSigningRequest:
    """Give a certificate request for the device `name`, signed by its own key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)


def encode_request(request: x509.CertificateSigningRequest) -> bytes:
    """Give a certificate request as EST carries it."""
    return _base64(request.public_bytes(Encoding.DER))


def decode_request(body: bytes) -> x509.CertificateSigningRequest:
    """Read a certificate request (RFC 2986), in base64 or, as people send it too, in PEM.

    The proof of possession is checked here: the request is signed by the key that it asks a certificate for.

    Raises:
        InvalidSettings: when it is none, its key is weak or of a kind that is not used, or it is not signed by it.
    """
    fix = f"make it with: {_MAKE}"
    try:
        if body.lstrip().startswith(b"-----BEGIN"):
            request = x509.load_pem_x509_csr(body)
        else:
            request = x509.load_der_x509_csr(_from_base64(body))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSettings(
            "the body is no certificate request (PKCS #10, DER in base64)", reason="not a certificate request", fix=fix,
            step=Step.PROTOCOL,
        ) from error  # fmt: skip
    try:
        request_key(request)
        is_signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSettings(
            "the certificate request is signed in a way, or for a key, that is not used here",
            reason="certificate request not usable", fix=fix, step=Step.CREDENTIAL,
        ) from error  # fmt: skip
    if not is_signed:
        raise InvalidSettings(
            "the certificate request is not signed by the key that it asks a certificate for",
            reason="no proof of possession", fix="sign the request with the device's own private key: " + _MAKE,
            step=Step.CREDENTIAL,
        )  # fmt: skip
    return request


def request_key(request: x509.CertificateSigningRequest) -> PublicKey:
    """Give the key of a request, checked for its strength and for known weaknesses.

    Raises:
        InvalidSettings: when it is weak, or of a kind that lockgate does not use.
    """
    try:
        key = check_public_key(request.public_key())
        check_weaknesses(key, spki_thumbprint(key))
        return key
    except InvalidSettings as error:
        raise InvalidSettings(
            str(error),
            reason=f"key refused: {error}"[:200],
            step=Step.CREDENTIAL,
            fix="make a key on P-256: openssl ecparam -name prime256v1 -genkey -noout -out device.key",
        ) from error


def attributes() -> bytes:
    """Give what a device should put into its request: a key on P-256, signed with SHA-256 (RFC 7030 section 4.5)."""
    return _base64(_ATTRIBUTES)


def _base64(data: bytes) -> bytes:
    text = base64.b64encode(data)
    return b"".join(text[at : at + _LINE] + b"\r\n" for at in range(0, len(text), _LINE))


def _from_base64(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
