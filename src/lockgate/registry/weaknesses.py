"""Known weaknesses of public keys: what others have broken, and how it shows in the key itself.

These are checks, not cryptography: nothing here makes or uses a key. Each weakness has its own words and its own fix.

- published: the key stands in a standard, a tutorial or a program's tests (`published_keys.txt`)
- RSA: an even exponent, a small prime factor, primes close to each other (Fermat), or the mark of the Infineon
  library's primes (ROCA, CVE-2017-15361)
- Ed25519: a point of small order, under which a signature is good that nobody made, or one in a second spelling
- RSA across the fleet: a prime that another registered key has as well; who has the two keys has both private halves
  (Heninger et al., "Mining Your Ps and Qs", 2012)
"""

from __future__ import annotations

import decimal
import functools
import math
from collections.abc import Sequence
from decimal import Decimal
from importlib.resources import files

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from lockgate.errors import InvalidSettings
from lockgate.pki.certificates import PublicKey

NEW_KEY = "make a new key: lockgate device add makes a good one by itself"
FERMAT_ROUNDS = 64
SMALL_PRIMES_BELOW = 20_000
ROCA_PRIMES_UP_TO = 167
ROCA_GENERATOR = 65_537
ED25519_PRIME = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
ED25519_SMALL_ORDER = frozenset({0, 1, ED25519_PRIME - 1, _ORDER_8, ED25519_PRIME - _ORDER_8})
"""The y of the eight points whose order divides 8: those at x and at -x have the same."""
BATCH_KEYS = 64
"""From so many new keys on, all are looked over together: pair by pair would take the square of their number."""


def check_weaknesses(key: PublicKey, thumbprint: str) -> None:
    """Come back when nothing is known against a key as such.

    Raises:
        InvalidSettings: naming the weakness and what mends it.
    """
    origin = published_keys().get(thumbprint)
    if origin is not None:
        raise InvalidSettings(
            f"the key {thumbprint[:16]} is published ({origin}): everybody has its private half", fix=NEW_KEY
        )
    if isinstance(key, rsa.RSAPublicKey):
        _check_rsa(key)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        _check_ed25519(key)


def _check_ed25519(key: ed25519.Ed25519PublicKey) -> None:
    y = int.from_bytes(key.public_bytes_raw(), "little") % 2**255  # the highest bit is the sign of x
    if y >= ED25519_PRIME:  # RFC 8032 section 5.1.3
        raise InvalidSettings("the Ed25519 key is no point of its curve as RFC 8032 writes them", fix=NEW_KEY)
    if y in ED25519_SMALL_ORDER:
        raise InvalidSettings(
            "the Ed25519 key is a point of small order: anybody can sign for it, without a private half", fix=NEW_KEY
        )


def _check_rsa(key: rsa.RSAPublicKey) -> None:
    numbers = key.public_numbers()
    if numbers.e % 2 == 0:
        raise InvalidSettings(f"an RSA key has an odd exponent, this one {numbers.e}", fix=NEW_KEY)
    factor = math.gcd(numbers.n, _primorial())
    if factor != 1:
        raise InvalidSettings("the RSA key has a small prime factor: its private half is found at once", fix=NEW_KEY)
    if has_roca_mark(numbers.n):
        raise InvalidSettings(
            "the RSA key was made by a faulty Infineon library (ROCA, CVE-2017-15361): "
            "its private half can be computed",
            fix="make a new key outside that chip, or update its firmware first",
        )
    if has_close_primes(numbers.n):
        raise InvalidSettings(
            "the two primes of the RSA key are close to each other (Fermat): its private half is found at once",
            fix="make a new key with another library: this one's random numbers are broken",
        )


def has_close_primes(modulus: int) -> bool:
    """Say whether Fermat's method factors the modulus within a few rounds."""
    middle = math.isqrt(modulus - 1) + 1
    for candidate in range(middle, middle + FERMAT_ROUNDS):
        rest = candidate * candidate - modulus
        if math.isqrt(rest) ** 2 == rest:
            return True
    return False


