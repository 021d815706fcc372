"""Threat: a token written so that two readers understand two things, or one that is no compact JWS at all.

Source: RFC 7515 sections 2 and 4 (base64url, member names), 7.2 (JSON serialization); RFC 7516 (JWE); RFC 7797 (b64);
RFC 8725 sections 2.3, 2.7, 3.1 and 3.7.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lockgate.errors import AuthenticationFailed
from lockgate.identity.jwt import TokenVerifier, looks_like_token
from lockgate.settings import IdentitySettings
from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, NOW
from tests.support.tokens import claims, encoded, signature, token, unsigned

GOOD = token(EC_KEY)
HEAD, BODY, SIGN = GOOD.split(b".")
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def refused_by_all(target: Target, shown: bytes) -> str:
    """See that neither the password field nor an AUTH packet takes a token; give the latter's reason."""
    target.refuses(shown)
    with pytest.raises(AuthenticationFailed) as caught:
        TokenVerifier(target.registry, IdentitySettings()).verify("sensor", shown, NOW)
    return caught.value.reason


def signed_header(header: bytes, payload: bytes | None = None) -> bytes:
    """Sign any bytes as header and claims, as the device itself could."""
    signed = unsigned(header, claims() if payload is None else payload)
    return signed + b"." + encoded(signature(EC_KEY, signed))


