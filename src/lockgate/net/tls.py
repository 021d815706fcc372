"""TLS without sockets: ciphertext in, plaintext out, and the reason when it fails.

Theory of operation: OpenSSL works between two memory BIOs. `receive_data` puts ciphertext into the one and drives the
handshake, then reads until OpenSSL wants more; `data_to_send` empties the other. A refusal raises `TlsRefused`, but
the alert that tells the peer lies in the outgoing BIO: call `data_to_send` once more before closing.

    state        receive_data gives     send_data
    handshaking  b""                    keeps the plaintext
    established  plaintext              encrypts
    closed       b""                    drops the plaintext
    failed       raised TlsRefused      drops the plaintext

Source: TLS 1.3 RFC 8446, TLS 1.2 RFC 5246. ADR 0002 says why this engine and not the standard library's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, final

import msgspec
from cryptography import x509
from cryptography.x509 import load_der_x509_certificate
from OpenSSL import SSL

from lockgate.net.context import TlsContext
from lockgate.net.failures import (
    EXPIRED,
    REVOKED,
    CertificateVerdict,
    Shown,
    TlsFailure,
    TlsRefused,
    certificate_failure,
    handshake_failure,
    left_failure,
    not_tls_failure,
    timeout_failure,
)
from lockgate.net.records import STEP_BYTES, Buffers, Records

_MAX_UNSENT_BYTES: Final = 1_048_576
_HANDSHAKE_RECORD: Final = 0x16
_VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2 or later"}

_from_buffer: Final[Any] = SSL._ffi.from_buffer  # type: ignore[attr-defined]
_unpack: Final[Any] = SSL._ffi.unpack  # type: ignore[attr-defined]


class Protection(msgspec.Struct, frozen=True):
    """How an established connection is protected, in the standard's names.

    `version` is "TLSv1.2" or "TLSv1.3"; `group` the key exchange group, "" when unknown; `server_name` the name that
    the client asked for (SNI), None when it asked for none.
    """

    version: str
    cipher: str
    group: str = ""
    server_name: str | None = None
    is_resumed: bool = False


_MAX_PROTECTIONS: Final = 256
_protections: Final[dict[tuple[str, str, str, str | None, bool], Protection]] = {}
"""Most connections are protected alike: they have one record of it in common."""

_HANDSHAKING: Final = 0  # no enumeration: its members would be looked up by name for each read and write
_ESTABLISHED: Final = 1
_CLOSED: Final = 2
_FAILED: Final = 3


@final
class TlsStream:
    """The server's side of one TLS connection.

    Args:
        context: what the hub offers.
        buffers: what all connections of one loop read and write through; without, it has its own.
    """

    __slots__ = (
        "_certificate",
        "_context",
        "_first_bytes",
        "_is_handshake_done",
        "_is_renewed",
        "_received_bytes",
        "_records",
        "_sealed",
        "_state",
        "_unsent",
        "_unsent_bytes",
    )

    def __init__(self, context: TlsContext, buffers: Buffers | None = None) -> None:
        self._context = context
        self._records = Records(context.engine, buffers or Buffers(), context.has_callbacks)
        self._certificate: x509.Certificate | None = None
        self._state = _HANDSHAKING
        self._is_handshake_done = False
        self._is_renewed = False
        self._first_bytes = b""
        self._received_bytes = 0
        self._sealed = b""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0

    @property
    def is_established(self) -> bool:
        """Whether the handshake is done and the connection is open."""
        return self._state == _ESTABLISHED

    @property
    def has_last_words(self) -> bool:
        """Whether the handshake is done and nobody has asked since for what it ends with: `data_to_send`."""
        return self._is_handshake_done and not self._is_renewed

    @property
    def is_closed(self) -> bool:
        """Whether either side has said close_notify; after the peer's we may still send (RFC 8446 section 6.1)."""
        return self._records.has_ended or self._state == _CLOSED

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for (SNI, RFC 6066 section 3); never an address."""
        return self._records.server_name

    @property
    def is_name_covered(self) -> bool:
        """Whether the server certificate holds the name that the client asked for; true when it asked for none."""
        name = self.server_name
        return name is None or self._context.covers(name)

    def protection(self) -> Protection:
        """Say how the established connection is protected."""
        version, cipher, group = self._records.protection()
        said = (version, cipher, group, self.server_name, self._records.is_resumed)
        known = _protections.get(said)
        if known is None:
            known = Protection(*said)
            if len(_protections) >= _MAX_PROTECTIONS:  # of the names that clients ask for there is no end
                _protections.clear()
            _protections[said] = known
        return known

    def peer_certificate(self) -> x509.Certificate | None:
        """Give back the client's verified certificate; None when it showed none, or before the handshake is done."""
        if not self._is_handshake_done or (self._state != _ESTABLISHED and self._state != _CLOSED):
            return None
        certificate, self._certificate = self._certificate, None
        if certificate is None:
            der = self._records.peer_certificate()
            certificate = load_der_x509_certificate(der) if der is not None else None
        return certificate

    def receive_data(self, data: bytes) -> bytes:
        """Take ciphertext, give back the plaintext that it completes (b"" while handshaking).

        Raises:
            TlsRefused: when the connection cannot go on; `data_to_send` then holds the alert.
        """
        if len(data) <= STEP_BYTES:
            return self.receive_from(_from_buffer(data), len(data))
        steps = [data[start : start + STEP_BYTES] for start in range(0, len(data), STEP_BYTES)]
        return b"".join([self.receive_from(_from_buffer(step), len(step)) for step in steps])

    def receive_from(self, sealed: Any, size: int) -> bytes:
        """Do as `receive_data` with at most `STEP_BYTES` that lie where the cffi pointer `sealed` says.

        Raises:
            TlsRefused: when the connection cannot go on; `data_to_send` then holds the alert.
        """
        state, records = self._state, self._records
        if records.has_ended or state in (_CLOSED, _FAILED):
            return b""
        if state == _HANDSHAKING:
            return self._shake_hands(sealed, size)
        try:
            plaintext = records.opened(sealed, size)
        except SSL.Error as error:
            raise self._refused(error) from error
        if self._unsent:
            self._retry_unsent()
        return plaintext

    def send_data(self, plaintext: bytes) -> None:
        """Encrypt `plaintext`; until the handshake is done it is kept, up to 1 MiB.

        Raises:
            TlsRefused: when the connection cannot go on.
            BufferError: when more than 1 MiB waits for the handshake.
        """
        if self._state in (_CLOSED, _FAILED) or not plaintext:
            return
        if self._state == _HANDSHAKING or self._unsent:
            self._unsent_bytes += len(plaintext)
            if self._unsent_bytes > _MAX_UNSENT_BYTES:
                raise BufferError(f"more than {_MAX_UNSENT_BYTES} bytes wait for the TLS handshake")
            self._unsent.append(plaintext)
            return
        self._write(plaintext)

    def sealed(self, plaintext: bytes) -> bytes:
        """Encrypt at most `STEP_BYTES`, and give what is to be written to the peer.

        Raises:
            TlsRefused: when the connection cannot go on.
            BufferError: when more than 1 MiB waits for the handshake.
        """
        if self._state != _ESTABLISHED or self._unsent:
            self.send_data(plaintext)
            return self.data_to_send()
        try:
            data = self._records.sealed(plaintext)
        except SSL.Error as error:
            raise self._refused(error) from error
        if self._records.unsealed:
            self._keep_unsealed()
        return data

    def data_to_send(self) -> bytes:
        """Take the ciphertext that is to be written to the peer, alerts included; b"" when there is none."""
        data = self._sealed + self._records.waiting()
        self._sealed = b""
        if self._is_handshake_done and not self._is_renewed:
            self._is_renewed = True
            self._records.renew()
        return data

    def close(self) -> None:
        """Say close_notify (RFC 8446 section 6.1); nothing can be sent after it."""
        if self._state == _ESTABLISHED:
            try:
                self._records.shut_down()
            except SSL.Error:
                self._state = _FAILED
                return
        self._state = _CLOSED

    def failure_by_leaving(self) -> TlsFailure:
        """Say why a handshake failed that the client left by closing its connection."""
        return left_failure(self._received_bytes, self.server_name, self.is_name_covered)

    def failure_by_timeout(self, deadline_seconds: float) -> TlsFailure:
        """Say why a handshake failed that was not finished within `deadline_seconds`."""
        return timeout_failure(deadline_seconds, self._received_bytes, self.server_name)

    def _look_at_first_bytes(self, data: bytes) -> None:
        self._first_bytes += data[: 16 - len(self._first_bytes)]
        is_sslv2_hello = self._first_bytes[0:1] >= b"\x80" and self._first_bytes[2:3] in (b"", b"\x01")
        if self._first_bytes and self._first_bytes[0] != _HANDSHAKE_RECORD and not is_sslv2_hello:
            self._state = _FAILED
            raise TlsRefused(not_tls_failure(data[:16]))

    def _shake_hands(self, sealed: Any, size: int) -> bytes:
        if len(self._first_bytes) < 11:
            self._look_at_first_bytes(_unpack(sealed, min(size, 16)))
        self._received_bytes += size
        try:
            if not self._records.shake_hands(sealed, size):
                return b""
        except SSL.Error as error:
            raise self._refused(error) from error
        self._state = _ESTABLISHED
        self._is_handshake_done = True
        self._check_resumed_certificate()
        if self._unsent:
            self._retry_unsent()
        try:
            return self._records.rest()
        except SSL.Error as error:
            raise self._refused(error) from error

    def _check_resumed_certificate(self) -> None:
        # A resumed session brings the certificate of its first handshake along without another look (RFC 8446
        # section 4.6.1 leaves that to the application): it may have expired since, or have been revoked.
        if not self._records.is_resumed:
            return
        certificate = self.peer_certificate()
        if certificate is None:
            return
        self._certificate = certificate  # for the next who asks, at CONNECT; it is not kept for longer
        is_barred = self._context.is_barred
        if certificate.not_valid_after_utc < datetime.now(UTC):
            self._refuse_resumed(certificate, EXPIRED)
        elif is_barred is not None and is_barred(certificate):
            self._refuse_resumed(certificate, REVOKED)

    def _refuse_resumed(self, certificate: x509.Certificate, error_number: int) -> None:
        verdict = CertificateVerdict()
        verdict.error_number, verdict.certificate = error_number, certificate
        self.close()
        self._state = _FAILED
        raise TlsRefused(certificate_failure(verdict, self.server_name))

    def _write(self, plaintext: bytes) -> None:
        for start in range(0, len(plaintext), STEP_BYTES):
            self._sealed += self.sealed(plaintext[start : start + STEP_BYTES])

    def _keep_unsealed(self) -> None:
        left, self._records.unsealed = self._records.unsealed, b""
        self._unsent.insert(0, left)
        self._unsent_bytes += len(left)

    def _retry_unsent(self) -> None:
        unsent, self._unsent = b"".join(self._unsent), []
        self._unsent_bytes = 0
        self._write(unsent)

    def _refused(self, error: SSL.Error) -> TlsRefused:
        self._state = _FAILED
        server_name = self.server_name
        verdict = self._records.take_verdict()
        if verdict is not None:
            return TlsRefused(certificate_failure(verdict, server_name))
        errors = error.args[0] if error.args and isinstance(error.args[0], list) else []
        shown = Shown(self.is_name_covered, self._context.valid_from, self._context.valid_until)
        return TlsRefused(handshake_failure(errors, self._offered_version(), server_name, shown))

    def _offered_version(self) -> str:
        if self._first_bytes[0:1] != bytes([_HANDSHAKE_RECORD]):
            return "an SSL 2.0 hello"
        return _VERSIONS.get(int.from_bytes(self._first_bytes[9:11], "big"), "no version that is known")
