"""Whom a revocation list names, looked up in the handshake without judging the list again.

The engine can check lists by itself, and verifies the signature of the list anew in each handshake: as much work as the
client's own certificate takes. Ours were verified when they were read (`trust.load_crls`). A client's certificate
is named by its issuer and its serial number (RFC 5280 section 4.1.2.2), so the rest is a look-up: the names are
compared by the engine, as when it builds the chain.

That holds for lists as nearly all are. One with extensions that say more (parts, changes to another list, entries of
other issuers), or of an authority that may not sign lists, is not read that way: then `Named.of` gives None, and the
engine judges all lists itself, in each handshake.

Source: RFC 5280 sections 5.2 and 5.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, final

from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID
from OpenSSL import SSL, crypto

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]

_PLAIN = frozenset({ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER})
_PLAIN_OF_ENTRIES = frozenset({CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE})


@final
class Named:
    """The certificates that the lists of some authorities name.

    Args:
        authorities: the issuers.
        serials: of each, what its list names, in the bytes of a DER integer.
    """

    __slots__ = ("_authorities", "_issuers", "_serials")

    def __init__(self, authorities: Sequence[x509.Certificate], serials: Sequence[frozenset[bytes]]) -> None:
        self._authorities = [crypto.X509.from_cryptography(each) for each in authorities]  # they hold the names
        names = [_lib.X509_get_subject_name(each._x509) for each in self._authorities]
        self._issuers = list(zip(names, serials, strict=True))
        self._serials = frozenset[bytes]().union(*serials)

    @classmethod
    def of(
        cls, authorities: Iterable[x509.Certificate], crls: Iterable[x509.CertificateRevocationList]
    ) -> Named | None:
        """Read verified lists of these authorities; None when one of them takes more than a look-up."""
        issuers: list[x509.Certificate] = []
        serials: list[frozenset[bytes]] = []
        known = list(authorities)
        for crl in crls:
            namesakes = [each for each in known if each.subject == crl.issuer]
            listed = _serials_of(crl)
            if len(namesakes) != 1 or not _may_sign_lists(namesakes[0]) or listed is None:
                return None
            issuers.append(namesakes[0])
            serials.append(listed)
        return cls(issuers, serials)

    def __bool__(self) -> bool:
        """Whether anybody is named."""
        return bool(self._serials)

    def holds(self, certificate: Any) -> bool:
        """Say whether the list of its issuer names a certificate, given as the engine's `X509 *`."""
        number = _lib.X509_get_serialNumber(certificate)
        digits = _ffi.cast("ASN1_STRING *", number)
        serial = _ffi.buffer(_lib.ASN1_STRING_get0_data(digits), _lib.ASN1_STRING_length(digits))[:]
        if serial not in self._serials:
            return False
        issuer = _lib.X509_get_issuer_name(certificate)
        return any(serial in listed and _lib.X509_NAME_cmp(name, issuer) == 0 for name, listed in self._issuers)


def _serials_of(crl: x509.CertificateRevocationList) -> frozenset[bytes] | None:
    found = []
    try:
        if any(each.critical or each.oid not in _PLAIN for each in crl.extensions):
            return None
        for entry in crl:
            if entry.serial_number <= 0 or not all(_is_plain(each) for each in entry.extensions):
                return None
            found.append(entry.serial_number.to_bytes((entry.serial_number.bit_length() + 7) // 8, "big"))
    except (ValueError, x509.DuplicateExtension):
        return None
    return frozenset(found)


def _is_plain(extension: x509.Extension[x509.ExtensionType]) -> bool:
    if isinstance(extension.value, x509.CRLReason) and extension.value.reason is x509.ReasonFlags.remove_from_crl:
        return False
    return not extension.critical and extension.oid in _PLAIN_OF_ENTRIES


def _may_sign_lists(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True  # RFC 5280 section 6.3.3 (f): only where the extension is there
