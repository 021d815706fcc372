"""CoAP's words to the house's and back: requests to messages and filters, messages to representations, errors to codes.

A topic is a resource: the segments of its path are the levels of the topic. What a request means:

    PUT, POST /a/b       publishes on a/b; PUT is kept (a state), POST is not (an event); ?retain=0 or 1 says otherwise
    DELETE /a/b          clears the retained message of a/b
    GET /a/b             the retained message of a/b; with Observe a subscription to a/b
    GET /?filter=a/%2B   the retained messages below a, as links; with Observe a subscription to a/+
    GET /.well-known/core  discovery

Confirmable is at least once (QoS 1), non-confirmable at most once (QoS 0). Max-Age is the expiry of the message,
Content-Format its content type, a representation's ETag a hash of both.

Source: RFC 7252 sections 5.5 to 5.10, RFC 7641, RFC 6690; RFC 8516 (4.29).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, final

from mypy_extensions import mypyc_attr

from lockgate.adapters.coap.messages import (
    NO_OPTIONS,
    CoapError,
    CoapMessage,
    Code,
    Options,
    content_format,
    media_type,
)
from lockgate.adapters.coap.wire import decode_string, decode_uint, encode_uint
from lockgate.errors import (
    AuthenticationFailed,
    Conflict,
    LockgateError,
    NotAuthorized,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RateExceeded,
    SessionTakenOver,
    TopicFilterInvalid,
    TopicNameInvalid,
    Unavailable,
)
from lockgate.model.message import Message, MessageProperties
from lockgate.model.principal import Principal
from lockgate.model.topic import SHARE_PREFIX, TopicFilter, TopicName, topic_filter, topic_name

CODES: Final[dict[type[LockgateError], int]] = {
    AuthenticationFailed: Code.UNAUTHORIZED,
    NotAuthorized: Code.FORBIDDEN,
    TopicNameInvalid: Code.BAD_REQUEST,
    TopicFilterInvalid: Code.BAD_REQUEST,
    PayloadTooLarge: Code.REQUEST_ENTITY_TOO_LARGE,
    QuotaExceeded: Code.TOO_MANY_REQUESTS,
    RateExceeded: Code.TOO_MANY_REQUESTS,
    SessionTakenOver: Code.SERVICE_UNAVAILABLE,
    NotFound: Code.NOT_FOUND,
    Conflict: Code.CONFLICT,
    Unavailable: Code.SERVICE_UNAVAILABLE,
}
"""The house's table, CoAP's column; whatever is not in it is 5.00. A `CoapError` brings its own."""

# Plain numbers: an enum's attribute costs as much as the rest of a comparison.
_IF_MATCH: Final = 1
_ETAG: Final = 4
_IF_NONE_MATCH: Final = 5
_OBSERVE: Final = 6
_LOCATION_PATH: Final = 8
_URI_PATH: Final = 11
_CONTENT_FORMAT: Final = 12
_MAX_AGE: Final = 14
_URI_QUERY: Final = 15
_ACCEPT: Final = 17
_CON: Final = 0

MAX_SEGMENT_BYTES: Final = 255
DISCOVERY: Final = ".well-known/core"
OCTET_STREAM: Final = 42
MAX_AGE: Final = 0xFFFF_FFFF
REGISTER: Final = 0
DEREGISTER: Final = 1
QUERIES: Final = "filter=FILTER, retain=0 and retain=1"
UNREGISTERED: Final = "application/x-coap-content-format;number="
"""A content type for a Content-Format number that this hub has no name for: with the number behind, it finds back."""
_MAX_FORMATS: Final = 1024
_PROPERTIES: dict[int, MessageProperties] = {}
_LAST: Final[dict[int, tuple[Message, bytes]]] = {}


@final
@mypyc_attr(acyclic=True)
class Said:
    """What the options of a request say; -1 and "" are: nothing was said.

    `path` is the topic's name, not looked at yet; `query` what stands in the query and is not `filter` or `retain`.
    """

    __slots__ = (
        "accept", "content_format", "etags", "filter", "if_match", "if_none_match", "max_age", "observe", "path",
        "queries", "retain",
    )  # fmt: skip

    def __init__(self) -> None:
        self.path: str = ""
        self.filter: str = ""
        self.retain: int = -1
        self.accept: int = -1
        self.content_format: int = -1
        self.max_age: int = -1
        self.observe: int = -1
        self.if_none_match: bool = False
        self.if_match: list[bytes] | None = None
        self.etags: list[bytes] | None = None
        self.queries: list[str] | None = None


@final
@mypyc_attr(acyclic=True)
class Answer:
    """A response that may go as soon as `commit` (0: at once) is stored."""

    __slots__ = ("code", "commit", "options", "payload")

    def __init__(self, code: int, options: Options = NO_OPTIONS, payload: bytes = b"", commit: int = 0) -> None:
        self.code: int = code
        self.options: Options = options
        self.payload: bytes = payload
        self.commit: int = commit


def said_by(request: CoapMessage) -> Said:
    """Give what a request's options say.

    Raises:
        CoapError: an option cannot be read.
        TopicNameInvalid: a path segment holds a slash, and so would name the topic of another path.
    """
    found = Said()
    path = ""
    has_path = False
    for number, value in request.options:
        if number == _URI_PATH:
            text = value.decode() if value.isascii() else _text(value, "Uri-Path")
            if "/" in text:
                raise TopicNameInvalid("a path segment must not hold a slash", fix="write it as two segments")
            path = path + "/" + text if has_path else text
            has_path = True
        elif number == _OBSERVE:
            found.observe = decode_uint(value)
        elif number == _CONTENT_FORMAT:
            found.content_format = decode_uint(value)
        elif number == _MAX_AGE:
            found.max_age = decode_uint(value)
        elif number == _URI_QUERY:
            _query(found, _text(value, "Uri-Query"))
        elif number == _ACCEPT:
            found.accept = decode_uint(value)
        elif number == _ETAG:
            found.etags = [*(found.etags or ()), value]
        elif number == _IF_MATCH:
            found.if_match = [*(found.if_match or ()), value]
        elif number == _IF_NONE_MATCH:
            found.if_none_match = True
    found.path = path
    return found


def check_queries(said: Said) -> None:
    """Make sure that a request for a topic has no query that means nothing: a misspelt one must not be overlooked.

    Raises:
        CoapError: it has.
    """
    if said.queries:
        raise CoapError(Code.BAD_REQUEST, f"unknown query {said.queries[0][:40]!r}", fix=f"known here: {QUERIES}")


def to_message(request: CoapMessage, said: Said, principal: Principal, retain: bool, now: float) -> Message:
    """Give the message that a PUT or POST brings (a DELETE: one without payload). `now` in unix seconds.

    Raises:
        TopicNameInvalid: its path is no topic's name.
    """
    age, number = said.max_age, said.content_format
    return Message(
        topic_name(said.path),
        request.payload,
        1 if request.type == _CON else 0,
        retain,
        None if number < 0 else _properties(number),
        None if age < 0 else now + age,
        principal.device,
    )


def format_of(message: Message) -> int:
    """Give the Content-Format of a message, -1 when its content type has no number, or is not known."""
    said = message.properties
    if said is None:
        return -1
    if said.content_type is not None:
        number = content_format(said.content_type)
        if number is not None:
            return number
        if said.content_type.startswith(UNREGISTERED):
            digits = said.content_type[len(UNREGISTERED) :]
            if digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) < 65_536:
                return int(digits)
        return -1
    return 0 if said.payload_is_text else -1


def etag_of(message: Message) -> bytes:
    """Give the ETag of a message as a representation: equal for equal payloads of the same content type."""
    known = _LAST.get(0)
    if known is not None and known[0] is message:  # it goes to many observers
        return known[1]
    digest = blake2b(message.payload, digest_size=8)
    said = message.properties
    if said is not None and said.content_type is not None:
        digest.update(b"\0" + said.content_type.encode())
    etag = digest.digest()
    _LAST[0] = (message, etag)
    return etag


def representation(message: Message, now: float, observe: int = -1, names_topic: bool = False) -> Options:
    """Give the options by which a message goes out. `now` in unix seconds: what is left of its expiry goes with it.

    Args:
        message: the message.
        now: unix seconds.
        observe: the number of a notification, -1 for a response.
        names_topic: say in Location-Path whose message it is, where one filter takes in many topics.
    """
    options: list[tuple[int, bytes]] = [(_ETAG, etag_of(message))]
    if observe >= 0:
        options.append((_OBSERVE, encode_uint(observe)))
    if names_topic:
        options += [(_LOCATION_PATH, level.encode()) for level in message.topic.split("/")]
    number = format_of(message) if message.properties is not None else -1
    if number >= 0:
        options.append((_CONTENT_FORMAT, encode_uint(number)))
    if message.expires_at is not None:
        options.append((_MAX_AGE, encode_uint(min(MAX_AGE, max(0, int(message.expires_at - now))))))
    return tuple(options)


def without_format(options: Options) -> Options:
    """Give the options of a response that has no payload (2.03): all but the Content-Format."""
    return tuple(option for option in options if option[0] != _CONTENT_FORMAT)


def code_of(error: LockgateError) -> int:
    """Give the response code that stands for an error."""
    if isinstance(error, CoapError):
        return error.code
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return Code.INTERNAL_SERVER_ERROR


def refusal(error: LockgateError, text: str) -> Answer:
    """Give the response that says no; `text`, for people, is its diagnostic payload (section 5.5.2)."""
    options = error.options if isinstance(error, CoapError) else NO_OPTIONS
    return Answer(code_of(error), options, text.encode())


def is_expressible(topic: str) -> bool:
    """Say whether each level of a topic fits a path segment: 255 bytes (section 5.10). Of others CoAP cannot speak."""
    return len(topic) <= MAX_SEGMENT_BYTES // 4 or all(
        len(level.encode()) <= MAX_SEGMENT_BYTES for level in topic.split("/")
    )


def name_of(said: Said) -> TopicName:
    """Give the topic that a request is about.

    Raises:
        NotFound: it names none.
        TopicNameInvalid: its path is no topic's name.
    """
    if not said.path:
        raise NotFound(
            "the path names no topic", fix="give a topic as the path, or a filter as the query: /?filter=FILTER"
        )
    return topic_name(said.path)


def come_again(error: LockgateError, seconds: float) -> CoapError:
    """Give a 4.29 that says in how many seconds to come again (RFC 8516 section 3)."""
    options = ((_MAX_AGE, encode_uint(1 + int(seconds))),)
    return CoapError(Code.TOO_MANY_REQUESTS, str(error), reason=error.reason, fix=error.fix, options=options)


def is_confirmable(request: CoapMessage) -> bool:
    """Say whether a request asks for an acknowledgement, and so for QoS 1."""
    return request.type == _CON


def filter_of(said: Said) -> TopicFilter:
    """Give the topic filter of a request, "" where it has none.

    Raises:
        TopicFilterInvalid: it is none.
        CoapError: it stands beside a path.
    """
    if not said.filter:
        return TopicFilter("")
    if said.path:
        raise CoapError(Code.BAD_REQUEST, "a filter stands beside a path", fix="ask for /?filter=FILTER")
    if said.filter.startswith(SHARE_PREFIX):
        raise TopicFilterInvalid("observations are not shared", fix="ask for the filter without $share/NAME/")
    return topic_filter(said.filter)


def _query(found: Said, text: str) -> None:
    if text.startswith("filter=") and not found.filter:
        found.filter = text[7:]
    elif text == "retain=1":
        found.retain = 1
    elif text == "retain=0":
        found.retain = 0
    else:
        found.queries = [*(found.queries or ()), text]


def _text(value: bytes, name: str) -> str:
    text = decode_string(value)
    if text is None:
        raise CoapError(Code.BAD_REQUEST, f"{name} is no UTF-8")
    return text


def _properties(number: int) -> MessageProperties:
    """Give what a Content-Format says about a message; the same object for the same number."""
    known = _PROPERTIES.get(number)
    if known is None:
        if len(_PROPERTIES) >= _MAX_FORMATS:
            _PROPERTIES.clear()
        known = MessageProperties(content_type=media_type(number) or f"{UNREGISTERED}{number}")
        _PROPERTIES[number] = known
    return known
