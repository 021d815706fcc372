"""HTTP's words to CoAP's and back: methods, codes, media types, conditions, ages, places. Tables first, no I/O.

What CoAP cannot say is said here instead, where that can be told from the answer (`If-Match` of a GET, more than one
media range), and else refused; nothing is left out in silence that would change what happens.

Source: RFC 8075 sections 5 to 7 (tables 1 and 2 and the notes to them); RFC 7252 section 10.2; RFC 8516 (4.29);
RFC 9110 sections 8, 12, 13 and 15; RFC 9111 section 5.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

from lockgate.adapters.coap.links import SPARED
from lockgate.adapters.coap.messages import CONTENT_FORMATS, TEXT, Code, OptionNumber, Options, media_type
from lockgate.adapters.coap.wire import decode_uint, encode_uint, in_order
from lockgate.errors import LockgateError, Step

PREFIX: Final = "/coap/"

METHODS: Final[Mapping[str, int]] = {
    "GET": Code.GET,
    "HEAD": Code.GET,
    "POST": Code.POST,
    "PUT": Code.PUT,
    "DELETE": Code.DELETE,
}
"""Table 1; a HEAD is a GET whose payload is not passed on (RFC 7252 section 10.2.2). Others are 405, or 501."""
NOT_CONVERTED: Final = frozenset({"OPTIONS", "TRACE", "CONNECT", "PATCH"})
"""Methods that HTTP knows and no resource here takes; whatever else is called a method is not known at all."""
ALLOW: Final = ", ".join(METHODS)

STATUS: Final[Mapping[int, int]] = {
    Code.CREATED: 201,
    Code.DELETED: 204,
    Code.VALID: 304,
    Code.CHANGED: 204,
    Code.CONTENT: 200,
    Code.CONTINUE: 502,
    Code.BAD_REQUEST: 400,
    Code.UNAUTHORIZED: 403,
    Code.BAD_OPTION: 400,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 400,
    Code.NOT_ACCEPTABLE: 406,
    Code.REQUEST_ENTITY_INCOMPLETE: 502,
    Code.CONFLICT: 409,
    Code.PRECONDITION_FAILED: 412,
    Code.REQUEST_ENTITY_TOO_LARGE: 413,
    Code.UNSUPPORTED_CONTENT_FORMAT: 415,
    Code.UNPROCESSABLE_ENTITY: 422,
    Code.TOO_MANY_REQUESTS: 429,
    Code.INTERNAL_SERVER_ERROR: 500,
    Code.NOT_IMPLEMENTED: 501,
    Code.BAD_GATEWAY: 502,
    Code.SERVICE_UNAVAILABLE: 503,
    Code.GATEWAY_TIMEOUT: 504,
    Code.PROXYING_NOT_SUPPORTED: 502,
    Code.HOP_LIMIT_REACHED: 502,
}
"""Table 2. 2.02 and 2.04 with a payload are 200. 4.01 is 403: a 401 would have to say how to prove who one is, which
the device behind knows and the office does not. 4.05 is 400: a 405 would have to say what is allowed instead. What
belongs to blocks (2.31, 4.08) never gets here; if it does, the device speaks nonsense."""
BY_CLASS: Final[Mapping[int, int]] = {2: 200, 4: 400, 5: 500}
"""What an unknown code counts as: the .00 of its class (RFC 7252 section 5.9); of no class that there is, 502."""

PAYLOAD_TYPE: Final = "application/coap-payload"
"""With its parameter cf the media type of a Content-Format that has none here (RFC 8075 section 6.2)."""
OCTETS: Final = "application/octet-stream"
WORDS: Final = "text/plain; charset=utf-8"
DEFAULT_MAX_AGE: Final = 60
"""What a representation without Max-Age is fresh for, in seconds (RFC 7252 section 5.10.5)."""
MAX_AGE: Final = 0xFFFFFFFF
MAX_OPTION_BYTES: Final = 255
MAX_RANGES: Final = 32

_VALID: Final = int(Code.VALID)
_CONTENT: Final = int(Code.CONTENT)
_TAG: Final = re.compile(r'(W/)?"([!\x23-\x7e\x80-\xff]*)"')
_TAG_HEX: Final = re.compile(r"(?:[0-9a-f]{2}){1,8}")
_LISTED: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class NotConverted(LockgateError):
    """A request that cannot be said in CoAP's words; `status` is the answer to it."""

    default_reason = "not converted to CoAP"
    default_step = Step.PROTOCOL

    def __init__(
        self,
        status: int = 400,
        message: str = "",
        fix: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        step: Step | None = None,
    ) -> None:
        super().__init__(message, reason=message, fix=fix, step=step)
        self.status = status
        self.headers = dict(headers or {})


