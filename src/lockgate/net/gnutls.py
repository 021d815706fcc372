"""GnuTLS behind the port `dtls_port`: DTLS 1.2 with pre-shared keys, raw public keys and certificates.

Called through cffi without a compiler (`native.h`). GnuTLS calls back for the network, for keys and for a judgement of
certificates; all of it happens on one thread, inside a call of ours, so `_Desk.session` says whose call it is.

A session has one kind of credentials, chosen by what its ClientHello asks for: GnuTLS does for a pre-shared key only
what that needs, and would take X.509 for clients of raw keys that can do both. An identity that is nobody's gets a key
that is nobody's: to whoever asks around, it looks like a wrong key (RFC 4279 section 2).

Source: RFC 7252 section 9.1.3 for suites that must be there; AEAD ones alone, as over TCP.
"""

from __future__ import annotations

import errno
import re
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from lockgate.errors import InvalidSettings, Unavailable
from lockgate.net import dtls_failures as failures
from lockgate.net._native import ffi
from lockgate.net.chains import ChainJudge
from lockgate.net.context import load_certificates, load_pair
from lockgate.net.dtls import DtlsFailure, DtlsFiles, DtlsKeys, DtlsModes, DtlsReason, DtlsRefused
from lockgate.net.dtls_port import Carrier, DtlsProvider, DtlsSession
from lockgate.net.failures import REVOKED, CertificateVerdict, Shown
from lockgate.net.hellos import CertificateType, Hello
from lockgate.net.tls import Protection
from lockgate.net.trust import load_crls

LIBRARY: Final = "libgnutls.so.30"
MTU_BYTES: Final = 1_232
"""UDP payload that IPv6 carries unfragmented everywhere (RFC 8200 section 5): flights of a handshake keep to it."""
_MAX_PLAIN_BYTES: Final = 16_384
_MAX_HANDSHAKE_BYTES: Final = 16_384
"""Of one handshake message: a chain of certificates fits many times."""
_RETRANSMISSION_MS: Final = 1_000  # RFC 6347 section 4.2.4.1
_NEVER_MS: Final = 86_400_000
"""The listener keeps the time."""
_COOKIE_KEY_BYTES: Final = 16
_RANDOM_KEY_BYTES: Final = 32

# gnutls/gnutls.h
_SERVER, _DATAGRAM, _NONBLOCK, _NO_TICKETS, _RAW_KEYS = 1, 1 << 2, 1 << 3, 1 << 10, 1 << 18
_FLAGS: Final = _SERVER | _DATAGRAM | _NONBLOCK | _NO_TICKETS | _RAW_KEYS
_CERTIFICATE_CREDENTIALS, _PSK_CREDENTIALS = 1, 4
_PEM: Final = 1
_REQUIRE: Final = 2
_SHUT_WR: Final = 1
_FATAL: Final = 2
_DECRYPT_ERROR: Final = 51
_USER_CANCELLED: Final = 90
_KEY_ALERTS: Final = (20, 51)  # bad_record_mac, decrypt_error
_E_AGAIN: Final = -28
_E_INTERRUPTED: Final = -52
_E_TIMED_OUT: Final = -319
_E_FATAL_ALERT: Final = -12
_NOT_AGREED: Final = frozenset({-8, -21, -32, -87, -321, -322, -106, -61, -105})
"""Version, cipher suite, credentials, curve, signature algorithm, type of certificate."""
_NO_CERTIFICATE: Final = frozenset({-49, -112})
_E_SIGNATURE: Final = -89

_COMMON: Final = (
    "NONE:+VERS-DTLS1.2:+AEAD:+COMP-NULL"
    ":+AES-128-CCM-8:+AES-128-CCM:+AES-128-GCM:+AES-256-CCM-8:+AES-256-CCM:+AES-256-GCM:+CHACHA20-POLY1305"
    ":+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1"
    ":+SIGN-ECDSA-SHA256:+SIGN-ECDSA-SHA384:+SIGN-ECDSA-SHA512"
    ":+SIGN-EDDSA-ED25519:+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA512"
)
_PRIORITIES: Final = {
    "psk": _COMMON + ":+ECDHE-PSK:+PSK",
    "rpk": _COMMON + ":+ECDHE-ECDSA:+ECDHE-RSA:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK",
    "x509": _COMMON + ":+ECDHE-ECDSA:+ECDHE-RSA:+CTYPE-X509",
}
"""Among what both can, the client's order decides: a small device knows what it can bear, and nothing here is weak."""

