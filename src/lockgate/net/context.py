"""What the hub offers in a TLS handshake, and who it is: built from files, changed without a restart.

TLS 1.2 and 1.3; for 1.2 only ECDHE with AEAD suites (RFC 9325 section 4.2). No compression, no renegotiation, never
0-RTT (RFC 8446 section 8: replay). A client certificate is optional, but one that is shown must verify; a context that
spares browsers does not ask them for one, because Chromium ends a WebSocket that does. Tickets are
stateless, one per full TLS 1.3 handshake (`openssl`), for an hour, under keys that live as long as the context: a
reload retires them. No session rests in the server's memory. Docs: ADR 0002.

A context never changes; `TlsContexts` holds the one for new connections. Building one takes a millisecond, with long
revocation lists tens of them: unless it `is_quick`, `build` should run in a thread beside the loop; `take` then puts it
in force.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from lockgate.errors import InvalidSettings
from lockgate.net.staple import Staple
from lockgate.net.trust import load_crls, trust

# AES-128 first: the suite that every device has, and the cheapest. A device that puts ChaCha20 first (it lacks AES
# instructions) gets ChaCha20: SSL_OP_PRIORITIZE_CHACHA.
_TLS13_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256"
_TLS12_SUITES = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-CCM:ECDHE-ECDSA-AES256-CCM"
)
_OP_PRIORITIZE_CHACHA = 1 << 21  # openssl/ssl.h; pyOpenSSL has no name for it
_lib: Any = SSL._lib  # type: ignore[attr-defined]
_QUICK_BYTES = 32_768
"""PEM of some ten CAs with their lists, and some four hundred revoked certificates."""
_TICKET_LIFETIME_SECONDS = 3600
_ALPN_HTTP = b"http/1.1"  # RFC 7301 section 6

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


IsBarred = Callable[[x509.Certificate], bool]
"""Says whether a client's certificate, once verified, is good no longer: its key was revoked, or is nobody's by now."""


class TlsContext:
    """One server certificate with its rules, ready for handshakes; it never changes.

    Args:
        chain: the server certificate and what is between it and its root.
        key: the server certificate's.
        authorities: the CAs that clients may use.
        spares_browsers: do not ask clients that offer HTTP in the handshake (ALPN) for a certificate.
        crls: of those CAs; a client's certificate that one of them names is refused.
        staple: has the OCSP answer about the server certificate.
    """

    __slots__ = (
        "_answer",
        "certificate",
        "covered_names",
        "crls",
        "engine",
        "has_callbacks",
        "is_barred",
        "valid_from",
        "valid_until",
    )

    def __init__(
        self,
        chain: list[x509.Certificate],
        key: _PrivateKey,
        authorities: list[x509.Certificate],
        spares_browsers: bool = False,
        crls: list[x509.CertificateRevocationList] | None = None,
        staple: Staple | None = None,
    ) -> None:
        self.certificate = chain[0]
        self.covered_names = covered_names(chain[0])
        self.valid_from = max(each.not_valid_before_utc for each in chain)
        self.valid_until = min(each.not_valid_after_utc for each in chain)
        self.is_barred: IsBarred | None = None
        self.crls = crls or []
        self.engine = _engine_context(chain, key)
        trust(self.engine, authorities, self.crls)
        self.has_callbacks = spares_browsers
        """Whether pyOpenSSL calls back: then each connection needs the object that it looks for."""
        if spares_browsers:
            self.engine.set_alpn_select_callback(_spare_browser)
        self._answer = staple.offer(self.engine, chain[0].serial_number) if staple is not None else None

    def covers(self, server_name: str) -> bool:
        """Say whether a client that asks for `server_name` will find it in the certificate (RFC 9525 section 6.3)."""
        name = server_name.rstrip(".").lower()
        return name in self.covered_names or f"*.{name.partition('.')[2]}" in self.covered_names


class TlsContexts:
    """The current context, taken at each accept; `reload` swaps in what the files hold now.

    Args:
        certificate_path: PEM chain of the server, leaf first.
        key_path: its PEM key.
        authorities_path: PEM bundle of the CAs that clients may use.
        spares_browsers: do not ask clients that offer HTTP in the handshake (ALPN) for a certificate.
        is_barred: asked about the certificate of each client that resumes a session.
        crl_path: PEM file of those CAs' revocation lists; it need not be there.
        staple_path: DER file of the OCSP answer about the server certificate; it need not be there.
        clock: gives unix seconds.
    """

    def __init__(
        self,
        certificate_path: Path,
        key_path: Path,
        authorities_path: Path,
        spares_browsers: bool = False,
        is_barred: IsBarred | None = None,
        *,
        crl_path: Path | None = None,
        staple_path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._paths = certificate_path, key_path, authorities_path
        self._spares_browsers = spares_browsers
        self._is_barred = is_barred
        self._crl_path = crl_path
        self._clock = clock
        self.staple = Staple(staple_path, clock)
        self.take(self.build())

    @property
    def is_quick(self) -> bool:
        """Whether `build` takes a millisecond or two: the revocation lists are short, and the CAs few."""
        paths = [path for path in (self._paths[2], self._crl_path) if path is not None]
        return sum(path.stat().st_size for path in paths if path.exists()) <= _QUICK_BYTES

    def build(self) -> TlsContext:
        """Make a context of what the files hold now; the current one stays in force.

        Raises:
            InvalidSettings: when a file cannot be used.
        """
        context = load_context(*self._paths, self._spares_browsers, crl_path=self._crl_path, staple=self.staple)
        context.is_barred = self._is_barred
        return context

    def take(self, context: TlsContext) -> None:
        """Put a context in force for new connections; live ones keep that which they were made with."""
        self.current = context
        self.taken_at = self._clock()

    def reload(self) -> None:
        """Read the files again; live connections keep the context that they were made with.

        Raises:
            InvalidSettings: when a file cannot be used; the current context then stays.
        """
        self.take(self.build())


def load_context(
    certificate_path: Path,
    key_path: Path,
    authorities_path: Path,
    spares_browsers: bool = False,
    *,
    crl_path: Path | None = None,
    staple: Staple | None = None,
) -> TlsContext:
    """Build a context from a PEM chain (leaf first), its PEM key and a PEM bundle of the CAs that clients may use.

    Raises:
        InvalidSettings: when a file is missing, unreadable, or does not hold what it should; names the file.
    """
    chain, key = load_pair(certificate_path, key_path)
    authorities = load_certificates(authorities_path, "CA bundle")
    crls = load_crls(crl_path, authorities)
    try:
        return TlsContext(chain, key, authorities, spares_browsers, crls, staple)
    except (SSL.Error, crypto.Error, ValueError) as error:
        raise InvalidSettings(f"the server certificate {certificate_path} cannot be used for TLS: {error}") from error


def load_pair(certificate_path: Path, key_path: Path) -> tuple[list[x509.Certificate], _PrivateKey]:
    """Read a server's PEM chain (leaf first) and its PEM key.

    Raises:
        InvalidSettings: when a file cannot be used, or the two do not belong together; names the file.
    """
    chain = load_certificates(certificate_path, "server certificate")
    key = _load_key(key_path)
    if key.public_key() != chain[0].public_key():
        raise InvalidSettings(
            f"the private key {key_path} does not belong to the server certificate {certificate_path}",
            fix="Put the key and the certificate of one pair in place.",
        )
    return chain, key


def covered_names(certificate: x509.Certificate) -> frozenset[str]:
    """Give back what a name that a client asks for is compared with: DNS names in lower case, and addresses.

    Other than `pki.certificates.names_of`, which shows what stands in a certificate: where one of another CA has no
    alternative names, the common name counts here, as it does for old clients.
    """
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return frozenset(str(attribute.value).lower() for attribute in subject)
    names = {name.lower() for name in alternatives.get_values_for_type(x509.DNSName)}
    return frozenset(names | {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)})


def _engine_context(chain: list[x509.Certificate], key: _PrivateKey) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE | _OP_PRIORITIZE_CHACHA
    )
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | _lib.SSL_MODE_AUTO_RETRY)
    context.set_cipher_list(_TLS12_SUITES)
    context.set_tls13_ciphersuites(_TLS13_SUITES)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"lockgate")
    # Acknowledging the name puts it into the session, so that a resumed TLS 1.2 connection still tells it.
    context._tlsext_servername_callback = _acknowledge
    _lib.SSL_CTX_set_tlsext_servername_callback(context._context, _acknowledge)
    context.set_timeout(_TICKET_LIFETIME_SECONDS)
    context.use_certificate(chain[0])
    for certificate in chain[1:]:
        if certificate.issuer != certificate.subject:  # clients hold the root already (RFC 8446 section 4.4.2)
            context.add_extra_chain_cert(certificate)
    context.use_privatekey(key)
    context.check_privatekey()
    return context


@SSL._ffi.callback("int (SSL *, int *, void *)")  # type: ignore[attr-defined, untyped-decorator, unused-ignore]
def _acknowledge(_engine: object, _alert: object, _argument: object) -> int:
    # Without the look-up of the connection that pyOpenSSL's would begin with: there may be none.
    return 0


def _spare_browser(connection: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    # Called before the certificate request is made. Chromium has no dialogue for certificates in a WebSocket: asked
    # for one, it gives up without a word. Devices' libraries offer no ALPN, or another name.
    if _ALPN_HTTP not in offered:
        return SSL.NO_OVERLAPPING_PROTOCOLS
    connection.set_verify(SSL.VERIFY_NONE)
    return _ALPN_HTTP


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSettings(f"the {what} {path} cannot be read: {error.strerror}") from error


def load_certificates(path: Path, what: str) -> list[x509.Certificate]:
    """Read the certificates of a PEM file; `what` it is stands in the error.

    Raises:
        InvalidSettings: when it cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(_read(path, what))
    except ValueError as error:
        raise InvalidSettings(f"the {what} {path} holds no PEM certificate that can be read: {error}") from error


def _load_key(path: Path) -> _PrivateKey:
    try:
        key = load_pem_private_key(_read(path, "private key"), None)
    except (ValueError, TypeError) as error:
        raise InvalidSettings(f"the private key {path} is no unencrypted PEM key: {error}") from error
    if not isinstance(key, _PrivateKey):
        raise InvalidSettings(f"the private key {path} is of a kind that TLS servers cannot use: {type(key).__name__}")
    return key
