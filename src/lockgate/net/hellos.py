"""What a ClientHello asks for, read before a session is begun: it decides which credentials the session has.

Source: RFC 6347 sections 4.1 and 4.2.2 (frames), RFC 5246 section 7.4.1.2 (ClientHello), RFC 7250 section 3 (types of
certificates). Nothing here is believed: the library reads the same bytes after.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, final

RECORD_BYTES: Final = 13
"""The head of a record: type, version, epoch, sequence number, length."""
_FRAME_BYTES: Final = 12
"""The head of a handshake message: type, length, number, offset and length of the fragment."""
_CLIENT_HELLO: Final = 1
_HANDSHAKE: Final = 22
_CLIENT_CERTIFICATE_TYPE: Final = 19
_DTLS_1_2: Final = 0xFEFD


class CertificateType(IntEnum):
    """What a certificate message holds: IANA "TLS Certificate Types"."""

    X509 = 0
    RAW_PUBLIC_KEY = 2


# IANA "TLS Cipher Suites": those whose key exchange is PSK, DHE_PSK, RSA_PSK or ECDHE_PSK.
_PSK_RANGES: Final = (
    (0x002C, 0x002E),
    (0x008A, 0x0095),
    (0x00A8, 0x00B9),
    (0xC033, 0xC03B),
    (0xC0A4, 0xC0AB),
    (0xCCAB, 0xCCAE),
    (0xD001, 0xD005),
)
_SIGNALS: Final = frozenset({0x00FF, 0x5600})
"""Renegotiation and fallback (RFC 5746, RFC 7507): they stand among suites, and are none."""


def is_psk_suite(suite: int) -> bool:
    """Say whether a cipher suite proves by a pre-shared key."""
    return any(first <= suite <= last for first, last in _PSK_RANGES)


@final
class Hello:
    """One ClientHello.

    `random` is the client's; `is_dtls_1_2` whether that version is among what it offers; `certificate_types` what it
    may show, the dearest first, empty where it does not say.
    """

    def __init__(self, random: bytes, is_dtls_1_2: bool, suites: list[int], certificate_types: list[int]) -> None:
        self.random = random
        self.is_dtls_1_2 = is_dtls_1_2
        self.suites = suites
        self.certificate_types = certificate_types

    @property
    def has_psk(self) -> bool:
        """Whether it has a pre-shared key: no library offers those suites without."""
        return any(is_psk_suite(each) for each in self.suites)

    @property
    def has_certificates(self) -> bool:
        """Whether it offers suites with certificates or raw keys."""
        return any(each not in _SIGNALS and not is_psk_suite(each) for each in self.suites)


def is_client_hello(data: memoryview) -> bool:
    """Say whether a datagram begins with a whole ClientHello that opens a connection (epoch 0)."""
    return (
        len(data) > RECORD_BYTES + _FRAME_BYTES
        and data[0] == _HANDSHAKE
        and data[3] == 0
        and data[4] == 0
        and data[RECORD_BYTES] == _CLIENT_HELLO
    )


def read_hello(data: memoryview) -> Hello | None:
    """Read a ClientHello from the datagram that it begins; None where it is broken, or cut into fragments."""
    try:
        return _read(bytes(data[RECORD_BYTES:]))
    except IndexError:
        return None


def records_of(data: memoryview) -> list[tuple[int, int]]:
    """List the records of a datagram as (type, epoch), as far as their heads can be read."""
    found = []
    start = 0
    while start + RECORD_BYTES <= len(data):
        found.append((data[start], data[start + 3] << 8 | data[start + 4]))
        start += RECORD_BYTES + (data[start + 11] << 8 | data[start + 12])
    return found


def _read(message: bytes) -> Hello | None:
    length = int.from_bytes(message[1:4], "big")
    fragment = int.from_bytes(message[9:12], "big")
    if fragment != length or _FRAME_BYTES + length > len(message):
        return None
    body = message[_FRAME_BYTES : _FRAME_BYTES + length]
    random = body[2:34]
    at = 34
    at += 1 + body[at]  # session id
    at += 1 + body[at]  # cookie
    suites_bytes = _number(body, at)
    suites = [_number(body, each) for each in range(at + 2, at + 2 + suites_bytes, 2)]
    at += 2 + suites_bytes
    at += 1 + body[at]  # compression
    return Hello(random, _number(body, 0) == _DTLS_1_2, suites, _certificate_types(body, at))


def _certificate_types(body: bytes, at: int) -> list[int]:
    if at + 2 > len(body):  # no extensions
        return []
    end = min(at + 2 + _number(body, at), len(body))
    at += 2
    while at + 4 <= end:
        size = _number(body, at + 2)
        if _number(body, at) == _CLIENT_CERTIFICATE_TYPE and size:
            return list(body[at + 5 : at + 4 + size])
        at += 4 + size
    return []


def _number(body: bytes, at: int) -> int:
    return body[at] << 8 | body[at + 1]
