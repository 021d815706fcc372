"""A certificate as the registry writes it down."""

from __future__ import annotations

from cryptography import x509

from lockgate.pki.certificates import certificate_thumbprint, certificates_to_pem
from lockgate.store.certificates import IssuedCertificate


def issued(
    certificate: x509.Certificate, issuer: x509.Certificate, subject: str, now: float | None = None
) -> IssuedCertificate:
    """Give the record of a certificate that `issuer` signed for `subject` ("device:NAME", "server", "authority").

    `now` is when, in unix seconds; without it the beginning of the certificate counts.
    """
    return IssuedCertificate(
        certificate_thumbprint(issuer),
        certificate.serial_number,
        subject,
        certificate_thumbprint(certificate),
        certificates_to_pem(certificate).decode(),
        certificate.not_valid_before_utc.timestamp() if now is None else now,
        certificate.not_valid_after_utc.timestamp(),
    )
