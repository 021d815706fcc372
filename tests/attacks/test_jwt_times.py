"""Threat: times that are no times, read as "never" or "long ago" (RFC 7519 section 2, RFC 8725 section 2.8)."""

from __future__ import annotations

import json

import pytest

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, NOW
from tests.support.tokens import claims, token

NUMBERS = [
    "-1", "-0.5", "1e400", "-1e400", "1e308", "1E+30", "9" * 400, "-" + "9" * 400, "0x7fffffff", "0777", "+1800000100",
    ".5", "1.", "1e", "NaN", "Infinity", "-Infinity", "1800000100L", "1_800_000_100", "18446744073709551616",
    "9223372036854775808", "253402300800", "4294967296000", "null", "true", "false", "[]", "{}", "[1800000100]",
    '"1800000100"', '"2027-01-15T08:00:00Z"', '""', '" "', '"never"', '"Infinity"', '"-1"',
]  # fmt: skip
REASONS = {
    "token claims missing", "token malformed", "token signature wrong", "token expired", "token not yet valid",
    "token lifetime too long",
}  # fmt: skip


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_time_that_is_none_proves_nothing(target: Target, claim: str, number: str) -> None:
    members = {name: json.dumps(value) for name, value in claims(nbf=int(NOW)).items()}
    members[claim] = number
    body = "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"
    assert target.refuses(token(EC_KEY, body.encode())).reason in REASONS


@pytest.mark.parametrize("exp", [NOW - 60, NOW - 60.0001, NOW - 61, 0, 0.0, 1])
def test_the_end_is_the_end_to_the_second(target: Target, exp: float) -> None:
    issued = max(0.0, exp - 600)
    assert target.refuses(token(EC_KEY, claims(iat=issued, exp=exp))).reason == "token expired"


def test_an_end_before_the_beginning_is_no_long_life(target: Target) -> None:
    error = target.refuses(token(EC_KEY, claims(iat=NOW + 3600, exp=NOW + 60)))
    assert error.reason == "token not yet valid"
    assert target.refuses(token(EC_KEY, claims(iat=NOW, exp=NOW - 100))).reason == "token expired"


def test_a_fraction_of_a_second_is_one(target: Target) -> None:
    principal = target.shows(token(EC_KEY, claims(exp=NOW + 0.25)))
    assert principal.expires_at == NOW + 60.25
