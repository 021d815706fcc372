"""Threat: a token made in advance, while the key was in the attacker's hands, for a time when it no longer is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, NOW
from tests.support.tokens import claims, token


@pytest.mark.parametrize("ahead", [61, 3600, 86_400 * 365])
def test_a_token_that_begins_later_is_refused(target: Target, ahead: int) -> None:
    for payload in (claims(iat=NOW + ahead, exp=NOW + ahead + 60), claims(nbf=NOW + ahead, exp=NOW + 86_000)):
        assert target.refuses(token(EC_KEY, payload)).reason == "token not yet valid"


def test_an_early_nbf_does_not_hide_a_late_iat(target: Target) -> None:
    payload = claims(iat=NOW + 3600, nbf=NOW - 3600, exp=NOW + 7200)
    assert target.refuses(token(EC_KEY, payload)).reason == "token not yet valid"


@pytest.mark.parametrize("nbf", ["1900000000", None, [], True, -1, 10**300])
def test_a_beginning_that_cannot_be_read_is_not_passed_over(target: Target, nbf: Any) -> None:
    assert target.refuses(token(EC_KEY, {**claims(), "nbf": nbf})).reason == "token claims missing"
