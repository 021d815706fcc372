"""Threat: a token that a device signed for another service is replayed here (RFC 8725 section 3.9)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY
from tests.support.tokens import claims, token


@pytest.mark.parametrize(
    "audience",
    [
        "",
        "other",
        "Lockgate",
        "lockgate ",
        "lockgate2",
        "xlockgate",
        [],
        ["other"],
        ["lock", "gate"],
        {"lockgate": 1},
        1,
        True,
        None,
    ],
)
def test_a_token_for_another_audience_is_refused(target: Target, audience: Any) -> None:
    error = target.refuses(token(EC_KEY, {**claims(), "aud": audience}))
    assert error.reason == "token audience wrong"
    assert error.fix == "sign tokens with aud=lockgate"


def test_a_token_without_an_audience_is_refused(target: Target) -> None:
    assert target.refuses(token(EC_KEY, claims(aud=None))).reason == "token audience wrong"


def test_a_long_audience_does_not_flood_the_evidence(target: Target) -> None:
    error = target.refuses(token(EC_KEY, claims(aud="x" * 4000)))
    assert len(error.evidence["aud"]) <= 80
