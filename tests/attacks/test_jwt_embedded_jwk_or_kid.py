"""Threat: the token brings, or points to, the key to check it with (RFC 8725 section 3.10; CVE-2018-0114)."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY
from tests.support.tokens import encoded, token

THIEF = ec.generate_private_key(ec.SECP256R1())
_NUMBERS = THIEF.public_key().public_numbers()
JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": encoded(_NUMBERS.x.to_bytes(32, "big")).decode(),
    "y": encoded(_NUMBERS.y.to_bytes(32, "big")).decode(),
}
HEADERS: list[dict[str, Any]] = [
    {"jwk": JWK},
    {"jwk": JWK, "kid": "sensor"},
    {"kid": "../../../../dev/null"},
    {"kid": "' OR 1=1 --"},
    {"kid": "camera"},
    {"jku": "http://127.0.0.1:1/keys"},
    {"x5u": "http://127.0.0.1:1/certificate"},
    {"x5c": ["MIIB"]},
    {"x5t": "AAAA"},
]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("the check of a token opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("header", HEADERS)
def test_a_key_in_the_header_is_not_used(target: Target, header: dict[str, Any]) -> None:
    assert target.refuses(token(THIEF, **header)).reason == "token signature wrong"


@pytest.mark.parametrize("header", [{"kid": "anything"}, {"kid": "../../etc/passwd"}])
def test_a_key_id_chooses_nothing(target: Target, header: dict[str, Any]) -> None:
    assert target.shows(token(EC_KEY, **header)).device == "sensor"
