"""RSA keys of the fleet share a prime."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa

from lockgate.registry.keys import registered_key
from lockgate.registry.weaknesses import shared_factors
from lockgate.scan.credentials import has_public_key, live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import named


def look(subject: Subject) -> Iterator[Problem]:
    """Take the greatest common divisors of all RSA moduli."""
    owners: dict[int, set[str]] = {}  # the same modulus twice is LG-KEY-002's
    for credential in live(subject):
        key = registered_key(credential) if has_public_key(credential) else None
        if isinstance(key, rsa.RSAPublicKey):
            owners.setdefault(key.public_numbers().n, set()).add(credential.device)
    moduli = sorted(owners)
    weak = sorted(set().union(*(owners[moduli[index]] for index in shared_factors([], moduli))))
    if weak:
        yield Problem(f"{named(weak)} share prime factors", f"lockgate device revoke {' '.join(weak)}", weak[0])


CHECK = Check(
    id="LG-KEY-003",
    title="RSA keys of the fleet share a prime",
    severity=Severity.SEVERE,
    meaning=(
        "Devices that make keys with too little randomness come up with the same primes. Anybody who has two "
        "such public keys computes both private keys in a moment."
    ),
    fix="lockgate device revoke NAME, and new keys made elsewhere",
    look=look,
    reference="Heninger et al., Mining Your Ps and Qs, 2012",
)
