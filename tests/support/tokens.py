"""Tokens made by hand, bit by bit, so that hostile ones can be made too; shares no code with what checks them.

Source: RFC 7515 section 7.1 (compact form), RFC 7518 sections 3.2 to 3.4 (HS256, RS256, ES256).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.registry import NOW, SigningKey

AUDIENCE = "lockgate"


def claims(**changes: Any) -> dict[str, Any]:
    """Give good claims at the time NOW, with changes; a claim changed to None is left out."""
    good = {"iat": int(NOW), "exp": int(NOW) + 3600, "aud": AUDIENCE}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def token(key: SigningKey, payload: dict[str, Any] | bytes | None = None, **header: Any) -> bytes:
    """Sign claims with a key; the header says its algorithm unless it is told to lie."""
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "EdDSA"
    signed = unsigned({"alg": algorithm, "typ": "JWT", **header}, claims() if payload is None else payload)
    return signed + b"." + encoded(signature(key, signed))


def hs256(secret: bytes, payload: dict[str, Any]) -> bytes:
    """Make a token whose signature is an HMAC with `secret`."""
    signed = unsigned({"alg": "HS256", "typ": "JWT"}, payload)
    return signed + b"." + encoded(hmac.new(secret, signed, hashlib.sha256).digest())


def unsigned(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes) -> bytes:
    """Give the first two parts of a token."""
    return b".".join(
        encoded(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)
    )


def encoded(part: bytes) -> bytes:
    """Give base64url without padding."""
    return urlsafe_b64encode(part).rstrip(b"=")


def signature(key: SigningKey, signed: bytes) -> bytes:
    """Sign as the key's algorithm does, whatever the header says."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signed)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
