"""Find RSA keys that share a prime: whoever has both can take both apart.

Source: Heninger, Durumeric, Wustrow, Halderman: Mining Your Ps and Qs (2012), section 3.3: batch gcd by a product tree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext


def shared_factors(moduli: Mapping[str, int]) -> list[str]:
    """Give the names of those moduli that share a factor with another, different one."""
    distinct = sorted(set(moduli.values()))
    if len(distinct) < 2:
        return []
    remainders = _remainders(distinct)
    weak = {n for n, rest in zip(distinct, remainders, strict=True) if math.gcd(n, rest // n) > 1}
    return sorted(name for name, modulus in moduli.items() if modulus in weak)


def _remainders(moduli: list[int]) -> list[int]:
    """Give the product of all, modulo the square of each.

    In decimals: unlike Python's integers they multiply and divide large numbers in nearly linear time.
    """
    digits = sum(modulus.bit_length() for modulus in moduli) // 3 + 100
    with localcontext(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN):
        tree = [[Decimal(modulus) for modulus in moduli]]
        while len(tree[-1]) > 1:
            level = tree[-1]
            tree.append([math.prod(level[index : index + 2], start=Decimal(1)) for index in range(0, len(level), 2)])
        remainders = tree.pop()
        while tree:
            level = tree.pop()
            remainders = [remainders[index // 2] % (n * n) for index, n in enumerate(level)]
    return [int(each) for each in remainders]
