"""Records into OpenSSL and out of it, many at once: what pyOpenSSL's methods do one by one, with three copies more.

pyOpenSSL's `recv`, `send`, `bio_read` and `bio_write` make a buffer for each call, copy it into bytes, and raise an
exception where there is nothing more: half the CPU that a connection under TLS costs beyond its system calls. So
connections call the functions under those methods, of the binding that both share, with buffers that all connections of
one loop have in common; and they are made of it, without the objects that pyOpenSSL hangs around each. Contexts,
certificates and errors remain pyOpenSSL's.

A memory BIO never shrinks. What comes in pieces larger than `_KEPT_BYTES` is therefore read through a BIO that only
points at it and is gone after; what goes out is taken record by record.

Names beginning with an underscore are not promised by pyOpenSSL: tests/unit/net/test_records.py says what is used.
Docs: ADR 0018.
"""

from __future__ import annotations

from typing import Any, Final, final

from OpenSSL import SSL

from lockgate.net.failures import CertificateVerdict
from lockgate.net.trust import take_verdict

MAX_RECORD_BYTES: Final = 16_384  # RFC 8446 section 5.1
STEP_BYTES: Final = 65_536
"""As much ciphertext is taken in at once."""
_PLAIN_BYTES: Final = STEP_BYTES + 2 * MAX_RECORD_BYTES
"""Room for what that decrypts to, with a record that had begun to come before."""
_SEALED_BYTES: Final = 131_072
_KEPT_BYTES: Final = 4_096

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]
_gc: Final[Any] = _ffi.gc
_string: Final[Any] = _ffi.string
_ssl_new: Final[Any] = _lib.SSL_new
_ssl_free: Final[Any] = _lib.SSL_free
_ssl_set_accept_state: Final[Any] = _lib.SSL_set_accept_state
_ssl_shutdown: Final[Any] = _lib.SSL_shutdown
_ssl_session_reused: Final[Any] = _lib.SSL_session_reused
_ssl_get_session: Final[Any] = _lib.SSL_get_session
_ssl_get_servername: Final[Any] = _lib.SSL_get_servername
_ssl_get_version: Final[Any] = _lib.SSL_get_version
_ssl_get_current_cipher: Final[Any] = _lib.SSL_get_current_cipher
_ssl_cipher_get_name: Final[Any] = _lib.SSL_CIPHER_get_name
_ssl_get0_group_name: Final[Any] = _lib.SSL_get0_group_name
_raise_current_error: Final[Any] = SSL._raise_current_error
_ssl_read: Final[Any] = _lib.SSL_read
_ssl_write: Final[Any] = _lib.SSL_write
_ssl_get_error: Final[Any] = _lib.SSL_get_error
_ssl_set_bio: Final[Any] = _lib.SSL_set_bio
_ssl_do_handshake: Final[Any] = _lib.SSL_do_handshake
_ssl_get_peer_certificate: Final[Any] = _lib.SSL_get_peer_certificate
_i2d_x509_bio: Final[Any] = _lib.i2d_X509_bio
_x509_free: Final[Any] = _lib.X509_free
_bio_free: Final[Any] = _lib.BIO_free
_bio_new: Final[Any] = _lib.BIO_new
_bio_new_mem_buf: Final[Any] = _lib.BIO_new_mem_buf
_bio_set_mem_eof_return: Final[Any] = _lib.BIO_set_mem_eof_return
_bio_read: Final[Any] = _lib.BIO_read
_bio_write: Final[Any] = _lib.BIO_write
_unpack: Final[Any] = _ffi.unpack
_from_buffer: Final[Any] = _ffi.from_buffer
_MEMORY: Final[Any] = _lib.BIO_s_mem()
_NULL: Final[Any] = _ffi.NULL
_WANTS_READ: Final[int] = _lib.SSL_ERROR_WANT_READ
_HAS_ENDED: Final[int] = _lib.SSL_ERROR_ZERO_RETURN
_HOST_NAME: Final[int] = _lib.TLSEXT_NAMETYPE_host_name


@final
class Buffers:
    """What the connections of one loop read into and write out of, each in its turn."""

    __slots__ = ("plain", "sealed")

    def __init__(self) -> None:
        self.plain: Any = _ffi.new("char[]", _PLAIN_BYTES)
        self.sealed: Any = _ffi.new("char[]", _SEALED_BYTES)


