"""Whom the hub believes in a handshake: the CAs of its clients, and their lists of revoked certificates.

Every certificate of the bundle is a trust anchor (RFC 5280 section 6.1.1), an issuing CA without its root too. A list
refuses the certificates that it names, with the alert certificate_revoked. It never refuses others: the registry
decides who may enter, so where a CA has no list, or one that has run out, its clients are let on to that decision.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL, crypto

from lockgate.errors import InvalidSettings
from lockgate.net.failures import REVOKED, CertificateVerdict
from lockgate.net.revoked import Named

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]
_OWNER: Final[int] = _lib.SSL_get_ex_data_X509_STORE_CTX_idx()

MAX_CHAIN_DEPTH = 4

# OpenSSL's X509_V_ERR_* numbers for a list that is missing, not yet good, out of date, or about something else.
_LIST_PROBLEMS = frozenset({3, 11, 12, 33, 44})


def load_crls(path: Path | None, authorities: list[x509.Certificate]) -> list[x509.CertificateRevocationList]:
    """Read those revocation lists of a PEM file that are about `authorities`; none where there is no file.

    Raises:
        InvalidSettings: the file cannot be read, or a list bears the name of an authority that did not sign it.
    """
    if path is None:
        return []
    try:
        lists = [x509.load_pem_x509_crl(each) for each in _split(path.read_bytes())]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidSettings(f"the revocation list {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidSettings(f"{path} holds no revocation list that can be read: {error}", fix=_REMAKE) from error
    # A list of a CA that is no longer believed refuses nobody who could come in.
    known = {each.subject for each in authorities}
    lists = [each for each in lists if each.issuer in known]
    for each in lists:
        if not any(_has_signed(authority, each) for authority in authorities):
            name = each.issuer.rfc4514_string()
            raise InvalidSettings(f"a revocation list in {path} is not signed by {name}", fix=_REMAKE)
    return lists


def outdated(crls: list[x509.CertificateRevocationList], now: float) -> list[x509.CertificateRevocationList]:
    """Give the lists that should have been replaced by now."""
    at = datetime.fromtimestamp(now, UTC)
    return [each for each in crls if each.next_update_utc is not None and each.next_update_utc <= at]


def trust(
    context: SSL.Context, authorities: list[x509.Certificate], crls: list[x509.CertificateRevocationList]
) -> None:
    """Make a context ask clients for a certificate, and believe the one that is shown only if it verifies."""
    store = context.get_cert_store()
    if store is None:
        raise ValueError("the TLS engine has no certificate store")
    named = Named.of(authorities, crls)
    judges_lists = named is None
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | (crypto.X509StoreFlags.CRL_CHECK if judges_lists else 0))
    for certificate in authorities:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    for each in crls if judges_lists else ():
        store.add_crl(each)
    context.set_verify_depth(MAX_CHAIN_DEPTH)
    look = _callback(named)
    # Without VERIFY_FAIL_IF_NO_PEER_CERT the certificate stays optional. For a server the engine itself checks the
    # extended key usage clientAuth.
    _lib.SSL_CTX_set_verify(context._context, SSL.VERIFY_PEER, look)
    context._verify_callback = look  # held on to: as long as the context lives, it may be called


def why_not_believed(chain: Sequence[x509.Certificate], authorities: Iterable[x509.Certificate], now: float) -> str:
    """Say in the engine's words why a handshake would not believe a client with this chain; "" when it would.

    Args:
        chain: what the client shows: its own certificate, then those between it and an authority.
        authorities: whom the gate believes.
        now: unix seconds.
    """
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(datetime.fromtimestamp(now, UTC))
    for certificate in authorities:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    shown = [crypto.X509.from_cryptography(each) for each in chain]
    try:
        crypto.X509StoreContext(store, shown[0], shown[1:]).verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    return ""


def take_verdict(engine: Any) -> CertificateVerdict | None:
    """Give what was wrong with the certificate of the connection (`SSL *`) whose handshake just failed, if that was it.

    Whoever drives a handshake that fails asks for it at once: it is kept for one question.
    """
    return _verdicts.pop(engine, None)


_verdicts: dict[Any, CertificateVerdict] = {}


def _callback(named: Named | None) -> Any:
    """Make what the engine calls for each certificate of a chain once it is verified, and for each that is wrong.

    pyOpenSSL's own makes objects around each certificate and calls; of those that are good there is nothing to keep.
    """

    @_ffi.callback("int (int, X509_STORE_CTX *)")  # type: ignore[untyped-decorator, unused-ignore]
    def look(is_ok: int, found: Any) -> int:  # an error of ours is a 0: refused
        if not is_ok:
            return _judge(found, _lib.X509_STORE_CTX_get_error(found))
        if not named or _lib.X509_STORE_CTX_get_error_depth(found) != 0:
            return 1  # the client's own certificate is looked up, as the engine would
        if not named.holds(_lib.X509_STORE_CTX_get_current_cert(found)):
            return 1
        _lib.X509_STORE_CTX_set_error(found, REVOKED)
        return _judge(found, REVOKED)

    return look


def _judge(found: Any, error_number: int) -> int:
    """Give 1 for what is not to refuse the chain; else note it, and give 0."""
    if error_number in _LIST_PROBLEMS:
        _lib.X509_STORE_CTX_set_error(found, _lib.X509_V_OK)
        return 1
    verdict = CertificateVerdict()
    verdict.error_number, verdict.depth = error_number, _lib.X509_STORE_CTX_get_error_depth(found)
    shown = _lib.X509_STORE_CTX_get_current_cert(found)
    if shown != _ffi.NULL:
        _lib.X509_up_ref(shown)
        with contextlib.suppress(ValueError):  # of a kind that the engine can read and the library cannot
            verdict.certificate = crypto.X509._from_raw_x509_ptr(shown).to_cryptography()
    _verdicts[_lib.X509_STORE_CTX_get_ex_data(found, _OWNER)] = verdict
    return 0


def _has_signed(authority: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # a key of another kind raises
    except TypeError:
        return False


_END = b"-----END X509 CRL-----"
_REMAKE = "lockgate ca crl makes it anew"


def _split(pem: bytes) -> list[bytes]:
    return [part + _END for part in pem.split(_END) if part.strip()]
