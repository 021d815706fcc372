"""Threat: a token that is too large, too deep or no token at all brings down the gate or shows its insides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.identity.jwt import MAX_TOKEN_BYTES, looks_like_token
from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY
from tests.support.tokens import claims, encoded, token, unsigned

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CLAIMS = st.dictionaries(st.sampled_from(["iat", "exp", "nbf", "aud", "sub", "iss", "jti", "cnf"]), JSON)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["alg", "typ", "kid", "crit", "jwk", "jku", "x5c", "x5u", "x5t", "b64", "cty", "zip", "enc", "p2c"]
    ),
    JSON,
)


def test_a_token_above_the_bound_is_refused_unread(target: Target) -> None:
    long = token(EC_KEY, claims(padding="x" * MAX_TOKEN_BYTES))
    assert target.refuses(long).reason == "token too large"
    assert target.refuses(b"eyJ" + b"." * 2 + b"A" * 10_000_000).reason == "token too large"


def test_the_largest_token_is_taken(target: Target) -> None:
    size = 0
    while len(token(EC_KEY, claims(padding="x" * (size + 3)))) <= MAX_TOKEN_BYTES:
        size += 3
    assert target.shows(token(EC_KEY, claims(padding="x" * size)))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("place", ["header", "claims"])
def test_a_token_nested_thousands_deep_is_refused(target: Target, opening: bytes, place: str) -> None:
    for depth in (100, 900, 990, 1000, 2000):
        deep = b'{"alg":"ES256","a":' + (opening * depth)[:5500]
        closed = b'{"alg":"ES256","a":' + b"[" * depth + b"]" * depth + b"}"
        for part in (deep, closed):
            if place == "header":
                forged = unsigned(part, claims()) + b".AAAA"
            else:
                forged = token(EC_KEY, part)
            target.refuses(forged)


@pytest.mark.parametrize(
    "shown",
    [
        b"eyJ..",
        b"eyJ.eyJ.",
        b"eyJ\xff.\xff.\xff",
        b"eyJ" + encoded(b"\xff\xfe") + b"..",
        unsigned(b'{"alg":"ES256"', b"{}") + b".",
        unsigned(b'{"a":[]}', b"[]") + b".",
        unsigned(b'{"alg":"ES256"}', b"null") + b".",
        unsigned(b'{"alg":"ES256"}', b'"\\ud800"') + b".",
        unsigned(b'{"alg":"ES256"}', b"\xef\xbb\xbf{}") + b".",
        unsigned(b'{"alg":"ES256","alg":"none"}', b"{}") + b".",
    ],
)
def test_a_broken_token_is_refused(target: Target, shown: bytes) -> None:
    target.refuses(shown)


PART = st.binary(max_size=80).map(lambda part: part.replace(b".", b"")) | st.from_regex(rb"[\w-]{0,40}", fullmatch=True)


@SHARED
@given(shown=st.tuples(PART, PART, PART).map(lambda parts: b"eyJ" + b".".join(parts)))
def test_random_bytes_that_begin_like_a_token_are_refused(target: Target, shown: bytes) -> None:
    target.refuses(shown)


@SHARED
@given(header=HEADERS, payload=CLAIMS, client_id=st.sampled_from(["sensor", "camera", "", "nobody", "kettle"]))
def test_random_headers_and_claims_are_refused(
    target: Target, header: dict[str, Any], payload: dict[str, Any], client_id: str
) -> None:
    target.refuses(unsigned({"alg": "ES256", **header}, payload) + b"." + encoded(bytes(64)), client_id)


@SHARED
@given(payload=CLAIMS)
def test_random_claims_signed_by_the_device_itself_do_not_break_the_gate(
    target: Target, payload: dict[str, Any]
) -> None:
    body = json.dumps(payload).encode()
    target.refuses(token(EC_KEY, body))


@SHARED
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_breaks_a_token(target: Target, position: int, bit: int) -> None:
    good = token(EC_KEY)
    flipped = bytearray(good)
    flipped[position % len(good)] ^= 1 << bit
    last_of_each_part = {len(part) - 1 + good.index(part) for part in good.split(b".")}
    if position % len(good) in last_of_each_part:
        return  # its lowest bits are padding
    if not looks_like_token(bytes(flipped)):
        return  # this is a password, and wrong ones are counted
    target.refuses(bytes(flipped))