SPOILT = {
    "padding behind": GOOD + b"=",
    "padding in full": GOOD + b"==",
    "a newline behind": GOOD + b"\n",
    "a newline before": b"\n" + GOOD,
    "a newline within": GOOD[:20] + b"\n" + GOOD[20:],
    "a space behind": GOOD + b" ",
    "a zero byte behind": GOOD + b"\x00",
    "signs that are no base64": GOOD[:-4] + b"!#%&" + GOOD[-4:],
    "the other alphabet": b".".join((HEAD, BODY, b"+/" + SIGN[2:])),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "Bearer before": b"Bearer " + GOOD,
    "in quotes": b'"' + GOOD + b'"',
    "padded parts": b".".join((HEAD + b"=", BODY, SIGN)),
    "no signature": HEAD + b"." + BODY,
    "no signature, a dot": HEAD + b"." + BODY + b".",
    "no claims": HEAD + b".." + SIGN,
    "no header": b"." + BODY + b"." + SIGN,
    "one part": HEAD,
    "nothing but dots": b"..",
    "four parts": GOOD + b"." + SIGN,
    "a dot behind": GOOD + b".",
    "a dot before": b"." + GOOD,
    "five parts (JWE)": b".".join((HEAD, BODY, SIGN, SIGN, SIGN)),
    "twice": GOOD + b"." + GOOD,
    "in capitals": GOOD.upper(),
    "reversed": GOOD[::-1],
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_good_token_spelled_otherwise_is_refused(target: Target, kind: str) -> None:
    refused_by_all(target, SPOILT[kind])


def test_the_last_sign_of_a_signature_has_one_spelling(target: Target) -> None:
    # 64 bytes are 85 signs and a half: the last one's low bits say nothing, and must be zero (RFC 4648 section 3.5).
    index = ALPHABET.index(SIGN[-1:])
    for other in range(index & ~0xF, index | 0xF):
        spelled = b".".join((HEAD, BODY, SIGN[:-1] + ALPHABET[other : other + 1]))
        if spelled != GOOD:
            assert target.refuses(spelled).reason == "token signature wrong"


def test_the_plain_alphabet_of_base64_is_refused(target: Target) -> None:
    for number in range(100):
        signed = unsigned({"alg": "ES256"}, claims(jti=str(number)))
        raw = signature(EC_KEY, signed)
        plain = base64.b64encode(raw).rstrip(b"=")
        if plain != encoded(raw):
            assert target.refuses(signed + b"." + plain).reason == "token signature wrong"


def test_the_json_serializations_are_refused(target: Target) -> None:
    parts = {"payload": BODY.decode(), "protected": HEAD.decode(), "signature": SIGN.decode()}
    signatures = [{"protected": HEAD.decode(), "signature": SIGN.decode()}]
    for form in (
        parts,
        {"payload": BODY.decode(), "signatures": signatures},
        {**parts, "header": {"alg": "none"}},
        {**parts, "protected": "", "header": {"alg": "ES256"}},
    ):
        refused_by_all(target, json.dumps(form).encode())


HEADERS: dict[str, dict[str, Any]] = {
    "unencoded payload": {"b64": False},
    "compressed": {"zip": "DEF"},
    "compressed and encrypted": {"zip": "DEF", "enc": "A128GCM"},
    "encrypted": {"enc": "A256GCM"},
    "password based": {"enc": "A128GCM", "p2s": "AAAA", "p2c": 2_000_000_000},
    "an agreed key": {"epk": {"kty": "EC"}},
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_of_another_kind_of_token_is_refused(target: Target, kind: str) -> None:
    assert target.refuses(token(EC_KEY, **HEADERS[kind])).reason == "token signature wrong"


@pytest.mark.parametrize("algorithm", ["dir", "RSA-OAEP", "ECDH-ES", "A128KW", "PBES2-HS256+A128KW", "ECDH-ES+A256KW"])
def test_an_encrypted_token_is_refused(target: Target, algorithm: str) -> None:
    head = unsigned({"alg": algorithm, "enc": "A128GCM", "zip": "DEF"}, b"{}").split(b".")[0]
    for parts in (5, 3):
        refused_by_all(target, b".".join([head, *([b"AAAA"] * (parts - 1))]))


def test_a_token_within_a_token_is_not_opened(target: Target) -> None:
    for payload in (GOOD, json.dumps(GOOD.decode()).encode(), json.dumps({"jwt": GOOD.decode()}).encode()):
        refused_by_all(target, token(EC_KEY, payload, cty="JWT"))


def test_a_header_that_says_something_else_than_text_is_refused(target: Target) -> None:
    for member in (b'"typ":5', b'"kid":5', b'"kid":["a"]', b'"x5c":"a"', b'"jku":{}', b'"cty":null'):
        assert target.refuses(signed_header(b'{"alg":"ES256",' + member + b"}")).reason == "token signature wrong"


# Duplicate and escaped members: RFC 7515 section 4 allows to refuse a duplicate or to take the last. Who chooses the
# key and whoever checks the signature must take the same one.


@pytest.mark.parametrize("last", ["none", "HS256", "RS256", "", "ES384"])
def test_of_two_algorithms_the_last_counts_for_everybody(target: Target, last: str) -> None:
    forged = signed_header(b'{"alg":"ES256","alg":"%b"}' % last.encode())
    assert target.refuses(forged).reason == "token algorithm not allowed"


def test_a_first_algorithm_that_nobody_hears_changes_nothing(target: Target) -> None:
    first = unsigned(b'{"alg":"none","alg":"ES256"}', claims())
    assert target.refuses(first + b".").reason == "token signature wrong"
    assert target.refuses(first + b"." + encoded(bytes(64))).reason == "token signature wrong"
    assert target.shows(signed_header(b'{"alg":"none","alg":"ES256"}')).device == "sensor", "the device itself signed"


def test_of_two_claims_the_last_counts(target: Target) -> None:
    late, soon = int(NOW) + 10**8, int(NOW) + 60
    body = '{"iat":%d,"aud":"lockgate","exp":%d,"exp":%d}'
    assert target.refuses(signed_header(b'{"alg":"ES256"}', (body % (NOW, soon, late)).encode())).reason == (
        "token lifetime too long"
    )
    principal = target.shows(signed_header(b'{"alg":"ES256"}', (body % (NOW, late, soon)).encode()))
    assert principal.expires_at == soon + 60
    twice = f'{{"iat":{int(NOW)},"aud":"lockgate","exp":{soon},"sub":"sensor","sub":"camera"}}'.encode()
    assert target.refuses(signed_header(b'{"alg":"ES256"}', twice)).reason == "token subject wrong"


def test_an_escaped_member_is_the_member(target: Target) -> None:
    none = unsigned(b'{"\\u0061lg":"n\\u006fne"}', claims()) + b"."
    assert target.refuses(none).reason == "token algorithm not allowed"
    body = b'{"iat":%d,"aud":"lockgate","\\u0065xp":%d}' % (NOW, NOW + 10**8)
    assert target.refuses(signed_header(b'{"alg":"ES256"}', body)).reason == "token lifetime too long"
    crit = b'{"alg":"ES256","\\u0063rit":["x"],"x":1}'
    assert target.refuses(signed_header(crit)).reason == "token extension not known"


@pytest.mark.parametrize("name", ["Alg", "ALG", "alg ", "alg\\u0000", "\\u00e1lg", "a\\u200dlg", "\\uff41lg"])
def test_a_member_that_only_looks_like_the_algorithm_is_none(target: Target, name: str) -> None:
    forged = signed_header(b'{"%b":"ES256"}' % name.encode())
    assert target.refuses(forged).reason in {"token algorithm not allowed", "bad user name or password"}
    assert looks_like_token(GOOD)


@pytest.mark.parametrize("algorithm", ["ES256\\u0000", "ES256\\n", "\\u0045S256\\u200b", "E\\u0405256", "[ES256]"])
def test_an_algorithm_that_only_looks_right_is_refused(target: Target, algorithm: str) -> None:
    forged = signed_header(b'{"alg":"%b"}' % algorithm.encode())
    assert target.refuses(forged).reason == "token algorithm not allowed"