class Range(msgspec.Struct, frozen=True):
    """One media range of an Accept header: "type/subtype", its parameters, and how much it is liked (0: not at all)."""

    name: str
    parameters: frozenset[str]
    quality: float

    def takes_in(self, name: str, parameters: frozenset[str]) -> bool:
        """Say whether it takes in a media type."""
        kind, _, subtype = self.name.partition("/")
        if self.name == "*/*":
            return True
        if subtype == "*":
            return name.partition("/")[0] == kind
        return name == self.name and self.parameters <= parameters

    @property
    def breadth(self) -> tuple[int, int]:
        """How special it is: the more special of two ranges decides (RFC 9110 section 12.5.1)."""
        return (0 if self.name == "*/*" else 1 if self.name.endswith("/*") else 2, len(self.parameters))


class Converted(msgspec.Struct, frozen=True):
    """A request in CoAP's words, and what of HTTP's must be looked at when the response is there."""

    method: str
    code: int
    options: Options
    payload: bytes
    ranges: tuple[Range, ...] = ()
    if_match: tuple[bytes, ...] | None = None
    is_none_wanted: bool = False
    """Whether `If-None-Match: *` stands in a GET: what is there is 304."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """A response in HTTP's words."""

    status: int
    headers: dict[str, str]
    body: bytes


# Requests


def to_request(
    method: str, raw_path: bytes, query: bytes, headers: Mapping[str, Sequence[str]], body: bytes
) -> Converted:
    """Give a request in CoAP's words.

    Args:
        method: as it came.
        raw_path: as it came, with its escapes.
        query: as it came, without the question mark.
        headers: by their names in lower case, each with its values in their order.
        body: whole.

    Raises:
        NotConverted: it cannot be said in CoAP, or is none of ours.
    """
    code = METHODS.get(method)
    if code is None:
        status = 405 if method in NOT_CONVERTED else 501
        raise NotConverted(
            status, "CoAP has no such method here", f"use {ALLOW}", {"Allow": ALLOW} if status == 405 else None
        )
    _check_site(headers)
    options = [(int(OptionNumber.URI_PATH), segment) for segment in path_segments(raw_path)]
    options += [(int(OptionNumber.URI_QUERY), part) for part in query_parts(query)]
    ranges = media_ranges(headers.get("accept", ()))
    if_match: tuple[bytes, ...] | None = None
    is_none_wanted = False
    if code == Code.GET:
        if body:
            raise NotConverted(400, "a GET has no body", "send it by PUT or POST")
        wanted = _accept(ranges)
        if wanted is not None:
            options.append((int(OptionNumber.ACCEPT), encode_uint(wanted)))
        if_match = _tags(headers.get("if-match", ()), is_strong=True)
        known = _tags(headers.get("if-none-match", ()), is_strong=False)
        is_none_wanted = known is not None and b"" in known
        options += [(int(OptionNumber.ETAG), tag) for tag in known or () if tag]
    else:
        options += _conditions(headers)
        if body or "content-type" in headers:
            options += _content(headers)
        age = _max_age(headers.get("cache-control", ()))
        if age is not None:
            options.append((int(OptionNumber.MAX_AGE), encode_uint(age)))
    return Converted(method, code, in_order(options), body, ranges, if_match, is_none_wanted)


