"""The OCSP answer that the hub staples to its certificate: read from a file, sent while it is good.

Source: RFC 6066 section 8 and RFC 8446 section 4.4.2.1. Whoever holds the CA's key writes the file anew before its
answer runs out; the hub sends nothing where it is missing, for another certificate, or out of date: clients then do
without, as they do with most servers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.x509 import ocsp
from OpenSSL import SSL

from lockgate.errors import InvalidSettings

MAX_STAPLE_BYTES = 16_384

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]
_NOTHING: Final = 3  # SSL_TLSEXT_ERR_NOACK (openssl/tls1.h)


class _Answer(msgspec.Struct, frozen=True):
    der: bytes
    serial: int
    begins_at: float
    ends_at: float


class Staple:
    """The answer about the server certificate, as a file held it when it was last read.

    Args:
        path: the file, DER; None where nothing is stapled.
        clock: gives unix seconds.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._answer: _Answer | None = None

    def reload(self) -> None:
        """Read the file again; one that is not there staples nothing.

        Raises:
            InvalidSettings: it holds no OCSP answer; what was read before is no longer sent either.
        """
        self._answer = None
        if self._path is not None:
            try:
                der = self._path.read_bytes()
            except FileNotFoundError:
                return
            except OSError as error:
                raise InvalidSettings(f"the stapled answer {self._path} cannot be read: {error.strerror}") from error
            self._answer = _read(der, self._path)

    def ends_at(self, serial: int) -> float | None:
        """Give until when the answer about the certificate with this number is good; None when there is none."""
        return self._answer.ends_at if self._answer is not None and self._answer.serial == serial else None

    def answer_for(self, serial: int) -> bytes:
        """Give the answer about the certificate with this number, b"" when there is none that is good now."""
        answer = self._answer
        if answer is None or answer.serial != serial or not answer.begins_at <= self._clock() < answer.ends_at:
            return b""
        return answer.der

    def offer(self, context: SSL.Context, serial: int) -> object:
        """Have a context staple the answer about its certificate; what comes back is to live as long as the context."""

        @_ffi.callback("int (SSL *, void *)")  # type: ignore[untyped-decorator, unused-ignore]
        def answer(engine: object, _argument: object) -> int:
            der = self.answer_for(serial)
            if not der:
                return _NOTHING
            kept = _lib.OPENSSL_malloc(len(der))  # the engine frees it
            if kept == _ffi.NULL:
                return _NOTHING
            _ffi.buffer(kept, len(der))[:] = der
            _lib.SSL_set_tlsext_status_ocsp_resp(engine, kept, len(der))
            return 0

        _lib.SSL_CTX_set_tlsext_status_cb(context._context, answer)
        return answer


def _read(der: bytes, path: Path) -> _Answer:
    try:
        if len(der) > MAX_STAPLE_BYTES:
            raise ValueError("too large")
        response = ocsp.load_der_ocsp_response(der)
        ends_at = response.next_update_utc  # raises for an answer that is none
        if ends_at is None:
            raise ValueError("it does not say until when it is good")
        begins_at = response.this_update_utc
        return _Answer(der, response.serial_number, begins_at.timestamp(), ends_at.timestamp())
    except ValueError as error:
        raise InvalidSettings(
            f"{path} holds no OCSP answer that can be stapled: {error}", fix="remove it; the office makes a new one"
        ) from error
