"""Threat: an old token, caught long ago, is replayed; or a token that never ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, NOW
from tests.support.tokens import claims, token


@pytest.mark.parametrize("ago", [60, 61, 3600, 86_400 * 365, NOW])
def test_an_expired_token_is_refused(target: Target, ago: float) -> None:
    payload = claims(iat=max(0, NOW - ago - 600), exp=NOW - ago)
    assert target.refuses(token(EC_KEY, payload)).reason == "token expired"


@pytest.mark.parametrize("exp", [None, "", "never", [], {}, True, 10**400, -1])
def test_a_token_without_a_usable_end_is_refused(target: Target, exp: Any) -> None:
    assert target.refuses(token(EC_KEY, {**claims(), "exp": exp})).reason == "token claims missing"


@pytest.mark.parametrize("exp", [b"NaN", b"Infinity", b"1e400", b"-1e400", b"9" * 5000])
def test_an_end_that_is_no_finite_number_is_refused(target: Target, exp: bytes) -> None:
    body = b'{"iat": %d, "aud": "lockgate", "exp": %b}' % (NOW, exp)
    assert target.refuses(token(EC_KEY, body)).reason in {
        "token claims missing",
        "token malformed",
        "token signature wrong",
    }


def test_the_session_ends_with_the_token_and_its_skew(target: Target) -> None:
    principal = target.shows(token(EC_KEY, claims(exp=NOW + 30)))
    assert principal.expires_at == NOW + 90
    session = target.opens(principal)
    outlet = session.outlet
    target.hub.handle_timer(NOW + 89)
    assert session.outlet is outlet
    target.hub.handle_timer(NOW + 90)
    assert session.outlet is None
    assert outlet.ended[0].reason == "token expired"  # type: ignore[union-attr]