@final
class Records:
    """One connection's records on the server's side, those of its handshake among them.

    Args:
        context: what is offered.
        buffers: those of its loop.
        has_callbacks: the context has callbacks of pyOpenSSL's, which look for the `SSL.Connection`: then there is one.
    """

    __slots__ = ("_buffers", "_connection", "_from", "_into", "_ssl", "has_ended", "unsealed")

    def __init__(self, context: SSL.Context, buffers: Buffers, has_callbacks: bool = False) -> None:
        self._buffers = buffers
        self._connection: SSL.Connection | None = None
        if has_callbacks:
            self._connection = SSL.Connection(context, None)
            self._ssl: Any = self._connection._ssl
        else:
            made = _ssl_new(context._context)
            if made == _NULL:
                raise MemoryError
            self._ssl = _gc(made, _ssl_free)
        self._into: Any = _new_bio()
        self._from: Any = _new_bio()
        _ssl_set_bio(self._ssl, self._into, self._from)
        _ssl_set_accept_state(self._ssl)
        self.has_ended = False
        """Whether the peer has said close_notify."""
        self.unsealed = b""

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake resumed a session."""
        return bool(_ssl_session_reused(self._ssl) == 1)

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for (SNI)."""
        name = _ssl_get_servername(self._ssl, _HOST_NAME)
        return _string(name).decode("ascii", "backslashreplace") if name != _NULL else None

    def protection(self) -> tuple[str, str, str]:
        """Give the version, the cipher suite and the key exchange group, "" for what is not known."""
        cipher = _ssl_get_current_cipher(self._ssl)
        # Without a session, the engine's function for the group reads where nothing is.
        group = _ssl_get0_group_name(self._ssl) if _ssl_get_session(self._ssl) != _NULL else _NULL
        return (
            _string(_ssl_get_version(self._ssl)).decode(),
            _string(_ssl_cipher_get_name(cipher)).decode() if cipher != _NULL else "",
            _string(group).decode() if group != _NULL else "",
        )

    def take_verdict(self) -> CertificateVerdict | None:
        """Give what was wrong with the client's certificate, when a handshake just failed for that."""
        return take_verdict(self._ssl)

    def shut_down(self) -> None:
        """Say close_notify.

        Raises:
            SSL.Error: when that cannot be said.
        """
        result: int = _ssl_shutdown(self._ssl)
        if result < 0:
            self._fail(result)

    def shake_hands(self, sealed: Any, size: int) -> bool:
        """Take `size` bytes of a handshake, and say whether it is done.

        Raises:
            SSL.Error: when it has failed.
        """
        _bio_write(self._into, sealed, size)
        result: int = _ssl_do_handshake(self._ssl)
        if result > 0:
            return True  # a callback of Python's that raised would have failed it
        if _ssl_get_error(self._ssl, result) != _WANTS_READ:  # as each handshake does at first
            self._fail(result)
        return False

    def peer_certificate(self) -> bytes | None:
        """Give the peer's certificate in DER, None when it showed none."""
        certificate = _ssl_get_peer_certificate(self._ssl)
        if certificate == _NULL:
            return None
        passing = _new_bio()
        _i2d_x509_bio(passing, certificate)
        _x509_free(certificate)  # it was counted once more for us
        size: int = _bio_read(passing, self._buffers.sealed, _SEALED_BYTES)  # OpenSSL takes chains of 100 KB at most
        _bio_free(passing)
        if size <= 0:
            raise MemoryError
        return _unpack(self._buffers.sealed, size)  # type: ignore[no-any-return]

    def opened(self, sealed: Any, size: int) -> bytes:
        """Give the plaintext that `size` bytes of ciphertext complete; they lie where the cffi pointer `sealed` says.

        Raises:
            SSL.Error: when the connection cannot go on.
        """
        if size <= _KEPT_BYTES:
            _bio_write(self._into, sealed, size)
            return self.rest()
        passing = _bio_new_mem_buf(sealed, size)
        if passing == _NULL:
            raise MemoryError
        _bio_set_mem_eof_return(passing, -1)  # its end is not the connection's
        self._read_from(passing)
        try:
            return self.rest()
        finally:
            self._read_from(_new_bio())

    def rest(self) -> bytes:
        """Give the plaintext of what OpenSSL has already."""
        plain, size = self._buffers.plain, 0
        while True:
            count: int = _ssl_read(self._ssl, plain + size if size else plain, _PLAIN_BYTES - size)
            if count <= 0:
                break
            size += count
        self._check(count)
        return _unpack(plain, size) if size else b""

    def sealed(self, plaintext: bytes) -> bytes:
        """Give the ciphertext of `plaintext`, at most `STEP_BYTES`, and of whatever else waits to be sent.

        What OpenSSL does not take yet is left in `unsealed`.

        Raises:
            SSL.Error: when the connection cannot go on.
        """
        sealed, size = self._buffers.sealed, 0
        data = _from_buffer(plaintext)
        total, start = len(plaintext), 0
        while start < total:
            count: int = _ssl_write(self._ssl, data + start if start else data, min(total - start, MAX_RECORD_BYTES))
            if count <= 0:
                self._check(count)
                self.unsealed = plaintext[start:]
                break
            start += count
            taken: int = _bio_read(self._from, sealed + size if size else sealed, _SEALED_BYTES - size)
            size += max(taken, 0)
        return _unpack(sealed, size) if size else b""

    def waiting(self) -> bytes:
        """Give the ciphertext that waits to be sent."""
        sealed = self._buffers.sealed
        size: int = _bio_read(self._from, sealed, _SEALED_BYTES)
        data = b""
        while size > 0:
            data += _unpack(sealed, size)
            if size < _SEALED_BYTES:
                break
            size = _bio_read(self._from, sealed, _SEALED_BYTES)
        return data

    def renew(self) -> None:
        """Give back what the BIOs have grown to in the handshake; nothing may be in them."""
        self._from = _new_bio()
        self._read_from(_new_bio())

    def _read_from(self, bio: Any) -> None:
        _ssl_set_bio(self._ssl, bio, self._from)  # frees those that they take the place of
        self._into = bio

    def _check(self, count: int) -> None:
        error: int = _ssl_get_error(self._ssl, count)
        if error == _WANTS_READ:
            return
        if error == _HAS_ENDED:
            self.has_ended = True
            return
        self._fail(count)

    def _fail(self, result: int) -> None:
        if self._connection is not None:
            self._connection._raise_ssl_error(self._ssl, result)  # or what a callback raised
        _raise_current_error()


def _new_bio() -> Any:
    bio = _bio_new(_MEMORY)
    if bio == _NULL:
        raise MemoryError
    return bio
