"""Identity by client certificate: TLS has proven the private key and the chain; here the key finds its device.

The registry knows a device by its public key (the SHA-256 of the SubjectPublicKeyInfo), never by a name that a
certificate merely carries. One of our CA names its device all the same, and must name the right one; one of a foreign
CA may name nobody, when it was registered so. Source: RFC 5280, RFC 7925 section 4.4.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from lockgate.errors import AuthenticationFailed, InvalidSettings
from lockgate.identity.credentials import DeviceSource
from lockgate.model.device import Credential, CredentialKind
from lockgate.pki.certificates import certificate_thumbprint, certificates_from_pem, claims_device, device_name_of

_REGISTER = "lockgate device add NAME --auth x509 --certificate FILE"
MAX_REMEMBERED = 16_384
"""Certificates whose words are remembered: half a kilobyte each."""


class _Words(NamedTuple):
    """What a certificate says, and will always say. What the registry says of it is asked each time."""

    thumbprint: str
    name: str | None
    ends_at: float


_remembered: dict[bytes, _Words] = {}
_last: tuple[x509.Certificate | None, _Words] = (None, _Words("", None, 0.0))
"""The certificate that was asked about last: one object, since threads ask as well."""


def verify_certificate(devices: DeviceSource, certificate: x509.Certificate) -> tuple[Credential, float]:
    """Give the credential whose key the certificate holds, and the unix second at which the certificate ends.

    Raises:
        AuthenticationFailed: the key is registered to nobody, or the certificate names another device than its key's.
    """
    try:
        thumbprint, name, ends_at = _words(certificate)
    except InvalidSettings as error:
        raise AuthenticationFailed(
            str(error), reason="key too weak", fix="give the device a P-256 key, or an RSA key of 2048 bits or more"
        ) from error
    credential = devices.credential_by_thumbprint(thumbprint)
    evidence = {"certificate names": name or "nobody", "key": thumbprint}
    if credential is None or credential.kind is not CredentialKind.X509:
        raise AuthenticationFailed(
            f"the certificate for {name or 'nobody'} is of a trusted CA, but its key is registered to no device",
            reason="device not registered",
            fix=f"lockgate device add {name} --auth x509 --out DIR" if name else _REGISTER,
            evidence=evidence,
        )
    if name != credential.device and not _may_name_nobody(certificate, credential):
        raise AuthenticationFailed(
            f"the certificate names {name or 'nobody'}, but its key is registered to {credential.device}",
            reason="certificate does not match the device",
            fix=f"give {credential.device} the certificate that was made for it",
            evidence=evidence,
        )
    return credential, ends_at


def barred_owner(devices: DeviceSource, certificate: x509.Certificate) -> str:
    """Give whose certificate it was when its key is no longer good: revoked, or registered to nobody; "" when it is.

    For connections that TLS let in by an earlier look at the certificate. Who is merely blocked is told at CONNECT.
    """
    try:
        credential = devices.credential_by_thumbprint(_words(certificate).thumbprint)
    except InvalidSettings:
        credential = None
    if credential is not None and not credential.is_revoked:
        return ""
    return device_name_of(certificate) or (credential.device if credential is not None else "nobody")


def _words(certificate: x509.Certificate) -> _Words:
    """Give what a certificate says. Devices come back with the one they have: it is taken apart once."""
    global _last
    known, words = _last
    if known is certificate:  # who resumes a session is asked about twice, and its fingerprint takes six microseconds
        return words
    words = _look_up(certificate)
    _last = (certificate, words)
    return words


def _look_up(certificate: x509.Certificate) -> _Words:
    fingerprint = certificate.fingerprint(SHA256())
    words = _remembered.get(fingerprint)
    if words is None:
        ends_at = certificate.not_valid_after_utc.timestamp()
        words = _Words(certificate_thumbprint(certificate), device_name_of(certificate), ends_at)
        if len(_remembered) >= MAX_REMEMBERED:
            _remembered.clear()  # all at once: in a storm of more than these, any other order would miss as often
        _remembered[fingerprint] = words
    return words


def _may_name_nobody(certificate: x509.Certificate, credential: Credential) -> bool:
    # A foreign CA does not know our names. Whoever registered a certificate without one said whose it is.
    if claims_device(certificate):
        return False
    try:
        return not claims_device(certificates_from_pem(credential.public.encode())[0])
    except InvalidSettings:
        return False