_ffi: Final[Any] = ffi


def load_library(name: str = LIBRARY) -> Any:
    """Load GnuTLS.

    Raises:
        Unavailable: this machine has none, or one that is too old.
    """
    try:
        library = _ffi.dlopen(name)
        if library.gnutls_check_version(b"3.6.16") == _ffi.NULL:
            raise OSError("older than 3.6.16")
    except (OSError, AttributeError) as error:
        raise Unavailable(
            f"DTLS needs GnuTLS, and {name} cannot be used: {error}",
            reason="no GnuTLS",
            fix="apt install libgnutls30 (Debian, Ubuntu; libgnutls30t64 in new ones), or gnutls with other packagers.",
        ) from error
    return library


@final
class _Desk:
    """What all sessions share: the library, the buffers, and whose call is under way."""

    def __init__(self, library: Any, keys: DtlsKeys, clock: Callable[[], float]) -> None:
        self.library = library
        self.keys = keys
        self.clock = clock
        self.session: GnutlsSession | None = None
        self.cookie = b""
        self.room: Any = _ffi.new("char[]", _MAX_PLAIN_BYTES)
        self.unpack: Any = _ffi.unpack
        self.memmove: Any = _ffi.memmove
        self.set_errno: Any = library.gnutls_transport_set_errno
        self.record_recv: Any = library.gnutls_record_recv
        self.record_send: Any = library.gnutls_record_send
        self.handshake: Any = library.gnutls_handshake
        self.protections: dict[tuple[int, int, int, int], Protection] = {}
        # These must live as long as GnuTLS may call them.
        self.push: Any = _ffi.callback("gnutls_push_func", self._push, -1)
        self.push_cookie: Any = _ffi.callback("gnutls_push_func", self._push_cookie, -1)
        self.pull: Any = _ffi.callback("gnutls_pull_func", self._pull, -1)
        self.wait: Any = _ffi.callback("gnutls_pull_timeout_func", self._wait, -1)
        self.find_key: Any = _ffi.callback("gnutls_psk_server_credentials_function2 *", self._find_key, -1)
        self.judge: Any = _ffi.callback("gnutls_certificate_verify_function *", self._judge, -1)

    def shown(self, handle: object) -> list[bytes]:
        """Give what a client has shown: DER, its own first."""
        count = _ffi.new("unsigned int *")
        peers = self.library.gnutls_certificate_get_peers(handle, count)
        return [self.unpack(_ffi.cast("char *", peers[each].data), peers[each].size) for each in range(count[0])]

    def protection(self, kx: int, cipher: int, mac: int, group: int) -> Protection:
        """Give the words for what was agreed; all sessions that agreed on the same share them."""
        key = kx, cipher, mac, group
        known = self.protections.get(key)
        if known is None:
            suite = self._text(self.library.gnutls_cipher_suite_get_name(kx, cipher, mac))
            known = Protection("DTLSv1.2", _standard_name(suite), self._text(self.library.gnutls_group_get_name(group)))
            self.protections[key] = known
        return known

    def _text(self, name: object) -> str:
        return "" if name == _ffi.NULL else str(_ffi.string(name).decode("ascii"))

    def _push(self, _transport: object, data: object, size: int) -> int:
        session = self.session
        if session is not None and session.carrier is not None:
            session.carrier.carry(data, size)
        return size  # what the network loses is sent again all the same

    def _push_cookie(self, _transport: object, data: object, size: int) -> int:
        self.cookie = self.unpack(data, size)
        return size

    def _pull(self, _transport: object, data: object, room: int) -> int:
        session = self.session
        if session is None or session.pending_bytes == 0:
            if session is not None:
                self.set_errno(session.handle, errno.EAGAIN)
            return -1
        size = min(session.pending_bytes, room)
        self.memmove(data, session.pending, size)
        session.pending_bytes = 0
        return size

    def _wait(self, _transport: object, _milliseconds: int) -> int:
        return 1 if self.session is not None and self.session.pending_bytes else 0

    def _find_key(self, _handle: object, name: Any, key: Any) -> int:
        session = self.session
        if session is None:
            return -1
        session.identity = self.unpack(_ffi.cast("char *", name.data), name.size) if name.size else b""
        found = self.keys.psk(session.identity)
        session.is_identity_known = bool(found)
        good = found or secrets.token_bytes(_RANDOM_KEY_BYTES)
        key.data = _ffi.cast("unsigned char *", self.library.malloc(len(good)))  # GnuTLS wipes and frees it
        self.memmove(key.data, good, len(good))
        key.size = len(good)
        if isinstance(found, bytearray):
            found[:] = bytes(len(found))
        return 0

    def _judge(self, handle: object) -> int:
        session = self.session
        if session is None:
            return -1
        shown = self.shown(handle)
        session.failure = session.judge(shown) if shown else failures.no_certificate()
        return -1 if session.failure is not None else 0


