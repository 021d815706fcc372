"""Known weaknesses of keys: each is told from good keys, and each has its own words."""

from __future__ import annotations

import math
import random
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lockgate.errors import InvalidSettings
from lockgate.pki.certificates import PublicKey, spki_thumbprint
from lockgate.registry import weaknesses
from lockgate.registry.weaknesses import (
    BATCH_KEYS,
    check_weaknesses,
    has_close_primes,
    has_roca_mark,
    published_keys,
    shared_factors,
)

GOOD = rsa.generate_private_key(65_537, 2048).public_key()
DICE = random.Random(7)


def prime_from(start: int, step: int = 2) -> int:
    """Give the next number that is surely no product of two large primes of ours."""
    while pow(2, start - 1, start) != 1:
        start += step
    return start


def random_prime(bits: int) -> int:
    return prime_from(DICE.getrandbits(bits) | 1 | (3 << (bits - 2)))


def public(modulus: int, exponent: int = 65_537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def problem(key: PublicKey) -> str:
    with pytest.raises(InvalidSettings) as caught:
        check_weaknesses(key, spki_thumbprint(key))
    assert caught.value.fix
    return str(caught.value)


@pytest.mark.parametrize(
    "key",
    [GOOD, ec.generate_private_key(ec.SECP256R1()).public_key(), ed25519.Ed25519PrivateKey.generate().public_key()],
)
def test_a_key_made_well_has_no_known_weakness(key: PublicKey) -> None:
    check_weaknesses(key, spki_thumbprint(key))


def test_an_ed25519_key_that_is_no_point_or_one_of_small_order_is_refused() -> None:
    for y, words in ((1, "small order"), (2**255 - 19, "no point of its curve")):
        key = ed25519.Ed25519PublicKey.from_public_bytes(y.to_bytes(32, "little"))
        assert words in problem(key)


def number(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=="), "big")


@pytest.mark.requirement("I2")
def test_keys_of_standards_and_tutorials_are_known() -> None:
    # RFC 7515 appendix A.3, RFC 8037 appendix A: their private halves are printed beside them.
    example = ec.EllipticCurvePublicNumbers(
        number("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
        number("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        ec.SECP256R1(),
    ).public_key()
    assert "RFC 7515" in problem(example)
    secret = urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    assert "RFC 8037" in problem(ed25519.Ed25519PrivateKey.from_private_bytes(secret).public_key())
    assert "the private key 1" in problem(ec.derive_private_key(1, ec.SECP384R1()).public_key())
    assert len(published_keys()) > 50
    assert all(len(thumbprint) == 64 and origin for thumbprint, origin in published_keys().items())


@pytest.mark.requirement("F11")
def test_weak_rsa_keys_are_told_apart() -> None:
    middle = random_prime(1024)
    assert "Fermat" in problem(public(middle * prime_from(middle + 2)))
    assert "small prime factor" in problem(public(prime_from(DICE.getrandbits(2040) | 1 | 1 << 2039) * 251))
    # A prime as the faulty library made them: k * M + (65537 ** a mod M), with M the product of the first primes.
    primorial = math.prod(p for p in weaknesses._primes(702))
    roca = []
    for _ in range(2):
        k = DICE.getrandbits(54) | 1 << 53
        remainder = pow(65_537, DICE.getrandbits(128), primorial)
        roca.append(prime_from(k * primorial + remainder, primorial))
    assert has_roca_mark(roca[0] * roca[1])
    assert "ROCA" in problem(public(roca[0] * roca[1]))
    with pytest.raises(ValueError, match="odd"):
        public(GOOD.public_numbers().n, 65_538)


def test_an_even_exponent_is_refused_should_the_library_ever_take_one(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = rsa.RSAPublicNumbers(4, GOOD.public_numbers().n)

    class Lax(rsa.RSAPublicKey):
        def public_numbers(self) -> rsa.RSAPublicNumbers:
            return numbers

    monkeypatch.setattr(Lax, "__abstractmethods__", frozenset())
    with pytest.raises(InvalidSettings, match="odd exponent"):
        check_weaknesses(Lax(), "")  # type: ignore[abstract]


def test_good_moduli_have_no_mark() -> None:
    modulus = GOOD.public_numbers().n
    assert not has_roca_mark(modulus)
    assert not has_close_primes(modulus)


@pytest.mark.requirement("F11")
@pytest.mark.parametrize("extra", [0, BATCH_KEYS])
def test_a_prime_in_common_is_found_whoever_has_it(extra: int) -> None:
    primes = [random_prime(128) for _ in range(20 + 2 * extra)]
    one, two, three, *others = primes
    pairs = [a * b for a, b in zip(others[0::2], others[1::2], strict=False)]
    known, fill = pairs[:4], pairs[5:]
    new = [pairs[4], known[2] // others[4] * one, two * three, two * others[-1], *fill]
    found = shared_factors([*known, one * one], new)
    assert found[1][1]
    assert found[1][0] in (2, 4)
    assert found[2] == (3, False)
    assert found[3] == (2, False)
    assert 0 not in found
    assert shared_factors([], [pairs[4], *fill]) == {}


def test_the_same_modulus_again_counts_too() -> None:
    modulus = GOOD.public_numbers().n
    assert shared_factors([modulus], [modulus]) == {0: (0, True)}
    assert shared_factors([], [modulus] * BATCH_KEYS)[0] == (1, False)
