"""Threat: Ed25519 signatures that nobody made, or that are written as none may be, and keys that make it easy.

Source: RFC 8037 section 3.1 (EdDSA in JOSE), RFC 9864 section 2.2 (the name Ed25519), RFC 8032 sections 5.1.3 and 5.1.7
(what is no point, and no signature); the kinds of Wycheproof's EdDSA list; Chalkias et al., "Taming the Many EdDSAs".
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lockgate.errors import InvalidSettings
from lockgate.model.device import Credential, CredentialKind
from lockgate.registry.keys import check_credential
from lockgate.registry.weaknesses import ED25519_PRIME, ED25519_SMALL_ORDER
from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, ED_KEY, NOW, eddsa, public_pem
from tests.support.tokens import claims, encoded, signature, unsigned

ORDER = 2**252 + 27742317777372353535851937790883648493
SIGNED = unsigned({"alg": "EdDSA", "typ": "JWT"}, claims())
RAW = ED_KEY.sign(SIGNED)
R, S = RAW[:32], int.from_bytes(RAW[32:], "little")
IDENTITY = (1).to_bytes(32, "little")
SIGN_OF_X = 2**255


@pytest.fixture
def target(target: Target) -> Target:
    """`lamp` has an Ed25519 key."""
    target.registry.add("lamp", eddsa())
    return target


def refused(target: Target, forged: bytes) -> None:
    assert target.refuses(SIGNED + b"." + encoded(forged), "lamp").reason == "token signature wrong"


def registers(raw: bytes) -> None:
    pem = ed25519.Ed25519PublicKey.from_public_bytes(raw).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    check_credential("lamp", Credential(0, "lamp", CredentialKind.JWT_EDDSA, pem.decode()), NOW)


def eightfold(y: int) -> tuple[int, int] | None:
    """Give 8 times the point with this y, by the affine formulas of RFC 8032 section 5.1; None if there is none."""
    prime = ED25519_PRIME
    d = -121665 * pow(121666, -1, prime) % prime
    square = (y * y - 1) * pow(d * y * y + 1, -1, prime) % prime
    x = pow(square, (prime + 3) // 8, prime)
    if (x * x - square) % prime:
        x = x * pow(2, (prime - 1) // 4, prime) % prime
    if (x * x - square) % prime:
        return None
    for _ in range(3):
        k = d * x * x * y * y
        x, y = 2 * x * y * pow(1 + k, -1, prime) % prime, (y * y + x * x) * pow(1 - k, -1, prime) % prime
    return x, y


def test_the_signature_that_all_others_are_made_from_is_good(target: Target) -> None:
    assert target.shows(SIGNED + b"." + encoded(RAW), "lamp").device == "lamp"


@pytest.mark.parametrize("multiple", range(1, 16))
def test_a_signature_whose_s_is_not_reduced_is_refused(target: Target, multiple: int) -> None:
    s = S + multiple * ORDER
    if s < 2**256:  # each of them satisfies the equation
        refused(target, R + s.to_bytes(32, "little"))


@pytest.mark.parametrize("bit", [252, 253, 254, 255])
def test_a_signature_with_a_high_bit_of_s_set_is_refused(target: Target, bit: int) -> None:
    refused(target, R + (S | 1 << bit).to_bytes(32, "little"))


@pytest.mark.parametrize("s", [0, 1, ORDER - 1, ORDER, ORDER + 1, 2**255 - 1, 2**256 - 1])
@pytest.mark.parametrize("r", [0, 1, 2, ED25519_PRIME - 1, ED25519_PRIME, ED25519_PRIME + 1, 2**255, 2**256 - 1])
def test_all_zero_and_other_edges_are_refused(target: Target, r: int, s: int) -> None:
    refused(target, r.to_bytes(32, "little") + s.to_bytes(32, "little"))
    refused(target, r.to_bytes(32, "little") + RAW[32:])
    refused(target, R + s.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 1, 31, 32, 63, 65, 66, 96, 114, 128, 1000])
def test_a_signature_cut_short_or_made_longer_is_refused(target: Target, size: int) -> None:
    refused(target, RAW[:size].ljust(size, b"\x00"))
    refused(target, RAW[-size:].rjust(size, b"\x00") if size else b"")
    refused(target, (RAW * 16)[:size])


def test_each_bit_of_the_signature_counts(target: Target) -> None:
    for bit in range(512):
        refused(target, (int.from_bytes(RAW, "big") ^ 1 << bit).to_bytes(64, "big"))


def test_halves_that_are_swapped_turned_round_or_negated_are_refused(target: Target) -> None:
    refused(target, RAW[32:] + R)
    refused(target, R[::-1] + RAW[:31:-1])
    refused(target, R + (ORDER - S).to_bytes(32, "little"))
    refused(target, (int.from_bytes(R, "little") ^ SIGN_OF_X).to_bytes(32, "little") + RAW[32:])


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_both_names_are_taken_and_each_must_be_the_one_that_was_signed(target: Target, algorithm: str) -> None:
    signed = unsigned({"alg": algorithm, "typ": "JWT"}, claims())
    assert target.shows(signed + b"." + encoded(ED_KEY.sign(signed)), "lamp").device == "lamp"
    other = unsigned({"alg": "Ed25519" if algorithm == "EdDSA" else "EdDSA", "typ": "JWT"}, claims())
    forged = other + b"." + encoded(ED_KEY.sign(signed))
    assert target.refuses(forged, "lamp").reason == "token signature wrong"


@pytest.mark.parametrize(
    "algorithm", ["ES256", "RS256", "HS256", "none", "Ed448", "eddsa", "ED25519", "Ed25519ph", "Ed25519ctx", "X25519"]
)
def test_the_right_signature_under_another_algorithm_is_refused(target: Target, algorithm: str) -> None:
    signed = unsigned({"alg": algorithm, "crv": "Ed25519"}, claims())
    forged = signed + b"." + encoded(ED_KEY.sign(signed))
    assert target.refuses(forged, "lamp").reason == "token algorithm not allowed"


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_a_p_256_or_rsa_key_proves_nothing_under_the_names_of_ed25519(target: Target, algorithm: str) -> None:
    signed = unsigned({"alg": algorithm}, claims())
    for device, key in (("sensor", EC_KEY), ("sensor", ED_KEY), ("camera", ED_KEY)):
        forged = signed + b"." + encoded(signature(key, signed))
        assert target.refuses(forged, device).reason == "token algorithm not allowed"
    refused(target, signature(EC_KEY, SIGNED))


def test_an_ed448_signature_is_refused_under_each_name(target: Target) -> None:
    key = ed448.Ed448PrivateKey.generate()
    for algorithm, reason in (
        ("EdDSA", "token signature wrong"),
        ("Ed25519", "token signature wrong"),
        ("Ed448", "token algorithm not allowed"),
    ):
        signed = unsigned({"alg": algorithm, "crv": "Ed448"}, claims())
        assert target.refuses(signed + b"." + encoded(key.sign(signed)), "lamp").reason == reason
    refused(target, key.sign(SIGNED)[:64])


@pytest.mark.parametrize("y", sorted(ED25519_SMALL_ORDER))
@pytest.mark.parametrize("sign", [0, SIGN_OF_X])
def test_a_public_key_of_small_order_is_refused_at_registration(y: int, sign: int) -> None:
    assert eightfold(y) == (0, 1), "it is one"
    with pytest.raises(InvalidSettings, match="small order: anybody can sign for it"):
        registers((y + sign).to_bytes(32, "little"))


@pytest.mark.parametrize("above", range(19))
@pytest.mark.parametrize("sign", [0, SIGN_OF_X])
def test_a_public_key_in_a_second_spelling_is_refused_at_registration(above: int, sign: int) -> None:
    with pytest.raises(InvalidSettings, match="no point of its curve as RFC 8032 writes them"):
        registers((ED25519_PRIME + above + sign).to_bytes(32, "little"))


def test_the_refusal_of_small_orders_is_needed_the_identity_signs_everything() -> None:
    ed25519.Ed25519PublicKey.from_public_bytes(IDENTITY).verify(IDENTITY + bytes(32), b"whatever it says")


def test_a_good_key_is_none_of_these() -> None:
    for _ in range(20):
        raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        assert eightfold(int.from_bytes(raw, "little") % 2**255) != (0, 1)
        registers(raw)


@pytest.mark.parametrize(
    "key", [ed448.Ed448PrivateKey, x25519.X25519PrivateKey, x448.X448PrivateKey], ids=lambda key: key.__name__
)
def test_a_key_of_a_neighbouring_kind_is_refused_at_registration(key: type[ed448.Ed448PrivateKey]) -> None:
    pem = key.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(InvalidSettings):
        check_credential("lamp", Credential(0, "lamp", CredentialKind.JWT_EDDSA, pem), NOW)


def test_an_ed25519_key_is_refused_as_a_key_for_es256_and_the_reverse() -> None:
    crossed = (CredentialKind.JWT_ES256, ED_KEY, "a key on P-256"), (CredentialKind.JWT_EDDSA, EC_KEY, "an Ed25519 key")
    for kind, key, wanted in crossed:
        with pytest.raises(InvalidSettings, match=f"needs {wanted}"):
            check_credential("lamp", Credential(0, "lamp", kind, public_pem(key).decode()), NOW)
