"""Threat: one token made to live for years, and stolen once (the longest life is 24 hours)."""

from __future__ import annotations

import pytest

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, NOW
from tests.support.tokens import claims, token

DAY = 86_400


@pytest.mark.requirement("Q16")
@pytest.mark.parametrize(("iat", "exp"), [(0, DAY + 1), (0, 10 * 365 * DAY), (-DAY, 60), (-(365 * DAY), 365 * DAY)])
def test_a_token_with_a_long_life_is_refused(target: Target, iat: int, exp: int) -> None:
    error = target.refuses(token(EC_KEY, claims(iat=NOW + iat, exp=NOW + exp)))
    assert error.reason == "token lifetime too long"


def test_a_late_beginning_does_not_shorten_a_long_life(target: Target) -> None:
    payload = claims(iat=NOW - 2 * DAY, nbf=NOW, exp=NOW + 60)
    assert target.refuses(token(EC_KEY, payload)).reason == "token lifetime too long"


def test_a_day_is_the_longest_life(target: Target) -> None:
    assert target.shows(token(EC_KEY, claims(exp=NOW + DAY))).expires_at == NOW + DAY + 60