def path_segments(raw_path: bytes) -> list[bytes]:
    """Give the segments of a path below `/coap/`, each decoded by itself: an escaped slash makes no two of one.

    Raises:
        NotConverted: it is not below `/coap/` as it is written, or holds what no path of CoAP may.
    """
    text = raw_path.decode("ascii", "replace")
    if not text.startswith(PREFIX):  # an absolute URI, an escape in the prefix: some other way to write an address
        raise NotConverted(400, "the path does not begin with /coap/ as it is written", "write https://HOST/coap/TOPIC")
    rest = text[len(PREFIX) :]
    if not rest:
        return []
    return [_decoded(segment, "path segment") for segment in rest.split("/")]


def query_parts(query: bytes) -> list[bytes]:
    """Give the parts of a query, each decoded by itself; a plus is a plus (RFC 7252 section 6.4).

    Raises:
        NotConverted: one of them is none of CoAP's.
    """
    return [_decoded(part, "query") for part in query.decode("ascii", "replace").split("&") if part]


def _decoded(text: str, what: str) -> bytes:
    if _ESCAPE.search(text):
        raise NotConverted(400, f"a {what} has an escape that is none", "write bytes as %XX")
    value = unquote_to_bytes(text)
    if len(value) > MAX_OPTION_BYTES:
        raise NotConverted(414, f"a {what} has {len(value)} bytes; CoAP's have {MAX_OPTION_BYTES} at most")
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise NotConverted(400, f"a {what} is no UTF-8", "write it in UTF-8, then escape it") from error
    if what == "path segment":
        if value in (b".", b".."):  # RFC 7252 section 5.10.1
            raise NotConverted(400, "a path segment must not be . or ..", "name the resource itself")
        if b"/" in value:
            raise NotConverted(400, "a path segment must not hold a slash", "write it as two segments")
    return value


def _check_site(headers: Mapping[str, Sequence[str]]) -> None:
    """Make sure that no foreign page has its reader's browser ask, with the reader's certificate or password.

    Raises:
        NotConverted: 403.
    """
    own = tuple(f"https://{host}" for host in headers.get("host", ()))
    site = headers.get("sec-fetch-site", ())
    origin = headers.get("origin", ())
    if any(each not in ("same-origin", "none") for each in site) or any(each not in own for each in origin):
        raise NotConverted(403, "another site's page asks", "ask from no page, or from one of this office")


# Media types


def media_ranges(values: Iterable[str]) -> tuple[Range, ...]:
    """Give the ranges of Accept headers, at most `MAX_RANGES` of them; what is none is passed over."""
    found = []
    for text in _listed(values)[:MAX_RANGES]:
        name, parameters = _media(text)
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if "/" in name:
            found.append(Range(name, frozenset(p for p in parameters if not p.startswith("q=")), quality))
    return tuple(found)


def is_acceptable(media: str, ranges: Sequence[Range]) -> bool:
    """Say whether Accept takes in a media type; without any range everything is taken."""
    name, parameters = _media(media)
    fitting = [each for each in ranges if each.takes_in(name, frozenset(parameters))]
    return not ranges or (bool(fitting) and max(fitting, key=lambda each: each.breadth).quality > 0)


def format_number(media: str) -> int | None:
    """Give the Content-Format of a media type, None where it has none (RFC 8075 section 6.1)."""
    name, parameters = _media(media)
    if name == PAYLOAD_TYPE:
        numbers = [p[3:] for p in parameters if p.startswith("cf=")]
        if len(numbers) == 1 and re.fullmatch(r"[0-9]{1,5}", numbers[0]) and int(numbers[0]) < 65_536:
            return int(numbers[0])
        return None
    known = _NUMBERS.get((name, frozenset(parameters)))
    if known is None and parameters == ["charset=utf-8"]:  # what all of them are anyway
        known = _NUMBERS.get((name, frozenset()))
    return known


