"""Threat: RSA signatures without the private key, by what careless verifiers pass over in the padding.

Source: RFC 8017 section 8.2.2 (the whole encoded message is compared); Bleichenbacher's forgery for exponent 3, and
its children (CVE-2006-4339, CVE-2014-1568, CVE-2016-1000338); the kinds of Wycheproof's RSA signature lists.
"""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.attacks.conftest import Target
from tests.support.registry import RSA_KEY, rs256
from tests.support.tokens import claims, encoded, signature, unsigned

SIGNED = unsigned({"alg": "RS256", "typ": "JWT"}, claims())
DIGEST = hashlib.sha256(SIGNED).digest()
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
BYTES = 256


def raw(message: bytes, key: rsa.RSAPrivateKey = RSA_KEY) -> bytes:
    """Give what the private key makes of an encoded message, whatever stands in it."""
    numbers = key.private_numbers()
    modulus = numbers.public_numbers.n
    return pow(int.from_bytes(message, "big"), numbers.d, modulus).to_bytes(BYTES, "big")


def message(info: bytes, head: bytes = b"\x00\x01", fill: bytes = b"\xff", tail: bytes = b"") -> bytes:
    """Give an encoded message as in RFC 8017 section 9.2, with changes."""
    room = BYTES - len(head) - 1 - len(info) - len(tail)
    return head + fill * room + b"\x00" + info + tail


def refused(target: Target, forged: bytes, client_id: str = "camera") -> None:
    assert target.refuses(SIGNED + b"." + encoded(forged), client_id).reason == "token signature wrong"


def test_the_encoded_message_that_all_others_are_made_from_is_good(target: Target) -> None:
    good = raw(message(SHA256_PREFIX + DIGEST))
    assert good == signature(RSA_KEY, SIGNED)
    assert target.shows(SIGNED + b"." + encoded(good), "camera").device == "camera"


INFO = SHA256_PREFIX + DIGEST
WITHOUT_NULL = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + DIGEST
SHA1_PREFIX, SHA512_PREFIX = "3021300906052b0e03021a05000414", "3051300d060960864801650304020305000440"
WRONG = {
    "no digest info": message(DIGEST),
    "a digest info without NULL": message(WITHOUT_NULL),
    "block type 2": message(INFO, b"\x00\x02"),
    "block type 0": message(INFO, b"\x00\x00", b"\x00"),
    "no leading zero": message(INFO, b"\x01\x01"),
    "filled with other bytes": message(INFO, fill=b"\xfe"),
    "zeros in the fill": message(INFO, b"\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00"),
    "a short fill, garbage behind": b"\x00\x01" + b"\xff" * 8 + b"\x00" + INFO + b"\x5a" * (BYTES - 11 - len(INFO)),
    "no fill at all": b"\x00\x01\x00" + INFO + b"\x00" * (BYTES - 3 - len(INFO)),
    "one byte behind": message(INFO, tail=b"\x00"),
    "sha-1": message(bytes.fromhex(SHA1_PREFIX) + hashlib.sha1(SIGNED, usedforsecurity=False).digest()),
    "sha-512": message(bytes.fromhex(SHA512_PREFIX) + hashlib.sha512(SIGNED).digest()),
    "sha-512 named, sha-256 there": message(bytes.fromhex(SHA512_PREFIX) + DIGEST + bytes(32)),
    "a long form length": message(b"\x30\x81\x31" + INFO[2:]),
    "garbage within the parameters": message(b"\x30\x33\x30\x0f" + INFO[4:15] + b"\x05\x02\x00\x00" + INFO[17:]),
    "another token's digest": message(SHA256_PREFIX + hashlib.sha256(b"another").digest()),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_padding_is_refused_though_the_key_is_right(target: Target, kind: str) -> None:
    assert len(WRONG[kind]) == BYTES
    refused(target, raw(WRONG[kind]))


def test_a_cube_root_is_no_signature_of_a_key_with_exponent_3(target: Target) -> None:
    key = rsa.generate_private_key(3, 2048)
    target.registry.add("cubed", rs256(key))
    modulus = key.public_key().public_numbers().n
    begins = b"\x00\x01" + b"\xff" * 8 + b"\x00" + INFO
    wanted = int.from_bytes(begins.ljust(BYTES, b"\xff"), "big")
    root = cube_root(wanted)
    assert (root**3).to_bytes(BYTES, "big").startswith(begins), "a verifier that stops reading there is deceived"
    assert root**3 < modulus
    refused(target, root.to_bytes(BYTES, "big"), "cubed")
    assert target.shows(SIGNED + b"." + encoded(signature(key, SIGNED)), "cubed").device == "cubed"


def cube_root(number: int) -> int:
    """Give the largest integer whose cube is not above a number."""
    low, high = 0, 1 << (number.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**3 <= number:
            low = middle
        else:
            high = middle - 1
    return low


def test_a_signature_of_another_length_or_above_the_modulus_is_refused(target: Target) -> None:
    good = signature(RSA_KEY, SIGNED)
    modulus = RSA_KEY.public_key().public_numbers().n
    value = int.from_bytes(good, "big")
    for forged in (
        b"", b"\x00", good[:-1], good[1:], b"\x00" + good, good + b"\x00", bytes(BYTES), b"\xff" * BYTES, good[::-1],
        (value + modulus).to_bytes(BYTES + 1, "big"), (1).to_bytes(BYTES, "big"), (modulus - 1).to_bytes(BYTES, "big"),
        modulus.to_bytes(BYTES, "big"), (modulus - value).to_bytes(BYTES, "big"),
    ):  # fmt: skip
        refused(target, forged)


@pytest.mark.parametrize("algorithm", ["PS256", "RS384", "RS512", "RS1", "RSA-OAEP", "RS256 ", "rs256"])
def test_a_token_under_another_rsa_algorithm_is_refused(target: Target, algorithm: str) -> None:
    signed = unsigned({"alg": algorithm, "typ": "JWT"}, claims())
    for sign in (
        RSA_KEY.sign(signed, padding.PKCS1v15(), hashes.SHA256()),
        RSA_KEY.sign(signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    ):
        forged = signed + b"." + encoded(sign)
        assert target.refuses(forged, "camera").reason == "token algorithm not allowed"


def test_a_pss_signature_is_none_of_rs256(target: Target) -> None:
    refused(target, RSA_KEY.sign(SIGNED, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()))
