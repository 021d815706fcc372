"""Threat: ECDSA signatures that nobody made, or that are written as none may be.

Source: RFC 7518 section 3.4 (R and S, 32 bytes each); RFC 8725 section 3.4; the kinds of Wycheproof's ECDSA lists;
CVE-2022-21449 ("psychic signatures").
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY
from tests.support.tokens import claims, encoded, signature, unsigned

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
SIGNED = unsigned({"alg": "ES256", "typ": "JWT"}, claims())
RAW = signature(EC_KEY, SIGNED)
R, S = int.from_bytes(RAW[:32], "big"), int.from_bytes(RAW[32:], "big")
EDGES = {
    "0": 0, "1": 1, "n - 1": ORDER - 1, "n": ORDER, "n + 1": ORDER + 1, "p": PRIME, "p - n": PRIME - ORDER,
    "2^256 - 1": 2**256 - 1, "half of n": ORDER // 2,
}  # fmt: skip


def pair(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def refused(target: Target, forged: bytes) -> None:
    assert target.refuses(SIGNED + b"." + encoded(forged)).reason == "token signature wrong"


def test_the_signature_that_all_others_are_made_from_is_good(target: Target) -> None:
    assert target.shows(SIGNED + b"." + encoded(RAW)).device == "sensor"


@pytest.mark.parametrize("r", EDGES)
@pytest.mark.parametrize("s", EDGES)
def test_psychic_signatures_and_other_edges_are_refused(target: Target, r: str, s: str) -> None:
    refused(target, pair(EDGES[r], EDGES[s]))


@pytest.mark.parametrize("edge", EDGES)
def test_one_half_at_an_edge_is_refused(target: Target, edge: str) -> None:
    refused(target, pair(EDGES[edge], S))
    refused(target, pair(R, EDGES[edge]))


def test_halves_that_are_right_but_for_the_order_are_refused(target: Target) -> None:
    for r, s in ((R + ORDER, S), (R, S + ORDER), (ORDER - R, S)):
        if max(r, s) < 2**256:
            refused(target, pair(r, s))
    long = R.to_bytes(33, "big") + (S + ORDER).to_bytes(33, "big")
    refused(target, long)


def test_the_other_s_is_the_same_signature_and_proves_no_more(target: Target) -> None:
    # (R, n - S) verifies as (R, S) does: ECDSA is malleable (SEC 1 section 4.1.4), and RFC 7518 asks for no low S. That
    # would matter if a token's text named it somewhere: nothing here is remembered by a token.
    assert target.shows(SIGNED + b"." + encoded(pair(R, ORDER - S))).device == "sensor"


def test_a_signature_in_der_is_refused_in_each_spelling(target: Target) -> None:
    der = encode_dss_signature(R, S)
    padded = b"\x30" + bytes([len(der)]) + b"\x02" + bytes([len(der) - 1 - 36]) + der[4:]
    for forged in (der, der + b"\x00", der.ljust(72, b"\x00"), padded, der[:64], b"\x30\x80" + der[2:] + b"\x00\x00"):
        refused(target, forged)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 63, 65, 66, 95, 96, 128, 132, 1000])
def test_a_signature_of_another_length_is_refused(target: Target, size: int) -> None:
    refused(target, RAW[:size].ljust(size, b"\x00"))
    refused(target, RAW[-size:].rjust(size, b"\x00") if size else b"")
    if size > 64:  # zeros between, before and behind the halves
        half = size // 2
        refused(target, RAW[:32].rjust(half, b"\x00") + RAW[32:].rjust(size - half, b"\x00"))


def test_halves_without_their_leading_zeros_are_refused(target: Target) -> None:
    for number in range(2000):
        signed = unsigned({"alg": "ES256"}, claims(jti=str(number)))
        raw = signature(EC_KEY, signed)
        if raw[0] == 0:
            break
    else:
        pytest.fail("no signature begins with a zero")
    assert target.shows(signed + b"." + encoded(raw)).device == "sensor"
    assert target.refuses(signed + b"." + encoded(raw[1:])).reason == "token signature wrong"


@pytest.mark.parametrize("algorithm", ["ES256K", "ES384", "ES512", "ES256 ", "ES-256", "SHA256withECDSA", "ECDSA"])
def test_the_right_signature_under_another_algorithm_is_refused(target: Target, algorithm: str) -> None:
    signed = unsigned({"alg": algorithm, "typ": "JWT"}, claims())
    forged = signed + b"." + encoded(signature(EC_KEY, signed))
    assert target.refuses(forged).reason == "token algorithm not allowed"


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA384(), hashes.SHA512(), hashes.SHA3_256()])
def test_the_right_key_over_another_digest_is_refused(target: Target, digest: hashes.HashAlgorithm) -> None:
    refused(target, pair(*decode_dss_signature(EC_KEY.sign(SIGNED, ec.ECDSA(digest)))))


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_key_on_another_curve_is_refused(target: Target, curve: ec.EllipticCurve) -> None:
    size = (curve.key_size + 7) // 8
    r, s = decode_dss_signature(ec.generate_private_key(curve).sign(SIGNED, ec.ECDSA(hashes.SHA256())))
    refused(target, r.to_bytes(size, "big") + s.to_bytes(size, "big"))
    refused(target, pair(r % 2**256, s % 2**256))