def media_of(number: int) -> str:
    """Give the media type of a Content-Format."""
    return media_type(number) or f"{PAYLOAD_TYPE};cf={number}"


def _media(text: str) -> tuple[str, list[str]]:
    """Give a media type's name and its parameters, in one spelling."""
    name, *parameters = (part.strip() for part in text.split(";"))
    spelled = []
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if equals:
            spelled.append(f"{key.strip()}={value.strip().strip(chr(34))}".lower())
    return name.lower(), spelled


_NUMBERS: Final = {
    (name, frozenset(parameters)): number
    for number, media in CONTENT_FORMATS.items()
    for name, parameters in [_media(media)]
} | {("text/plain", frozenset[str]()): TEXT}


def _accept(ranges: Sequence[Range]) -> int | None:
    """Give the one Content-Format that is asked for; of several CoAP cannot ask, and the answer is looked at."""
    if len(ranges) != 1 or ranges[0].quality <= 0:
        return None
    (only,) = ranges
    return format_number(";".join([only.name, *sorted(only.parameters)]))


def _content(headers: Mapping[str, Sequence[str]]) -> Options:
    coding = ", ".join(headers.get("content-encoding", ())).lower()
    if coding not in ("", "identity"):
        raise NotConverted(415, "CoAP has no content codings here", "send it without Content-Encoding")
    said = headers.get("content-type", ())
    if not said:
        return ()
    number = format_number(said[-1]) if len(said) == 1 else None
    if number is None:
        raise NotConverted(
            415,
            "the media type has no Content-Format",
            f"send one that CoAP knows, or {PAYLOAD_TYPE};cf=NUMBER, or no Content-Type (curl -H Content-Type:)",
        )
    return ((int(OptionNumber.CONTENT_FORMAT), encode_uint(number)),)


# Conditions and ages


def _conditions(headers: Mapping[str, Sequence[str]]) -> list[tuple[int, bytes]]:
    """Give the conditions of a request that changes something.

    Raises:
        NotConverted: they cannot hold, or cannot be said.
    """
    options: list[tuple[int, bytes]] = []
    wanted = _tags(headers.get("if-match", ()), is_strong=True)
    if wanted is not None:
        if not wanted:
            raise NotConverted(412, "no ETag of this place is among those of If-Match", "GET it anew")
        options += [(int(OptionNumber.IF_MATCH), tag) for tag in wanted]
    barred = _tags(headers.get("if-none-match", ()), is_strong=False)
    if barred is not None:
        if b"" not in barred:
            raise NotConverted(400, "CoAP can say If-None-Match: * alone", "use it, or If-Match")
        options.append((int(OptionNumber.IF_NONE_MATCH), b""))
    return options


def _tags(values: Sequence[str], is_strong: bool) -> tuple[bytes, ...] | None:
    """Give the ETags of a header that can be ours, b"" for a star; None where there is no such header."""
    if not values:
        return None
    if [value.strip() for value in values] == ["*"]:
        return (b"",)
    found = []
    for text in _listed(values):
        match = _TAG.fullmatch(text)
        if match is None:
            raise NotConverted(400, "an ETag is none", 'write it as it came: "0123abcd"')
        if not (is_strong and match[1]) and _TAG_HEX.fullmatch(match[2]):
            found.append(bytes.fromhex(match[2]))
    return tuple(found)


def _max_age(values: Sequence[str]) -> int | None:
    for directive in _listed(values):
        name, _, seconds = directive.partition("=")
        if name.strip().lower() == "max-age" and re.fullmatch(r"[0-9]{1,10}", seconds):
            return min(MAX_AGE, int(seconds))
    return None


def _listed(values: Iterable[str]) -> list[str]:
    """Give the members of a header's list; a comma in quotation marks is none of its commas."""
    return [text for value in values for part in _LISTED.findall(value) if (text := part.strip())]


