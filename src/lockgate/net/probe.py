"""A client that tries what no good client does: handshakes with old versions and weak suites, to see them refused.

For the scanner alone; it sends no secret and trusts no answer. Weak offers are made with the standard library's engine,
which still knows them, and ask for the hub's certificate as any client does; what a door shows is read with pyOpenSSL,
which judges nothing by itself.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography import x509
from OpenSSL import SSL

from lockgate.errors import Unavailable

_SEND_FALLBACK_SCSV = 0x80  # openssl/ssl.h: SSL_MODE_SEND_FALLBACK_SCSV; pyOpenSSL has no name for it
_TICKET_SECONDS = 0.5
_early_data_bytes: Callable[[object], int] | None = getattr(SSL._lib, "SSL_SESSION_get_max_early_data", None)  # type: ignore[attr-defined]


class Endpoint(msgspec.Struct, frozen=True):
    """A door to try: its address, the name to ask for, the PEM of the root that must have signed, and the patience."""

    address: str
    port: int
    name: str
    root_pem: str
    seconds: float = 3.0


class Offer(msgspec.Struct, frozen=True):
    """What a client offers: the least and the greatest version, the suites for TLS 1.2 and older."""

    least: ssl.TLSVersion
    greatest: ssl.TLSVersion
    suites: str = ""


class Handshake(msgspec.Struct, frozen=True):
    """How it went: whether the door took the offer, with what, or what it said."""

    is_taken: bool
    version: str = ""
    suite: str = ""
    problem: str = ""


class Served(msgspec.Struct, frozen=True):
    """What a door shows in a handshake: its chain, whether an OCSP answer is stapled, whether tickets allow 0-RTT.

    `early_data_bytes` is None where the engine cannot tell; `takes_fallback` says whether a client that was talked down
    to TLS 1.2 is let in by a door that speaks 1.3 (RFC 7507).
    """

    chain: tuple[x509.Certificate, ...]
    has_staple: bool = False
    early_data_bytes: int | None = None
    takes_fallback: bool = False


def try_handshake(target: Endpoint, offer: Offer) -> Handshake:
    """Try a handshake with exactly this offer; a certificate that does not verify still means that it was taken.

    Raises:
        Unavailable: when nobody answers, or this machine's own TLS engine cannot make the offer.
    """
    try:
        context = _client(target.root_pem)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions are just what is asked for
            context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, offer.greatest
            context.minimum_version = offer.least
        if offer.suites:
            context.set_ciphers(offer.suites)
    except (ssl.SSLError, ValueError) as error:
        raise Unavailable(f"this machine's TLS engine cannot make such an offer: {error}") from error
    try:
        with _connected(target) as plain, context.wrap_socket(plain, server_hostname=target.name) as secure:
            suite = secure.cipher()
            return Handshake(True, secure.version() or "", suite[0] if suite else "")
    except ssl.SSLCertVerificationError as error:
        return Handshake(True, problem=error.verify_message)
    except ssl.SSLError as error:
        if "NO_CIPHERS_AVAILABLE" in str(error) or "NO_PROTOCOLS_AVAILABLE" in str(error):
            raise Unavailable(f"this machine's TLS engine cannot make such an offer: {error.reason}") from error
        return Handshake(False, problem=error.reason or str(error))
    except OSError as error:
        return Handshake(False, problem=str(error))


def open_session(target: Endpoint, identity: tuple[bytes, bytes] | None = None) -> ssl.SSLSocket:
    """Open a TLS connection as a good client does; `identity` is a certificate to show and its key, in PEM.

    Raises:
        Unavailable: when it does not come about; says why.
    """
    context = _client(target.root_pem)
    if identity is not None:
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder, "certificate.pem"), Path(folder, "key.pem")
            for path, content in zip(paths, identity, strict=True):
                path.touch(mode=0o600)
                path.write_bytes(content)
            context.load_cert_chain(*paths)
    plain = _connected(target)
    try:
        return context.wrap_socket(plain, server_hostname=target.name)
    except OSError as error:
        plain.close()
        raise Unavailable(f"the TLS handshake failed: {error}") from error


def look_at(target: Endpoint) -> Served:
    """Make ordinary handshakes and give what the door shows in them.

    Raises:
        Unavailable: when none comes about.
    """
    staples: list[bytes] = []
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)

    def keep(_connection: SSL.Connection, staple: bytes, _data: object) -> bool:
        staples.append(staple)
        return True

    context.set_ocsp_client_callback(keep)
    with _connected(target) as plain:
        connection = _shake(context, plain, target, staple=True)
        chain = connection.get_peer_cert_chain(as_cryptography=True) or []
        early = _early_data(connection, plain)
        is_newest = connection.get_protocol_version() == SSL.TLS1_3_VERSION
    fallback = SSL.Context(SSL.TLS_CLIENT_METHOD)
    fallback.set_max_proto_version(SSL.TLS1_2_VERSION)
    fallback.set_mode(_SEND_FALLBACK_SCSV)
    return Served(tuple(chain), any(staples), early, is_newest and _is_taken(fallback, target))


def lets_renegotiate(target: Endpoint) -> bool:
    """Say whether a TLS 1.2 client may begin a second handshake inside the first.

    Raises:
        Unavailable: when not even the first comes about.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    with _connected(target) as plain:
        connection = _shake(context, plain, target)
        try:
            connection.renegotiate()
            _turn(connection, plain, connection.do_handshake)
            return connection.total_renegotiations() > 0
        except (SSL.Error, OSError):
            return False


