"""Signatures of tokens: a claim is given only under the key, and by the algorithm, that was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from lockgate.identity.signatures import Key, read_key, signed_claims
from lockgate.model.device import Credential, CredentialKind

OURS = ECKey.generate_key("P-256")
OTHER = ECKey.generate_key("P-256")
TOKEN = jwt.encode({"alg": "ES256"}, {"sub": "sensor"}, OURS).encode()


def registered(public: str) -> Credential:
    return Credential(1, "sensor", CredentialKind.JWT_ES256, public)


def test_what_the_registered_key_signed_gives_its_claims() -> None:
    credential = registered(OURS.as_pem(private=False).decode())
    assert signed_claims(TOKEN, lambda: read_key(credential), ["ES256"]) == {"sub": "sensor"}


def _unreadable() -> Key:
    return read_key(registered("no key"))


@pytest.mark.parametrize(
    ("token", "find_key", "algorithms"),
    [
        (TOKEN, lambda: OTHER, ["ES256"]),
        (TOKEN, lambda: OURS, ["ES384"]),
        (TOKEN, lambda: OURS, []),
        (TOKEN[:-4] + b"AAAA", lambda: OURS, ["ES256"]),
        (b"a.b.c", lambda: OURS, ["ES256"]),
        (TOKEN, _unreadable, ["ES256"]),
    ],
    ids=["another key", "another algorithm", "none allowed", "changed", "no token", "an unreadable key"],
)
def test_anything_else_gives_none(token: bytes, find_key: Callable[[], Key], algorithms: list[str]) -> None:
    assert signed_claims(token, find_key, algorithms) is None