@final
class _Credentials:
    """What the files held when they were read: GnuTLS's keys, and who judges clients."""

    def __init__(self, library: Any, files: DtlsFiles, judge: Any) -> None:
        chain, pair = load_pair(files.certificate, files.key)
        key = _datum(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        raw = pair if files.raw_key is None else _load_key(files.raw_key)
        raw_key = _datum(raw.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        authorities = load_certificates(files.authorities, "CA bundle")
        self.judge = ChainJudge(authorities, load_crls(files.crl, authorities))
        valid_from: datetime = max(each.not_valid_before_utc for each in chain)
        self.shown = Shown(True, valid_from, min(each.not_valid_after_utc for each in chain))
        sent = [chain[0], *(each for each in chain[1:] if each.issuer != each.subject)]  # clients hold the root
        self.x509 = _new_credentials(library, judge)
        pem = _datum(b"".join(each.public_bytes(Encoding.PEM) for each in sent))
        outcome = library.gnutls_certificate_set_x509_key_mem2(self.x509, pem, key, _PEM, _ffi.NULL, 0)
        _check(library, outcome, f"the server certificate {files.certificate}")
        self.rpk = _new_credentials(library, judge)
        spki = _datum(raw.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        outcome = library.gnutls_certificate_set_rawpk_key_mem(
            self.rpk, spki, raw_key, _PEM, _ffi.NULL, 0, _ffi.NULL, 0, 0
        )
        _check(library, outcome, f"the raw key {files.raw_key or files.key}")


def _load_key(path: Path) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidSettings(f"{path} cannot be read as a private key: {error}") from error


def _standard_name(suite: str) -> str:
    """Give IANA's name for GnuTLS's: TLS_PSK_WITH_AES_128_CCM_8 for TLS_PSK_AES_128_CCM_8."""
    name = re.sub(r"_(?=AES|CHACHA)", "_WITH_", f"TLS_{suite.removeprefix('TLS_')}", count=1)
    return f"{name}_SHA256" if name.endswith("POLY1305") else name


def _datum(data: bytes) -> Any:
    """Give bytes as GnuTLS takes them; the memory behind lives as long as what is given back, and is wiped with it.

    Compiled code lets go of a local variable after its last use, so that nothing less ties the two together.
    """
    memory = _ffi.new("unsigned char[]", data)
    datum = _ffi.new("gnutls_datum_t *", {"data": memory, "size": len(data)})
    return _ffi.gc(datum, partial(_wipe, memory))


def _wipe(memory: Any, _datum: object) -> None:
    _ffi.memmove(memory, bytes(len(memory)), len(memory))


def _new_credentials(library: Any, judge: Any) -> Any:
    made = _ffi.new("gnutls_certificate_credentials_t *")
    _check(library, library.gnutls_certificate_allocate_credentials(made), "memory for credentials")
    library.gnutls_certificate_set_verify_function(made[0], judge)
    return _ffi.gc(made[0], library.gnutls_certificate_free_credentials)


def _check(library: Any, outcome: int, what: str) -> None:
    if outcome < 0:
        told = _ffi.string(library.gnutls_strerror(outcome)).decode()
        raise InvalidSettings(f"{what} cannot be used for DTLS: {told}")


@final
class GnutlsProvider(DtlsProvider):
    """GnuTLS with the hub's keys and rules.

    Args:
        files: the server's certificate and key, the CAs and their lists.
        keys: whose keys are good.
        modes: which modes are offered.
        clock: gives unix seconds.

    Raises:
        Unavailable: this machine has no GnuTLS.
        InvalidSettings: a file cannot be used.
    """

    def __init__(
        self, files: DtlsFiles, keys: DtlsKeys, modes: DtlsModes, clock: Callable[[], float] = time.time
    ) -> None:
        self._library = load_library()
        self._files = files
        self._modes = modes
        self._desk = _Desk(self._library, keys, clock)
        self._priorities = {mode: self._priority(text) for mode, text in _PRIORITIES.items()}
        made = _ffi.new("gnutls_psk_server_credentials_t *")
        _check(self._library, self._library.gnutls_psk_allocate_server_credentials(made), "memory for keys")
        self._psk = made[0]
        self._library.gnutls_psk_set_server_credentials_function2(self._psk, self._desk.find_key)
        self._credentials = _Credentials(self._library, files, self._desk.judge)
        self._prestate: Any = _ffi.new("gnutls_dtls_prestate_st *")
        self._cookie_keys = [_datum(secrets.token_bytes(_COOKIE_KEY_BYTES))]

    def reload(self) -> None:
        """Read the files again; sessions that have begun keep what they were begun with."""
        self._credentials = _Credentials(self._library, self._files, self._desk.judge)

    def has_cookie(self, peer: bytes, data: object, size: int) -> bool:
        """Say whether a ClientHello bears the cookie that was given to `peer`."""
        verify = self._library.gnutls_dtls_cookie_verify
        return any(verify(key, peer, len(peer), data, size, self._prestate) >= 0 for key in self._cookie_keys)

    def cookie_request(self, peer: bytes) -> bytes:
        """Give the HelloVerifyRequest for `peer`: 60 bytes, fewer than any ClientHello has."""
        prestate = _ffi.new("gnutls_dtls_prestate_st *")
        key = self._cookie_keys[0]
        self._library.gnutls_dtls_cookie_send(key, peer, len(peer), prestate, _ffi.NULL, self._desk.push_cookie)
        return self._desk.cookie

    def change_cookie_key(self) -> None:
        """Give cookies of a new key from now on; those of the last key still count."""
        self._cookie_keys = [_datum(secrets.token_bytes(_COOKIE_KEY_BYTES)), self._cookie_keys[0]]

    def begin(self, hello: Hello, carrier: Carrier) -> DtlsSession:
        """Begin a session with the credentials that fit the ClientHello."""
        mode = self._choose(hello)
        session = GnutlsSession(self._desk, self._credentials, hello, self._modes, mode == "rpk", carrier)
        handle, library = session.handle, self._library
        library.gnutls_priority_set(handle, self._priorities[mode])
        if mode == "psk":
            library.gnutls_credentials_set(handle, _PSK_CREDENTIALS, self._psk)
        else:
            chosen = self._credentials.rpk if mode == "rpk" else self._credentials.x509
            library.gnutls_credentials_set(handle, _CERTIFICATE_CREDENTIALS, chosen)
            library.gnutls_certificate_server_set_request(handle, _REQUIRE)
        library.gnutls_dtls_prestate_set(handle, self._prestate)
        return session

    def _choose(self, hello: Hello) -> str:
        """Take the mode that the client came by; where it is not offered, another that it can, else let it fail."""
        if hello.has_psk and self._modes.psk:
            return "psk"
        wants_raw = CertificateType.RAW_PUBLIC_KEY in hello.certificate_types
        is_raw_first = wants_raw and hello.certificate_types[0] == CertificateType.RAW_PUBLIC_KEY
        if wants_raw and self._modes.rpk and (is_raw_first or not self._modes.x509):
            return "rpk"
        has_x509 = not hello.certificate_types or CertificateType.X509 in hello.certificate_types
        if hello.has_certificates and self._modes.x509 and has_x509:
            return "x509"
        # None of them: with credentials that the client does not know, GnuTLS refuses it by the right alert.
        return "x509" if hello.has_psk and not hello.has_certificates else "psk"

    def _priority(self, text: str) -> Any:
        made = _ffi.new("gnutls_priority_t *")
        outcome = self._library.gnutls_priority_init(made, text.encode(), _ffi.NULL)
        _check(self._library, outcome, "this machine's GnuTLS, whose policy forbids what CoAP needs,")
        return made[0]


@final
class GnutlsSession(DtlsSession):
    """One DTLS connection in GnuTLS."""

    __slots__ = (
        "_credentials",
        "_desk",
        "_has_changed",
        "_hello",
        "_is_done",
        "_is_over",
        "_is_raw",
        "_modes",
        "_protection",
        "_unreadable",
        "carrier",
        "failure",
        "handle",
        "identity",
        "is_identity_known",
        "pending",
        "pending_bytes",
    )

    def __init__(
        self,
        desk: _Desk,
        credentials: _Credentials,
        hello: Hello,
        modes: DtlsModes,
        is_raw: bool,
        carrier: Carrier,
    ) -> None:
        self._desk = desk
        self._credentials: _Credentials | None = credentials
        self._hello: Hello | None = hello
        self._modes = modes
        self._is_raw = is_raw
        self.carrier: Carrier | None = carrier
        self.failure: DtlsFailure | None = None
        self.identity: bytes | None = None
        self.is_identity_known = False
        self.pending: object = None
        self.pending_bytes = 0
        self._protection: Protection | None = None
        self._is_done = False
        self._is_over = False
        self._has_changed = False
        self._unreadable = 0
        library = desk.library
        made = _ffi.new("gnutls_session_t *")
        if library.gnutls_init(made, _FLAGS) < 0:
            raise MemoryError("GnuTLS has no memory for a session")
        self.handle: Any = made[0]
        library.gnutls_transport_set_push_function(self.handle, desk.push)
        library.gnutls_transport_set_pull_function(self.handle, desk.pull)
        library.gnutls_transport_set_pull_timeout_function(self.handle, desk.wait)
        library.gnutls_handshake_set_max_packet_length(self.handle, _MAX_HANDSHAKE_BYTES)
        library.gnutls_dtls_set_mtu(self.handle, MTU_BYTES)
        library.gnutls_dtls_set_timeouts(self.handle, _RETRANSMISSION_MS, _NEVER_MS)

    @property
    def protection(self) -> Protection | None:
        """How the connection is protected, once it is."""
        return self._protection

    @property
    def psk_identity(self) -> bytes | None:
        """The identity that the peer has proven, once the handshake is done."""
        return self.identity if self._is_done else None

    @property
    def raw_public_key(self) -> bytes | None:
        """The key that the peer has proven."""
        shown = self._shown() if self._is_done and self._is_raw else []
        return shown[0] if shown else None

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The certificate that the peer has proven, read anew at each call: few ask, and it would be memory."""
        shown = self._shown() if self._is_done and not self._is_raw and self.identity is None else []
        return x509.load_der_x509_certificate(shown[0]) if shown else None

    @property
    def unreadable(self) -> int:
        """How many datagrams came that the peer's key should have made readable, and did not."""
        return self._unreadable

    @property
    def is_over(self) -> bool:
        """Whether the peer has said goodbye, or the connection is broken."""
        return self._is_over

    def shake(self, data: object, size: int, is_sealed: bool, has_change: bool) -> bool:
        """Go on with the handshake by a datagram; size 0: time has passed."""
        desk = self._desk
        self.pending, self.pending_bytes = data, size
        desk.session = self
        try:
            while True:
                outcome: int = desk.handshake(self.handle)
                if outcome == 0:
                    self._finish()
                    return True
                if outcome in (_E_AGAIN, _E_INTERRUPTED):
                    if self.identity is not None:
                        # What overtook the ChangeCipherSpec says nothing of the key: it comes again.
                        self._has_changed |= has_change
                        self._unreadable += is_sealed and self._has_changed
                    return False
                if desk.library.gnutls_error_is_fatal(outcome):
                    raise DtlsRefused(self._fail(outcome))
        finally:
            desk.session = None
            self.pending, self.pending_bytes = None, 0

    def seconds_to_wait(self) -> float:
        """Say when the last flight should be sent again."""
        milliseconds: int = self._desk.library.gnutls_dtls_get_timeout(self.handle)
        return max(milliseconds, 1) / 1000

    def give_up(self, seconds: float) -> DtlsFailure:
        """Tell the peer that its time is up, and say what was missing."""
        failure = self._why_late(seconds)
        is_about_keys = failure.reason != DtlsReason.HANDSHAKE_TIMEOUT
        self._send_alert(_DECRYPT_ERROR if is_about_keys else _USER_CANCELLED)
        return failure

    def receive(self, data: object, size: int, is_single: bool) -> list[bytes]:
        """Take a datagram of an established connection; give the plaintexts in it."""
        desk = self._desk
        self.pending, self.pending_bytes = data, size
        desk.session = self
        plain: list[bytes] = []
        while True:
            got: int = desk.record_recv(self.handle, desk.room, _MAX_PLAIN_BYTES)
            if got > 0:
                plain.append(desk.unpack(desk.room, got))
                if is_single:
                    break
            elif got in (_E_AGAIN, _E_INTERRUPTED):
                break
            elif got == 0 or desk.library.gnutls_error_is_fatal(got):
                self._is_over = True
                break
            # else a warning, or the wish to shake hands again, which is not heard (RFC 7525 section 3.5)
        desk.session = None
        self.pending_bytes = 0
        return plain

    def send(self, data: bytes) -> None:
        """Send plaintext as one datagram."""
        desk = self._desk
        desk.session = self
        desk.record_send(self.handle, data, len(data))
        desk.session = None

    def say_goodbye(self) -> None:
        """Send close_notify."""
        self._desk.session = self
        self._desk.library.gnutls_bye(self.handle, _SHUT_WR)
        self._desk.session = None

    def release(self) -> None:
        """Free what it holds."""
        if self.handle is not None:
            self._desk.library.gnutls_deinit(self.handle)
            self.handle = None
        self.carrier = self._credentials = self._hello = None

    def judge(self, shown: list[bytes]) -> DtlsFailure | None:
        """Say what is wrong with what the client shows: its raw key, or its chain of certificates."""
        keys, credentials = self._desk.keys, self._credentials
        if self._is_raw:
            return None if keys.is_known_key(shown[0]) else failures.unknown_raw_key(shown[0])
        if credentials is None:
            return failures.no_certificate()
        certificate, verdict = credentials.judge.judge(shown, self._desk.clock())
        if verdict is None and certificate is not None and keys.is_barred(certificate):
            verdict = CertificateVerdict()
            verdict.error_number, verdict.certificate = REVOKED, certificate
        return None if verdict is None else failures.refused_certificate(verdict)

    def _shown(self) -> list[bytes]:
        return self._desk.shown(self.handle) if self.handle is not None else []

    def _finish(self) -> None:
        self._is_done = True
        self._hello = None
        library, handle = self._desk.library, self.handle
        # Records may now be as long as they like: what the door sends in one datagram, it wants in one.
        library.gnutls_dtls_set_mtu(handle, _MAX_PLAIN_BYTES)
        kx, cipher = library.gnutls_kx_get(handle), library.gnutls_cipher_get(handle)
        self._protection = self._desk.protection(
            kx, cipher, library.gnutls_mac_get(handle), library.gnutls_group_get(handle)
        )

    def _fail(self, outcome: int) -> DtlsFailure:
        library, hello = self._desk.library, self._hello
        if self.failure is not None:
            self._send_alert(failures.alert_for(self.failure.reason))
            return self.failure
        if outcome == _E_FATAL_ALERT:
            return self._why_left(library.gnutls_alert_get(self.handle))
        if outcome == _E_TIMED_OUT:
            return self.give_up(_NEVER_MS / 1000)
        self._desk.session = self
        library.gnutls_alert_send_appropriate(self.handle, outcome)
        if outcome in _NOT_AGREED and hello is not None:
            return failures.not_agreed(hello, self._modes)
        if outcome in _NO_CERTIFICATE:
            return failures.no_certificate()
        if outcome == _E_SIGNATURE:
            return failures.unproven()
        return failures.broken(_ffi.string(library.gnutls_strerror(outcome)).decode("ascii", "replace"))

    def _why_left(self, alert: int) -> DtlsFailure:
        if self.identity is not None and not self.is_identity_known:
            return failures.unknown_identity(self.identity)
        if self.identity is not None and alert in _KEY_ALERTS:
            return failures.wrong_key(self.identity)
        assert self._credentials is not None
        return failures.client_alert(alert, self._credentials.shown)

    def _why_late(self, seconds: float) -> DtlsFailure:
        if self.identity is not None and not self.is_identity_known:
            return failures.unknown_identity(self.identity)
        if self.identity is not None and self._unreadable:
            return failures.wrong_key(self.identity)
        return failures.timed_out(seconds)

    def _send_alert(self, alert: int) -> None:
        self._desk.session = self
        self._desk.library.gnutls_alert_send(self.handle, _FATAL, alert)
        self._desk.session = None
