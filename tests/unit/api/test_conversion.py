"""The tables between HTTP and CoAP, row by row, and that none of them has a hole."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap.messages import CONTENT_FORMATS, Code, OptionNumber, Options
from lockgate.adapters.coap.wire import encode_uint
from lockgate.api import conversion
from lockgate.api.conversion import (
    BY_CLASS,
    METHODS,
    STATUS,
    Converted,
    HttpAnswer,
    NotConverted,
    format_number,
    is_acceptable,
    media_of,
    media_ranges,
    path_segments,
    query_parts,
    to_answer,
    to_request,
)

pytestmark = pytest.mark.requirement("C4")

ETAG, FORMAT, AGE = int(OptionNumber.ETAG), int(OptionNumber.CONTENT_FORMAT), int(OptionNumber.MAX_AGE)


def asked(method: str = "GET", path: str = "/coap/a", body: bytes = b"", **headers: str) -> Converted:
    path, _, query = path.partition("?")
    given = {"host": ["hub"], **{name.replace("_", "-"): [value] for name, value in headers.items()}}
    return to_request(method, path.encode(), query.encode(), given, body)


def refused(method: str = "GET", path: str = "/coap/a", body: bytes = b"", **headers: str) -> int:
    with pytest.raises(NotConverted) as caught:
        asked(method, path, body, **headers)
    return caught.value.status


def options(request: Converted) -> Options:
    return tuple(option for option in request.options if option[0] != OptionNumber.URI_PATH)


def answered(code: int, given: Options = (), payload: bytes = b"", request: Converted | None = None) -> HttpAnswer:
    return to_answer(code, given, payload, request or asked())


# Methods


@pytest.mark.parametrize(
    ("method", "code"),
    [("GET", Code.GET), ("HEAD", Code.GET), ("POST", Code.POST), ("PUT", Code.PUT), ("DELETE", Code.DELETE)],
)
def test_methods_that_both_have(method: str, code: int) -> None:
    assert asked(method).code == code
    assert METHODS[method] == code


@pytest.mark.parametrize(
    ("method", "status"),
    [("OPTIONS", 405), ("TRACE", 405), ("CONNECT", 405), ("PATCH", 405), ("PROPFIND", 501), ("get", 501), ("X", 501)],
)
def test_methods_that_coap_has_not(method: str, status: int) -> None:
    with pytest.raises(NotConverted) as caught:
        asked(method)
    assert caught.value.status == status
    assert caught.value.headers == ({"Allow": "GET, HEAD, POST, PUT, DELETE"} if status == 405 else {})


# Codes


@pytest.mark.parametrize(
    ("code", "payload", "status"),
    [
        ("2.01", b"", 201), ("2.01", b"x", 201), ("2.02", b"", 204), ("2.02", b"x", 200), ("2.04", b"", 204),
        ("2.04", b"x", 200), ("2.05", b"", 200), ("2.05", b"x", 200), ("2.31", b"", 502), ("4.00", b"", 400),
        ("4.01", b"", 403), ("4.02", b"", 400), ("4.03", b"", 403), ("4.04", b"", 404), ("4.05", b"", 400),
        ("4.06", b"", 406), ("4.08", b"", 502), ("4.09", b"", 409), ("4.12", b"", 412), ("4.13", b"", 413),
        ("4.15", b"", 415), ("4.22", b"", 422), ("4.29", b"", 429), ("5.00", b"", 500), ("5.01", b"", 501),
        ("5.02", b"", 502), ("5.03", b"", 503), ("5.04", b"", 504), ("5.05", b"", 502), ("5.08", b"", 502),
        ("2.30", b"x", 200), ("4.30", b"", 400), ("5.30", b"", 500), ("3.00", b"", 502), ("6.00", b"", 502),
        ("7.31", b"", 502), ("0.00", b"", 502), ("1.00", b"", 502),
    ],
)  # fmt: skip
def test_response_codes(code: str, payload: bytes, status: int) -> None:
    major, minor = code.split(".")
    answer = answered(int(major) << 5 | int(minor), (), payload)
    assert (answer.status, answer.body.rstrip(b"\n")) == (status, payload)


def test_every_code_has_a_status_that_http_knows() -> None:
    assert {int(code) for code in Code if code >= 64} == {int(code) for code in STATUS}
    for code in range(256):
        assert 200 <= answered(code).status <= 504, code
    assert set(BY_CLASS) == {2, 4, 5}


def test_valid_is_not_modified_for_who_asked_on_a_condition() -> None:
    request = asked(if_none_match='"0102"')
    answer = answered(Code.VALID, ((ETAG, b"\1\2"), (AGE, b"\x05")), b"", request)
    assert answer == HttpAnswer(304, {"ETag": '"0102"', "Cache-Control": "private, max-age=5"}, b"")
    assert answered(Code.VALID, ((ETAG, b"\1\2"),)).status == 502


# Media types and Content-Formats


@pytest.mark.parametrize(("number", "media"), sorted(CONTENT_FORMATS.items()))
def test_content_formats_both_ways(number: int, media: str) -> None:
    assert (media_of(number), format_number(media), format_number(media.upper())) == (media, number, number)
    assert options(asked("PUT", body=b"x", content_type=media)) == ((FORMAT, encode_uint(number)),)
    assert answered(Code.CONTENT, ((FORMAT, encode_uint(number)),), b"x").headers["Content-Type"] == media
    assert options(asked(accept=media)) == ((int(OptionNumber.ACCEPT), encode_uint(number)),)


def test_formats_that_have_no_media_type_here_are_a_payload_with_a_number() -> None:
    for number in (1, 9999, 65_535):
        media = f"application/coap-payload;cf={number}"
        assert (media_of(number), format_number(media)) == (media, number)
    assert [format_number(f"application/coap-payload{end}") for end in ("", ";cf=65536", ";cf=x", ";cf=1;cf=2")] == [
        None, None, None, None,
    ]  # fmt: skip


def test_spellings_of_one_media_type() -> None:
    for media in ("text/plain", 'Text/Plain; charset="UTF-8"', "text/plain;charset=utf-8"):
        assert format_number(media) == 0
    assert format_number("application/json; charset=utf-8") == 50
    assert format_number("text/plain; charset=latin-1") is None


def test_a_media_type_that_coap_does_not_know_is_refused() -> None:
    assert refused("PUT", body=b"a=1", content_type="application/x-www-form-urlencoded") == 415
    assert refused("POST", body=b"x", content_type="text/html") == 415
    assert refused("PUT", body=b"x", content_encoding="gzip") == 415
    assert refused("PUT", body=b"x", content_type="") == 415
    assert options(asked("PUT", body=b"x", content_encoding="identity")) == ()
    two = {"content-type": ["text/plain", "application/json"]}
    with pytest.raises(NotConverted):
        to_request("PUT", b"/coap/a", b"", two, b"x")


def test_a_payload_of_no_known_format_is_octets() -> None:
    assert answered(Code.CONTENT, (), b"x").headers["Content-Type"] == "application/octet-stream"
    assert "Content-Type" not in answered(Code.CHANGED).headers


@pytest.mark.parametrize(
    ("accept", "media", "is_taken"),
    [
        ("", "text/plain", True), ("*/*", "text/plain", True), ("text/*", "text/plain;charset=utf-8", True),
        ("text/plain", "text/plain;charset=utf-8", True),
        ("text/plain;charset=ascii", "text/plain;charset=utf-8", False),
        ("application/json, */*;q=0", "application/json", True), ("application/json, */*;q=0", "text/plain", False),
        ("text/plain;q=0, */*", "text/plain", False), ("application/xml, application/cbor", "application/json", False),
        ("text/plain;q=x", "text/plain", False), ("nonsense", "text/plain", True), ("image/*", "text/plain", False),
        ("application/coap-payload;cf=7", "application/coap-payload;cf=7", True),
    ],
)  # fmt: skip
def test_accept_is_looked_at_in_the_answer(accept: str, media: str, is_taken: bool) -> None:
    assert is_acceptable(media, media_ranges([accept])) is is_taken


def test_of_several_ranges_coap_is_asked_for_none_and_the_answer_decides() -> None:
    request = asked(accept="application/json, text/plain;q=0.5")
    assert options(request) == ()
    assert answered(Code.CONTENT, ((FORMAT, b"\x32"),), b"{}", request).status == 200
    assert answered(Code.CONTENT, ((FORMAT, b"\x3c"),), b"x", request).status == 406
    assert options(asked(accept="*/*")) == options(asked(accept="application/json;q=0")) == ()
    assert len(media_ranges([", ".join(["text/plain"] * 100)])) == conversion.MAX_RANGES


# Conditions


def test_etags_both_ways() -> None:
    assert options(asked(if_none_match='"0102", W/"ff", "not-ours", "00"')) == (
        (ETAG, b"\1\2"),
        (ETAG, b"\xff"),
        (ETAG, b"\0"),
    )
    assert answered(Code.CONTENT, ((ETAG, b"\xab\xcd"),), b"x").headers["ETag"] == '"abcd"'
    assert refused(if_none_match="0102") == 400


def test_conditions_of_changes() -> None:
    match, none = int(OptionNumber.IF_MATCH), int(OptionNumber.IF_NONE_MATCH)
    assert options(asked("PUT", if_match='"0102", "03"')) == ((match, b"\1\2"), (match, b"\3"))
    assert options(asked("DELETE", if_match="*")) == ((match, b""),)
    assert options(asked("PUT", if_none_match="*")) == ((none, b""),)
    assert refused("PUT", if_none_match='"0102"') == 400
    assert refused("PUT", if_match='W/"0102", "not-ours"') == 412


def test_conditions_of_a_get_that_coap_cannot_say_are_looked_at_in_the_answer() -> None:
    content = ((ETAG, b"\1"),)
    assert answered(Code.CONTENT, content, b"x", asked(if_match='"01"')).status == 200
    assert answered(Code.CONTENT, content, b"x", asked(if_match="*")).status == 200
    assert answered(Code.CONTENT, content, b"x", asked(if_match='"02"')).status == 412
    assert answered(Code.CONTENT, content, b"x", asked(if_match='W/"01"')).status == 412
    assert answered(Code.CONTENT, content, b"x", asked(if_none_match="*")).status == 304
    assert answered(Code.NOT_FOUND, (), b"", asked(if_none_match="*")).status == 404


# Ages, places, words


def test_max_age_both_ways() -> None:
    def freshness(given: Options) -> str:
        return answered(Code.CONTENT, given, b"x").headers["Cache-Control"]

    assert freshness(((AGE, b"\x1e"),)) == "private, max-age=30"
    assert freshness(()) == "private, max-age=60"
    assert freshness(((AGE, b""),)) == "private, no-cache"
    assert options(asked("PUT", cache_control="no-store, max-age=30")) == ((AGE, b"\x1e"),)
    assert options(asked("PUT", cache_control="max-age=9999999999")) == ((AGE, b"\xff\xff\xff\xff"),)
    assert options(asked("PUT", cache_control="max-age=-1")) == options(asked(cache_control="max-age=30")) == ()
    assert "Cache-Control" not in answered(Code.CHANGED).headers


def test_who_is_to_come_again_is_told_when() -> None:
    for code, status in ((Code.TOO_MANY_REQUESTS, 429), (Code.SERVICE_UNAVAILABLE, 503)):
        assert answered(code, ((AGE, b"\x03"),)) == HttpAnswer(status, {"Retry-After": "3"}, b"")
        assert answered(code).headers == {"Retry-After": "60"}


def test_the_place_of_what_was_made() -> None:
    path, query = int(OptionNumber.LOCATION_PATH), int(OptionNumber.LOCATION_QUERY)
    given = ((path, b"a b"), (path, b"\xc3\xa4/?"), (query, b"x=1&2"), (query, b"y"))
    assert answered(Code.CREATED, given).headers == {"Location": "/coap/a%20b/%C3%A4%2F%3F?x=1%262&y"}
    assert answered(Code.CREATED, ((path, b"a"),)).headers == {"Location": "/coap/a"}
    assert answered(Code.CREATED).headers == {}


def test_diagnostic_payloads_are_text_for_people() -> None:
    answer = answered(Code.NOT_FOUND, (), b"nothing is there \xff")
    assert answer.headers == {"Content-Type": "text/plain; charset=utf-8"}
    assert answer.body == "nothing is there \N{REPLACEMENT CHARACTER}\n".encode()
    answer = answered(Code.BAD_REQUEST, ((FORMAT, b"\x32"),), b"{}")
    assert (answer.headers, answer.body) == ({"Content-Type": "application/json"}, b"{}")


# Addresses


def test_a_path_is_taken_segment_by_segment() -> None:
    assert path_segments(b"/coap/") == []
    assert path_segments(b"/coap/a/b%20c/%C3%A4") == [b"a", b"b c", b"\xc3\xa4"]
    assert path_segments(b"/coap/a//b/") == [b"a", b"", b"b", b""]
    assert path_segments(b"/coap/coap://elsewhere/x") == [b"coap:", b"", b"elsewhere", b"x"]
    assert path_segments(b"/coap/a+b%2525") == [b"a+b%25"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/coap/a%2Fb", 400), ("/coap/a%2fb", 400), ("/coap/../b", 400), ("/coap/a/.", 400), ("/coap/%2E%2e/b", 400),
        ("/coap/a%zz", 400), ("/coap/a%", 400), ("/coap/%FF", 400), ("/coap%2Fa", 400), ("/%63oap/a", 400),
        ("https://elsewhere/coap/a", 400), ("/coap/" + "x" * 256, 414), ("/coap/a?" + "x" * 256, 414),
        ("/coap/a?%FF", 400),
    ],
)  # fmt: skip
def test_tricks_with_paths_are_refused(path: str, status: int) -> None:
    assert refused(path=path) == status


def test_a_query_is_taken_part_by_part() -> None:
    assert query_parts(b"filter=a/%2B&&x=1+2%263") == [b"filter=a/+", b"x=1+2&3"]
    assert query_parts(b"") == []


def test_a_get_has_no_body() -> None:
    assert refused(body=b"x") == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere"}, {"origin": "null"}, {"origin": "http://hub"},
        {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"},
    ],
)  # fmt: skip
def test_a_foreign_page_does_not_ask_by_its_readers_browser(headers: dict[str, str]) -> None:
    for method in ("POST", "GET"):
        with pytest.raises(NotConverted, match="another site's page") as caught:
            asked(method, "/coap/a", b"", **headers)
        assert caught.value.status == 403
    assert asked(origin="https://hub", sec_fetch_site="same-origin").code == Code.GET