def has_roca_mark(modulus: int) -> bool:
    """Say whether the modulus is a power of 65537 to each of many small primes, as ROCA's are and one in 2**27 others.

    Source: Nemec et al., "The Return of Coppersmith's Attack", 2017, section 3.4 (fingerprinting).
    """
    return all(modulus % prime in powers for prime, powers in _roca_powers())


def shared_factors(known: Sequence[int], new: Sequence[int]) -> dict[int, tuple[int, bool]]:
    """Find moduli that have a prime in common.

    Args:
        known: the fleet's moduli.
        new: those that are to join it.

    Returns:
        For the index of each new one that has a prime in common with another: whose (an index), and whether that one
        is among the known. The same modulus again counts as well.
    """
    suspects = range(len(new)) if len(new) < BATCH_KEYS else _suspects(known, new)
    found: dict[int, tuple[int, bool]] = {}
    for index in suspects:
        for other, modulus in enumerate(known):
            if math.gcd(new[index], modulus) != 1:
                found[index] = other, True
                break
        else:
            for other, modulus in enumerate(new):
                if other != index and math.gcd(new[index], modulus) != 1:
                    found[index] = other, False
                    break
    return found


def _suspects(known: Sequence[int], new: Sequence[int]) -> list[int]:
    """Give the indices of the new moduli that share a factor with any other (Bernstein's batch gcd).

    Python's integers divide in quadratic time; its decimals multiply and divide large numbers in nearly linear time.
    """
    digits = sum(modulus.bit_length() for modulus in (*known, *new)) // 3 + 1000
    with decimal.localcontext() as context:
        context.prec = max(digits, 2 * digits)
        context.Emax, context.Emin = decimal.MAX_EMAX, decimal.MIN_EMIN
        levels = [[Decimal(modulus) for modulus in new]]
        while len(levels[-1]) > 1:
            levels.append(_multiply_pairs(levels[-1]))
        everything = [Decimal(modulus) for modulus in known] or [Decimal(1)]
        while len(everything) > 1:
            everything = _multiply_pairs(everything)
        rests = [everything[0] * levels[-1][0]]
        for level in reversed(levels):
            rests = [rests[index // 2] % (node * node) for index, node in enumerate(level)]
        return [
            index
            for index, (modulus, rest) in enumerate(zip(new, rests, strict=True))
            if math.gcd(int(rest) // modulus, modulus) != 1
        ]


def _multiply_pairs(numbers: Sequence[Decimal]) -> list[Decimal]:
    return [
        numbers[index] * numbers[index + 1] if index + 1 < len(numbers) else numbers[index]
        for index in range(0, len(numbers), 2)
    ]


@functools.cache
def published_keys() -> dict[str, str]:
    """Give the thumbprints of keys that are published with their private half, and where."""
    text = files("lockgate.registry").joinpath("published_keys.txt").read_text(encoding="utf-8")
    lines = (line.partition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {thumbprint: origin for thumbprint, _, origin in lines}


@functools.cache
def _primes(below: int) -> tuple[int, ...]:
    sieve = bytearray([1]) * below
    sieve[0:2] = b"\0\0"
    for number in range(2, math.isqrt(below) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, below, number)))
    return tuple(number for number in range(below) if sieve[number])


@functools.cache
def _primorial() -> int:
    return math.prod(_primes(SMALL_PRIMES_BELOW))


@functools.cache
def _roca_powers() -> tuple[tuple[int, frozenset[int]], ...]:
    found = []
    for prime in _primes(ROCA_PRIMES_UP_TO + 1):
        powers = frozenset(pow(ROCA_GENERATOR, exponent, prime) for exponent in range(prime))
        if len(powers) < prime - 1:  # where 65537 makes everything, nothing is told apart
            found.append((prime, powers))
    return tuple(found)
