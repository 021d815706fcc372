"""Shared factors are found, and only they."""

from __future__ import annotations

from math import gcd

from hypothesis import given
from hypothesis import strategies as st

from lockgate.scan.factors import shared_factors

PRIMES = (10007, 10009, 10037, 10039, 10061, 10067, 10069, 10079)


def test_few_or_equal_moduli_share_nothing() -> None:
    assert shared_factors({}) == []
    assert shared_factors({"a": 15}) == []
    assert shared_factors({"a": 10007 * 10009, "b": 10007 * 10009}) == []


@given(st.lists(st.tuples(st.sampled_from(PRIMES), st.sampled_from(PRIMES)), max_size=9))
def test_the_tree_says_what_comparing_each_pair_says(pairs: list[tuple[int, int]]) -> None:
    moduli = {str(number): p * q for number, (p, q) in enumerate(pairs) if p != q}
    slow = [
        name for name, n in moduli.items() if any(gcd(n, other) > 1 for other in set(moduli.values()) if other != n)
    ]
    assert shared_factors(moduli) == sorted(slow)
