"""What tells others that a certificate is no longer good: revocation lists and OCSP answers, made and signed here.

Source: RFC 5280 section 5 (lists), RFC 6960 (OCSP), RFC 9654 (nonces). Both are signed by the CA that issued the
certificates in question, with no certificate of a responder in between: the process that answers holds that key anyway,
and an answer stays short enough to be stapled. Pure: certificates, numbers and the time come from the caller; the time
at which an OCSP answer says that it was produced is the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from lockgate.pki.authority import DAY_SECONDS, Authority

CRL_LIFE_SECONDS = 7 * DAY_SECONDS
OCSP_LIFE_SECONDS = DAY_SECONDS
MAX_NONCE_BYTES = 128  # RFC 9654 section 2.1
MAX_REQUEST_BYTES = 16_384

_REASONS = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}


class RevokedCertificate(msgspec.Struct, frozen=True):
    """One line of a revocation list: times in unix seconds; `reason` is a CRLReason, 0 for one that is not told."""

    serial: int
    revoked_at: float
    reason: int = 0
    expires_at: float | None = None


class Known(Enum):
    """What the registry knows of a certificate that is not revoked."""

    GOOD = "good"
    UNKNOWN = "unknown"


Lookup = Callable[[str, int], RevokedCertificate | Known]
"""Finds a certificate by its issuer (SHA-256 of the SubjectPublicKeyInfo, in hex) and its number."""


def build_crl(
    authority: Authority,
    revoked: Iterable[RevokedCertificate],
    number: int,
    now: float,
    life_seconds: float = CRL_LIFE_SECONDS,
) -> x509.CertificateRevocationList:
    """Give the full list of an authority's revoked certificates, signed by it.

    Those that have expired are left out once a list has named them beyond their end (RFC 5280 section 3.3).

    Args:
        authority: who issued the certificates.
        revoked: each at most once.
        number: of this list, higher than that of any before.
        now: unix seconds.
        life_seconds: until the next list is due, at most.
    """
    entries = [_entry(each) for each in revoked if each.expires_at is None or each.expires_at + life_seconds > now]
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=entries)  # one by one, 50,000 of them take 4 s
        .issuer_name(authority.certificate.subject)
        .last_update(_time(now))
        .next_update(_time(now + life_seconds))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority.key_identifier(), critical=False)
    )
    return authority.sign_crl(builder)


def crls_to_pem(crls: Iterable[x509.CertificateRevocationList]) -> bytes:
    """Write revocation lists as PEM, one after the other."""
    return b"".join(crl.public_bytes(serialization.Encoding.PEM) for crl in crls)


def crl_to_der(crl: x509.CertificateRevocationList) -> bytes:
    """Write a revocation list as DER: what an address in a certificate must answer with (RFC 5280 section 4.2.1.13)."""
    return crl.public_bytes(serialization.Encoding.DER)


def answer_ocsp(
    request_der: bytes,
    responders: Sequence[Authority],
    lookup: Lookup,
    now: float,
    life_seconds: float = OCSP_LIFE_SECONDS,
) -> bytes:
    """Answer an OCSP request about one certificate, in DER; whatever came, there is an answer.

    A request that cannot be read, or asks about several certificates at once, is "malformedRequest"; one about another
    CA's certificates "unauthorized" (RFC 6960 section 2.3). The nonce of a request comes back in the answer.

    Args:
        request_der: the request as it came.
        responders: our authorities; the one that issued the certificate signs.
        lookup: what the registry knows.
        now: unix seconds.
        life_seconds: how long the answer may be kept.
    """
    if len(request_der) > MAX_REQUEST_BYTES:
        return _refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    try:
        request = ocsp.load_der_ocsp_request(request_der)
        algorithm = request.hash_algorithm
        nonce = _nonce(request)
        asked = request.issuer_name_hash, request.issuer_key_hash
    except (ValueError, NotImplementedError, UnsupportedAlgorithm):
        return _refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    for authority in responders:
        if asked == _issuer_hashes(authority.certificate, algorithm):
            status = lookup(authority.thumbprint, request.serial_number)
            builder = _answer(*asked, request.serial_number, algorithm, status, now, life_seconds)
            if nonce is not None:
                builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
            return _signed(builder, authority)
    return _refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED)


def make_staple(
    authority: Authority,
    certificate: x509.Certificate,
    status: RevokedCertificate | Known,
    now: float,
    life_seconds: float = OCSP_LIFE_SECONDS,
) -> bytes:
    """Give the OCSP answer about one of the authority's certificates that a server staples (RFC 6066 section 8)."""
    algorithm = hashes.SHA1()  # noqa: S303  (names a CA in the answer; every client knows it, and nothing rests on it)
    names = _issuer_hashes(authority.certificate, algorithm)
    builder = _answer(*names, certificate.serial_number, algorithm, status, now, life_seconds)
    return _signed(builder, authority)


def _entry(revoked: RevokedCertificate) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(revoked.serial).revocation_date(_time(revoked.revoked_at))
    reason = _REASONS.get(revoked.reason)
    if reason is not None:  # unspecified is told by saying nothing (RFC 5280 section 5.3.1)
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()


def _answer(
    name_hash: bytes,
    key_hash: bytes,
    serial: int,
    algorithm: hashes.HashAlgorithm,
    status: RevokedCertificate | Known,
    now: float,
    life_seconds: float,
) -> ocsp.OCSPResponseBuilder:
    if isinstance(status, RevokedCertificate):
        told = ocsp.OCSPCertStatus.REVOKED
    else:
        told = ocsp.OCSPCertStatus.GOOD if status is Known.GOOD else ocsp.OCSPCertStatus.UNKNOWN
    return ocsp.OCSPResponseBuilder().add_response_by_hash(
        issuer_name_hash=name_hash,
        issuer_key_hash=key_hash,
        serial_number=serial,
        algorithm=algorithm,
        cert_status=told,
        this_update=_time(now),
        next_update=_time(now + life_seconds),
        revocation_time=_time(status.revoked_at) if isinstance(status, RevokedCertificate) else None,
        revocation_reason=_REASONS.get(status.reason) if isinstance(status, RevokedCertificate) else None,
    )


def _signed(builder: ocsp.OCSPResponseBuilder, authority: Authority) -> bytes:
    return authority.sign_ocsp(builder).public_bytes(serialization.Encoding.DER)


def _issuer_hashes(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    name = hashes.Hash(algorithm)
    name.update(certificate.subject.public_bytes())
    # How a request names a key is the library's to say, and it says so in a request about the issuer itself.
    made = ocsp.OCSPRequestBuilder().add_certificate(certificate, certificate, algorithm).build()
    return name.finalize(), made.issuer_key_hash


def _nonce(request: ocsp.OCSPRequest) -> bytes | None:
    try:
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None
    if not 1 <= len(nonce) <= MAX_NONCE_BYTES:
        raise ValueError("a nonce has 1 to 128 octets")
    return nonce


def _refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(serialization.Encoding.DER)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
