"""HTTP that somebody made up, turned into CoAP: a request that CoAP can carry, or a refusal in our own words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.adapters.coap import mapping, wire
from lockgate.adapters.coap.exchange import KNOWN_OPTIONS, unacceptable
from lockgate.adapters.coap.messages import CoapMessage, OptionNumber, Type
from lockgate.api.conversion import METHODS, Converted, NotConverted, to_answer, to_request

ALPHABET = st.sampled_from(
    ["a", "b", ".", "..", "/", "//", "%2F", "%2e", "%", "%zz", "%00", "%FF", "#", "+", "$devices", "é"]
)
PATHS = st.lists(ALPHABET, max_size=8).map(lambda parts: ("/coap/" + "".join(parts)).encode())
VALUES = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
    st.sampled_from(
        ['"0102"', "*", 'W/"ff"', "text/plain;q=0.5, */*", "application/coap-payload;cf=7", "max-age=9", '"', ",,;="]
    ),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["accept", "content-type", "if-match", "if-none-match", "cache-control", "content-encoding", "origin", "host"]
    ),
    st.lists(VALUES, min_size=1, max_size=2),
)


def converted(method: str, path: bytes, query: bytes, headers: dict[str, list[str]], body: bytes) -> Converted | None:
    try:
        return to_request(method, path, query, headers, body)
    except NotConverted as error:
        refusal = error
    assert 400 <= refusal.status <= 501
    assert refusal.reason
    return None


@given(st.sampled_from([*METHODS, "PATCH", "X"]), PATHS, st.binary(max_size=20), HEADERS, st.binary(max_size=8))
def test_whatever_comes_is_a_request_that_coap_can_carry_or_is_refused(
    method: str, path: bytes, query: bytes, headers: dict[str, list[str]], body: bytes
) -> None:
    asked = converted(method, path, query, headers, body)
    if asked is None:
        return
    message = CoapMessage(Type.CON, asked.code, 1, b"", asked.options, asked.payload)
    assert wire.decode(wire.encode(message)) == message
    assert unacceptable(asked.options, KNOWN_OPTIONS) == 0
    segments = message.all(OptionNumber.URI_PATH)
    assert not {b".", b".."} & set(segments)
    assert not any(b"/" in segment for segment in segments)
    mapping.said_by(message)  # what HTTP let through, the door can read


@given(
    st.integers(0, 255),
    st.lists(st.tuples(st.sampled_from([4, 8, 12, 14, 20, 6, 99]), st.binary(max_size=8)), max_size=5),
    st.binary(max_size=20),
    HEADERS,
)
def test_whatever_is_answered_is_an_answer_that_http_can_carry(
    code: int, options: list[tuple[int, bytes]], payload: bytes, headers: dict[str, list[str]]
) -> None:
    asked = converted("GET", b"/coap/a", b"", headers, b"")
    if asked is None:
        return
    answer = to_answer(code, wire.in_order(options), payload, asked)
    assert 200 <= answer.status <= 504
    for name, value in answer.headers.items():
        (name + value).encode("ascii")
        assert not set(value) & set("\r\n\0")
    if answer.status in (204, 304):
        assert answer.body == b""