# Responses


def to_answer(code: int, options: Options, payload: bytes, asked: Converted) -> HttpAnswer:
    """Give a response in HTTP's words."""
    if code == _VALID:
        if not any(number == OptionNumber.ETAG for number, _ in asked.options):
            return problem(502, "2.03 for a request without ETag")
        return HttpAnswer(304, _validators(options) | {"Cache-Control": _cache_control(options)}, b"")
    if code == _CONTENT and asked.code == Code.GET:
        failed = _check_answer(options, asked)
        if failed is not None:
            return failed
    status = STATUS.get(code, BY_CLASS.get(code >> 5, 502))
    if code >> 5 == 2 and status < 300:
        return _success(status, code, options, payload)
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(_number(options, OptionNumber.MAX_AGE, DEFAULT_MAX_AGE))
    if not payload:
        return problem(status, "", headers)
    number = _number(options, OptionNumber.CONTENT_FORMAT, -1)
    if number >= 0:
        return HttpAnswer(status, headers | {"Content-Type": media_of(number)}, payload)
    return problem(status, payload.decode("utf-8", "replace"), headers)  # RFC 7252 section 5.5.2: it is for people


def problem(status: int, text: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    """Give an answer that says no in words."""
    if not text:
        return HttpAnswer(status, dict(headers or {}), b"")
    return HttpAnswer(status, {"Content-Type": WORDS, **(headers or {})}, text.encode() + b"\n")


def _check_answer(options: Options, asked: Converted) -> HttpAnswer | None:
    """Look at what CoAP could not be told."""
    tags = [value for number, value in options if number == OptionNumber.ETAG]
    if asked.if_match is not None and b"" not in asked.if_match and not set(tags) & set(asked.if_match):
        return problem(412, "it holds something else by now: GET it without If-Match")
    if asked.is_none_wanted:
        return HttpAnswer(304, _validators(options) | {"Cache-Control": _cache_control(options)}, b"")
    number = _number(options, OptionNumber.CONTENT_FORMAT, -1)
    media = media_of(number) if number >= 0 else OCTETS
    if not is_acceptable(media, asked.ranges):
        return problem(406, f"it is {media}: ask without Accept")
    return None


def _success(status: int, code: int, options: Options, payload: bytes) -> HttpAnswer:
    headers = _validators(options)
    if payload or code == _CONTENT:
        status = 200 if status == 204 else status
        number = _number(options, OptionNumber.CONTENT_FORMAT, -1)
        headers["Content-Type"] = media_of(number) if number >= 0 else OCTETS
    if code == _CONTENT:
        headers["Cache-Control"] = _cache_control(options)
    if code == Code.CREATED:
        headers |= _location(options)
    return HttpAnswer(status, headers, payload)


def _validators(options: Options) -> dict[str, str]:
    for number, value in options:
        if number == OptionNumber.ETAG:
            return {"ETag": f'"{value.hex()}"'}
    return {}


def _cache_control(options: Options) -> str:
    """Give how long a representation is fresh; for who asked alone, because others may not receive it."""
    age = _number(options, OptionNumber.MAX_AGE, DEFAULT_MAX_AGE)
    return f"private, max-age={age}" if age else "private, no-cache"


def _location(options: Options) -> dict[str, str]:
    segments = [value for number, value in options if number == OptionNumber.LOCATION_PATH]
    if not segments:
        return {}
    queries = [value for number, value in options if number == OptionNumber.LOCATION_QUERY]
    path = "/".join(quote(segment, safe=SPARED) for segment in segments)
    query = "&".join(quote(each, safe="-._~!$'()*+,;=:@/?") for each in queries)
    return {"Location": f"{PREFIX}{path}{'?' if query else ''}{query}"}


def _number(options: Options, number: int, default: int) -> int:
    for found, value in options:
        if found == number:
            return decode_uint(value)
    return default