def send_plain(target: Endpoint, sent: bytes) -> bytes:
    """Send bytes without TLS; give the first of what comes back, b"" when the door closes or says nothing.

    Raises:
        Unavailable: when nobody answers there.
    """
    with _connected(target) as plain:
        try:
            plain.sendall(sent)
            return plain.recv(1024)
        except OSError:
            return b""


def _client(root_pem: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=root_pem)


def _connected(target: Endpoint) -> socket.socket:
    try:
        return socket.create_connection((target.address, target.port), timeout=target.seconds)
    except OSError as error:
        raise Unavailable(f"nobody answers at {target.address} port {target.port}: {error}") from error


def _shake(context: SSL.Context, plain: socket.socket, target: Endpoint, staple: bool = False) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_tlsext_host_name(target.name.encode())
    if staple:
        connection.request_ocsp()
    connection.set_connect_state()
    try:
        _turn(connection, plain, connection.do_handshake)
    except (SSL.Error, OSError) as error:
        raise Unavailable(f"the TLS handshake failed: {error}") from error
    return connection


def _turn(connection: SSL.Connection, plain: socket.socket, step: Callable[[], object]) -> None:
    """Carry bytes both ways until `step` is done."""
    while True:
        try:
            step()
            is_done = True
        except SSL.WantReadError:
            is_done = False
        with contextlib.suppress(SSL.WantReadError):
            plain.sendall(connection.bio_read(65_536))
        if is_done:
            return
        received = plain.recv(65_536)
        if not received:
            raise ConnectionResetError("the door closed")
        connection.bio_write(received)


def _is_taken(context: SSL.Context, target: Endpoint) -> bool:
    with _connected(target) as plain:
        try:
            _shake(context, plain, target)
        except Unavailable:
            return False
    return True


def _early_data(connection: SSL.Connection, plain: socket.socket) -> int | None:
    """Give how much 0-RTT data the door's ticket allows, 0 without a ticket; it comes right after the handshake."""
    if _early_data_bytes is None:
        return None
    plain.settimeout(_TICKET_SECONDS)
    with contextlib.suppress(OSError, SSL.Error):
        connection.bio_write(plain.recv(65_536))
        connection.recv(1)
    session = connection.get_session()
    return 0 if session is None else int(_early_data_bytes(session._session))
