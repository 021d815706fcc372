"""Threat: a token that says it needs no signature (RFC 8725 section 3.2; CVE-2015-9235 and its many children)."""

from __future__ import annotations

import pytest

from tests.attacks.conftest import Target
from tests.support.tokens import claims, encoded, unsigned


@pytest.mark.requirement("Q16")
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", " none", "none\x00"])
@pytest.mark.parametrize("signature", [b"", b"AAAA", encoded(bytes(64))])
@pytest.mark.parametrize("client_id", ["sensor", "camera"])
def test_a_token_without_a_signature_is_refused(
    target: Target, algorithm: str, signature: bytes, client_id: str
) -> None:
    forged = unsigned({"alg": algorithm, "typ": "JWT"}, claims()) + b"." + signature
    assert target.refuses(forged, client_id).reason == "token algorithm not allowed"


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"alg": None}, {"alg": ["none"]}, {"alg": {"none": 1}}, {"alg": 0}])
def test_a_header_without_a_usable_algorithm_is_refused(target: Target, header: dict[str, object]) -> None:
    assert target.refuses(unsigned(header, claims()) + b".").reason == "token algorithm not allowed"


@pytest.mark.parametrize("signature", [b"", encoded(bytes(64)), encoded(b"\x00" * 63 + b"\x01"), encoded(b"\xff" * 64)])
def test_an_empty_or_zero_signature_under_the_right_algorithm_is_refused(target: Target, signature: bytes) -> None:
    # r = s = 0 passed for any message in Java's ECDSA: CVE-2022-21449.
    forged = unsigned({"alg": "ES256", "typ": "JWT"}, claims()) + b"." + signature
    assert target.refuses(forged).reason == "token signature wrong"
