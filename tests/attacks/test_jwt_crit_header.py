"""Threat: a header that names an extension which must be understood is passed over (RFC 7515 section 4.1.11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY
from tests.support.tokens import token


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["x"], "x": 1},
        {"crit": ["x"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["http://example.invalid/UNDEFINED"], "http://example.invalid/UNDEFINED": True},
        {"crit": []},
        {"crit": "x", "x": 1},
        {"crit": [1]},
        {"crit": ["b64"], "b64": False},
        {"crit": ["alg"]},
    ],
)
def test_an_extension_that_must_be_understood_is_refused(target: Target, header: dict[str, Any]) -> None:
    assert target.refuses(token(EC_KEY, **header)).reason == "token extension not known"
