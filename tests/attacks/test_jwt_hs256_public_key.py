"""Threat: a token signed by HMAC with the public key as its secret (RFC 8725 section 2.1; CVE-2016-10555)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, RSA_KEY, SigningKey, public_pem
from tests.support.tokens import claims, hs256, token

SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
KEYS: list[tuple[str, SigningKey]] = [("sensor", EC_KEY), ("camera", RSA_KEY)]


@pytest.mark.requirement("Q16")
@pytest.mark.parametrize(("client_id", "key"), KEYS)
def test_no_form_of_the_public_key_is_an_hmac_secret(target: Target, client_id: str, key: SigningKey) -> None:
    pem = public_pem(key)
    der = key.public_key().public_bytes(serialization.Encoding.DER, SPKI)
    for secret in (pem, pem.strip(), pem.replace(b"\n", b"\r\n"), der, b""):
        assert target.refuses(hs256(secret, claims()), client_id).reason == "token algorithm not allowed"


@pytest.mark.parametrize(
    "algorithm",
    ["HS256", "HS384", "HS512", "RS256", "RS384", "PS256", "ES384", "ES256K", "EdDSA", "Ed25519", "es256", "A128KW"],
)
def test_the_registered_key_pins_the_algorithm_whatever_the_token_says(target: Target, algorithm: str) -> None:
    assert target.refuses(token(EC_KEY, alg=algorithm)).reason == "token algorithm not allowed"


def test_an_rsa_signature_under_the_name_of_the_other_algorithm_is_refused(target: Target) -> None:
    assert target.refuses(token(RSA_KEY, alg="ES256"), "sensor").reason == "token signature wrong"
    assert target.refuses(token(EC_KEY, alg="RS256"), "camera").reason == "token signature wrong"
