"""Judges the certificate chains that DTLS clients show, by the same rules and in the same words as the TLS doors.

OpenSSL verifies, whichever library speaks DTLS: each certificate of the bundle is a trust anchor, the client's own must
be meant for clients, and a revocation list refuses those that it names and nobody else (`trust`). A device that comes
back shows the same chain: what was found good, byte for byte, is good again while all in it are valid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography import x509
from OpenSSL import crypto

from lockgate.net.failures import REVOKED, CertificateVerdict
from lockgate.net.trust import MAX_CHAIN_DEPTH

MAX_KNOWN: Final = 10_000
_OTHER: Final = 1  # X509_V_ERR_UNSPECIFIED
_TOO_LONG: Final = 22  # X509_V_ERR_CERT_CHAIN_TOO_LONG
_FOR_CLIENTS: Final = 1  # X509_PURPOSE_SSL_CLIENT, x509v3.h


class _Known(msgspec.Struct, frozen=True):
    valid_from: float
    valid_until: float


class ChainJudge:
    """Knows whom to believe; never changes.

    Args:
        authorities: the CAs that clients may use.
        crls: theirs, with signatures that have been checked.
        max_known: how many good chains are remembered.
    """

    def __init__(
        self,
        authorities: Sequence[x509.Certificate],
        crls: Sequence[x509.CertificateRevocationList],
        max_known: int = MAX_KNOWN,
    ) -> None:
        self._crls = crls
        self._max_known = max_known
        self._known: dict[bytes, _Known] = {}
        self.judged = 0
        """How often OpenSSL was asked."""
        self._store = crypto.X509Store()
        self._store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        crypto._lib.X509_STORE_set_purpose(self._store._store, _FOR_CLIENTS)  # type: ignore[attr-defined]
        for each in authorities:
            self._store.add_cert(crypto.X509.from_cryptography(each))

    @property
    def knows(self) -> int:
        """How many good chains are remembered."""
        return len(self._known)

    def judge(self, shown: Sequence[bytes], now: float) -> tuple[x509.Certificate | None, CertificateVerdict | None]:
        """Give the client's own certificate, and what is wrong with it; None: nothing.

        Args:
            shown: DER, the client's own first.
            now: unix seconds.
        """
        try:
            certificate = x509.load_der_x509_certificate(shown[0])
        except ValueError:
            return None, _verdict(_OTHER)
        key = hashlib.sha256(b"".join(len(each).to_bytes(4, "big") + each for each in shown)).digest()
        known = self._known.get(key)
        if known is not None and known.valid_from <= now < known.valid_until:
            return certificate, None
        verdict = self._judge_anew(certificate, shown, key)
        return certificate, verdict

    def _judge_anew(
        self, certificate: x509.Certificate, shown: Sequence[bytes], key: bytes
    ) -> CertificateVerdict | None:
        if len(shown) > MAX_CHAIN_DEPTH + 1:
            return _verdict(_TOO_LONG, certificate)
        self.judged += 1
        try:
            between = [crypto.X509.from_cryptography(x509.load_der_x509_certificate(each)) for each in shown[1:]]
            context = crypto.X509StoreContext(self._store, crypto.X509.from_cryptography(certificate), between)
            chain = [each.to_cryptography() for each in context.get_verified_chain()]
        except crypto.X509StoreContextError as error:
            return _verdict_of(error)
        except ValueError:
            return _verdict(_OTHER, certificate)
        if any(_names(crl, certificate) for crl in self._crls):
            return _verdict(REVOKED, certificate)
        while len(self._known) >= self._max_known:
            del self._known[next(iter(self._known))]
        self._known[key] = _Known(
            max(each.not_valid_before_utc.timestamp() for each in chain),
            min(each.not_valid_after_utc.timestamp() for each in chain),
        )
        return None


def _names(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    return (
        crl.issuer == certificate.issuer
        and crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    )


def _verdict_of(error: crypto.X509StoreContextError) -> CertificateVerdict:
    number, depth, _ = error.errors
    try:
        about = error.certificate.to_cryptography()
    except ValueError:
        about = None
    return _verdict(int(number), about, int(depth))


def _verdict(number: int, certificate: x509.Certificate | None = None, depth: int = 0) -> CertificateVerdict:
    verdict = CertificateVerdict()
    verdict.error_number, verdict.certificate, verdict.depth = number, certificate, depth
    return verdict
