"""Foreign CAs whose device certificates the hub believes, beside its own.

A certificate of theirs proves no more than that CA says: who a device is, the registry decides, by the key that is
registered for it. So a foreign CA can let nobody in whose key was not registered here, whatever names it writes.
They lie in the home as `ca/trusted/ID.crt` and, where they have a revocation list, `ID.crl`; ID is the beginning of the
thumbprint of their key.
"""

from __future__ import annotations

from cryptography import x509

from lockgate.errors import Conflict, InvalidSettings, NotFound
from lockgate.home import Home, write_private
from lockgate.pki.certificates import certificate_thumbprint, certificates_from_pem, certificates_to_pem
from lockgate.pki.revocation import crls_to_pem

ID_CHARACTERS = 16


def foreign_authorities(home: Home) -> list[x509.Certificate]:
    """Give the certificates of the foreign CAs that are trusted."""
    return [certificates_from_pem(path.read_bytes())[0] for path in sorted(home.trusted_path.glob("*.crt"))]


def foreign_crls(home: Home) -> list[x509.CertificateRevocationList]:
    """Give their revocation lists, as they were given to us."""
    return [x509.load_pem_x509_crl(path.read_bytes()) for path in sorted(home.trusted_path.glob("*.crl"))]


def add_foreign(home: Home, certificate_pem: bytes, crl: bytes | None, now: float) -> x509.Certificate:
    """Put a foreign CA, or a newer revocation list of it, into the home.

    Raises:
        InvalidSettings: it is no CA, has expired, or its list is not signed by it.
        Conflict: it has the name of one of our own.
    """
    certificate = certificates_from_pem(certificate_pem)[0]
    _check_authority(certificate, now)
    own = certificates_from_pem(home.root_pem()) + certificates_from_pem(home.issuing_path.read_bytes())
    if certificate.subject in {each.subject for each in own}:
        raise Conflict(
            f"{certificate.subject.rfc4514_string()} is the name of our own CA: another of that name is no friend",
            fix="lockgate ca show tells whom the hub trusts already",
        )
    path = home.trusted_path / f"{certificate_thumbprint(certificate)[:ID_CHARACTERS]}.crt"
    if crl is not None:
        write_private(path.with_suffix(".crl"), crls_to_pem([_read_crl(crl, certificate)]))
    write_private(path, certificates_to_pem(certificate))
    return certificate


def find_foreign(home: Home, beginning: str) -> x509.Certificate:
    """Give the trusted foreign CA whose ID begins so.

    Raises:
        NotFound: there is none, or there are several.
    """
    found = [
        each for each in foreign_authorities(home) if beginning and certificate_thumbprint(each).startswith(beginning)
    ]
    if len(found) != 1:
        raise NotFound(f"no single trusted CA has an ID that begins with {beginning}", fix="lockgate ca show")
    return found[0]


def remove_foreign(home: Home, certificate: x509.Certificate) -> None:
    """Take a foreign CA and its list out of the home."""
    stem = certificate_thumbprint(certificate)[:ID_CHARACTERS]
    for suffix in ("crt", "crl"):
        (home.trusted_path / f"{stem}.{suffix}").unlink(missing_ok=True)


def _check_authority(certificate: x509.Certificate, now: float) -> None:
    name = certificate.subject.rfc4514_string()
    fix = "give the certificate of the CA that issues the devices' certificates"
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    if not is_ca:
        raise InvalidSettings(f"{name} is no certificate authority", fix=fix)
    if certificate.not_valid_after_utc.timestamp() <= now:
        raise InvalidSettings(f"{name} expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M UTC}", fix=fix)


def _read_crl(data: bytes, authority: x509.Certificate) -> x509.CertificateRevocationList:
    name = authority.subject.rfc4514_string()
    try:
        crl = (x509.load_pem_x509_crl if b"-----BEGIN" in data else x509.load_der_x509_crl)(data)
        is_signed = crl.issuer == authority.subject and crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise InvalidSettings(f"the revocation list of {name} cannot be read: {error}", fix="fetch it again") from error
    if not is_signed:
        raise InvalidSettings(f"the revocation list is not signed by {name}", fix="give the list of that very CA")
    return crl
