"""CoAP messages as records, and the registries of their numbers: what `wire` makes out of bytes and bytes out of.

Source: RFC 7252 sections 3, 5.10 and 12; RFC 7641 (Observe), 7959 (Block), 7967 (No-Response), 8132 (FETCH, PATCH),
8516 (4.29), 8613 (OSCORE), 8768 (Hop-Limit), 9175 (Echo, Request-Tag).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeAlias, final

from mypy_extensions import mypyc_attr

from lockgate.errors import LockgateError, Step

Options: TypeAlias = tuple[tuple[int, bytes], ...]
"""Numbers with their values, in the order of their numbers."""

NO_OPTIONS: Final[Options] = ()
VERSION: Final = 1
PORT: Final = 5683
NO_MESSAGE_ID: Final = -1


class Type(IntEnum):
    """Section 3: the two bits behind the version."""

    CON = 0
    NON = 1
    ACK = 2
    RST = 3


class Code(IntEnum):
    """Section 12.1: class and detail, so that 2.05 is 2 << 5 | 5. 0.00 is an Empty message."""

    EMPTY = 0
    GET = 1
    POST = 2
    PUT = 3
    DELETE = 4
    FETCH = 5
    PATCH = 6
    IPATCH = 7
    CREATED = 65
    DELETED = 66
    VALID = 67
    CHANGED = 68
    CONTENT = 69
    CONTINUE = 95
    BAD_REQUEST = 128
    UNAUTHORIZED = 129
    BAD_OPTION = 130
    FORBIDDEN = 131
    NOT_FOUND = 132
    METHOD_NOT_ALLOWED = 133
    NOT_ACCEPTABLE = 134
    REQUEST_ENTITY_INCOMPLETE = 136
    CONFLICT = 137
    PRECONDITION_FAILED = 140
    REQUEST_ENTITY_TOO_LARGE = 141
    UNSUPPORTED_CONTENT_FORMAT = 143
    UNPROCESSABLE_ENTITY = 150
    TOO_MANY_REQUESTS = 157
    INTERNAL_SERVER_ERROR = 160
    NOT_IMPLEMENTED = 161
    BAD_GATEWAY = 162
    SERVICE_UNAVAILABLE = 163
    GATEWAY_TIMEOUT = 164
    PROXYING_NOT_SUPPORTED = 165
    HOP_LIMIT_REACHED = 168


class OptionNumber(IntEnum):
    """Section 12.2. An odd number is critical: who does not know the option must not act on the message."""

    IF_MATCH = 1
    URI_HOST = 3
    ETAG = 4
    IF_NONE_MATCH = 5
    OBSERVE = 6
    URI_PORT = 7
    LOCATION_PATH = 8
    OSCORE = 9
    URI_PATH = 11
    CONTENT_FORMAT = 12
    MAX_AGE = 14
    URI_QUERY = 15
    HOP_LIMIT = 16
    ACCEPT = 17
    LOCATION_QUERY = 20
    BLOCK2 = 23
    BLOCK1 = 27
    SIZE2 = 28
    PROXY_URI = 35
    PROXY_SCHEME = 39
    SIZE1 = 60
    ECHO = 252
    NO_RESPONSE = 258
    REQUEST_TAG = 292


OPTION_RULES: Final[dict[int, tuple[int, int, bool]]] = {
    1: (0, 8, True),
    3: (1, 255, False),
    4: (1, 8, True),
    5: (0, 0, False),
    6: (0, 3, False),
    7: (0, 2, False),
    8: (0, 255, True),
    9: (0, 255, False),
    11: (0, 255, True),
    12: (0, 2, False),
    14: (0, 4, False),
    15: (0, 255, True),
    16: (1, 1, False),
    17: (0, 2, False),
    20: (0, 255, True),
    23: (0, 3, False),
    27: (0, 3, False),
    28: (0, 4, False),
    35: (1, 1034, False),
    39: (1, 255, False),
    60: (0, 4, False),
    252: (1, 40, False),
    258: (0, 1, False),
    292: (0, 8, True),
}
"""Shortest and longest value in bytes, and whether the option may stand more than once (section 5.10, table 4)."""

CONTENT_FORMATS: Final[dict[int, str]] = {
    0: "text/plain;charset=utf-8",
    16: 'application/cose;cose-type="cose-encrypt0"',
    17: 'application/cose;cose-type="cose-mac0"',
    18: 'application/cose;cose-type="cose-sign1"',
    21: "image/gif",
    22: "image/jpeg",
    23: "image/png",
    40: "application/link-format",
    41: "application/xml",
    42: "application/octet-stream",
    47: "application/exi",
    50: "application/json",
    51: "application/json-patch+json",
    52: "application/merge-patch+json",
    60: "application/cbor",
    61: "application/cwt",
    62: "application/multipart-core",
    63: "application/cbor-seq",
    96: 'application/cose;cose-type="cose-encrypt"',
    97: 'application/cose;cose-type="cose-mac"',
    98: 'application/cose;cose-type="cose-sign"',
    101: "application/cose-key",
    102: "application/cose-key-set",
    110: "application/senml+json",
    111: "application/sensml+json",
    112: "application/senml+cbor",
    113: "application/sensml+cbor",
    114: "application/senml-exi",
    115: "application/sensml-exi",
    256: "application/coap-group+json",
    257: "application/concise-problem-details+cbor",
    286: "application/pkcs10",
    287: "application/pkix-cert",
    310: "application/senml+xml",
    311: "application/sensml+xml",
    320: "application/senml-etch+json",
    322: "application/senml-etch+cbor",
    432: "application/td+json",
    10_000: "application/vnd.ocf+cbor",
    10_002: "application/javascript",
    11_542: "application/vnd.oma.lwm2m+tlv",
    11_543: "application/vnd.oma.lwm2m+json",
    11_544: "application/vnd.oma.lwm2m+cbor",
    20_000: "text/css",
    30_000: "image/svg+xml",
}
"""Section 12.3: what the numbers of Content-Format and Accept mean, without content codings."""

TEXT: Final = 0
LINK_FORMAT: Final = 40

_NUMBERS: Final[dict[str, int]] = {"".join(name.split()).lower(): number for number, name in CONTENT_FORMATS.items()}
_NUMBERS["text/plain"] = TEXT


def media_type(content_format: int) -> str | None:
    """Give what a Content-Format number means, None where it is not registered here."""
    return CONTENT_FORMATS.get(content_format)


def content_format(media_type: str) -> int | None:
    """Give the Content-Format number of a media type, written in any case and spacing; None where it has none."""
    return _NUMBERS.get("".join(media_type.split()).lower())


def dotted(code: int) -> str:
    """Give a code as people write it: "2.05"."""
    return f"{code >> 5}.{code & 0x1F:02d}"


@mypyc_attr(native_class=False)
class CoapError(LockgateError):
    """A request that cannot be answered as it was meant; `code` is the response that says so.

    Args:
        code: a response code of class 4 or 5.
        message: one sentence: what was expected and what came. It goes to the peer as diagnostic payload.
        reason: a few stable words.
        fix: what would mend it.
        options: what stands in the response beside it, such as Size1.
    """

    default_reason = "not CoAP as agreed"
    default_step = Step.PROTOCOL

    def __init__(
        self,
        code: int = 128,
        message: str = "",
        *,
        reason: str = "",
        fix: str = "",
        step: Step | None = None,
        options: Options = NO_OPTIONS,
    ) -> None:
        super().__init__(message, reason=reason, fix=fix, step=step)
        self.code = code
        self.options = options


@mypyc_attr(native_class=False)
class CoapFormatError(CoapError):
    """Bytes that are no CoAP message (section 3).

    Args:
        message: what is wrong.
        type: the message's type, -1 where not even that can be known: too short, or of another version.
        message_id: likewise; with both a receiver can reject the message.
    """

    default_reason = "malformed message"
    default_fix = "check that the client speaks CoAP over UDP (RFC 7252), version 1"

    def __init__(
        self, message: str = "", type: int = -1, message_id: int = NO_MESSAGE_ID, *, step: Step | None = None
    ) -> None:
        super().__init__(Code.BAD_REQUEST, message, step=step)
        self.type = type
        self.message_id = message_id


@final
@mypyc_attr(acyclic=True)
class CoapMessage:
    """Section 3; it does not change.

    Args:
        type: CON, NON, ACK or RST.
        code: method, response code or 0.
        message_id: 0 to 65,535; matches ACK and RST with what they answer, and tells repeats.
        token: up to 8 bytes; matches responses with requests.
        options: in the order of their numbers; those of the same number in the order of the message.
        payload: b"" for none.
    """

    __slots__ = ("code", "message_id", "options", "payload", "token", "type")

    def __init__(
        self,
        type: int,
        code: int,
        message_id: int,
        token: bytes = b"",
        options: Options = NO_OPTIONS,
        payload: bytes = b"",
    ) -> None:
        self.type: int = type
        self.code: int = code
        self.message_id: int = message_id
        self.token: bytes = token
        self.options: Options = options
        self.payload: bytes = payload

    def option(self, number: int) -> bytes | None:
        """Give the value of the first option with this number, None where there is none."""
        for found, value in self.options:
            if found == number:
                return value
        return None

    def all(self, number: int) -> list[bytes]:
        """Give the values of all options with this number, in their order."""
        return [value for found, value in self.options if found == number]

    def number(self, number: int) -> int | None:
        """Give the value of an option as an unsigned integer (section 3.2), None where there is none."""
        value = self.option(number)
        return None if value is None else int.from_bytes(value, "big")

    def with_(self, options: Options, payload: bytes) -> CoapMessage:
        """Give the same message with other options and another payload."""
        return CoapMessage(self.type, self.code, self.message_id, self.token, options, payload)

    def _key(self) -> tuple[object, ...]:
        return self.type, self.code, self.message_id, self.token, self.options, self.payload

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, CoapMessage) and self._key() == other._key()

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash((self.code, self.message_id, self.token))

    def __repr__(self) -> str:
        """Show what it says; of the payload, which is the device's own affair, the length."""
        kind = Type(self.type).name
        return (
            f"<{kind} {dotted(self.code)} id={self.message_id} token={self.token.hex()} "
            f"options={self.options!r} payload={len(self.payload)} bytes>"
        )
