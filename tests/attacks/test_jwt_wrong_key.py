"""Threat: a device of this hub, or a stranger, signs a token for another device with its own key."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lockgate.errors import NotAuthorized
from tests.attacks.conftest import Target
from tests.support.registry import EC_KEY, es256
from tests.support.tokens import claims, encoded, signature, token, unsigned


def test_another_devices_key_does_not_sign_for_this_one(target: Target) -> None:
    thief = ec.generate_private_key(ec.SECP256R1())
    target.registry.add("thief", es256(thief))
    assert target.shows(token(thief), "thief").device == "thief"
    for payload in (claims(), claims(sub="sensor"), claims(sub="thief"), claims(iss="sensor")):
        assert target.refuses(token(thief, payload), "sensor").reason == "token signature wrong"
        assert target.refuses(token(thief, payload), "sensor/x").reason == "token signature wrong"


def test_an_empty_client_id_with_a_foreign_subject_proves_nobody(target: Target) -> None:
    thief = ec.generate_private_key(ec.SECP256R1())
    target.registry.add("thief", es256(thief))
    assert target.refuses(token(thief, claims(sub="sensor")), "").reason == "token signature wrong"


def test_a_token_of_one_device_does_not_open_a_session_of_another(target: Target) -> None:
    stolen = token(EC_KEY, claims(sub="sensor"))
    assert target.refuses(stolen, "kettle").reason == "no key for this token"
    with pytest.raises(NotAuthorized):
        target.shows(token(EC_KEY), "sensor/#")


def test_keys_that_nobody_registered_sign_nothing(target: Target) -> None:
    assert target.refuses(token(ec.generate_private_key(ec.SECP256R1()))).reason == "token signature wrong"
    assert target.refuses(token(rsa.generate_private_key(65_537, 2048)), "camera").reason == "token signature wrong"
    p384 = ec.generate_private_key(ec.SECP384R1())
    signed = unsigned({"alg": "ES256"}, claims())
    assert (
        target.refuses(signed + b"." + encoded(p384.sign(signed, ec.ECDSA(hashes.SHA256())))).reason
        == "token signature wrong"
    )


def test_a_changed_header_or_claim_breaks_the_signature(target: Target) -> None:
    head, body, sign = token(EC_KEY).split(b".")
    longer = unsigned({"alg": "ES256", "typ": "JWT"}, claims(exp=1_800_086_400)).split(b".")[1]
    other_head = unsigned({"alg": "ES256", "typ": "at+jwt"}, {}).split(b".")[0]
    assert target.refuses(b".".join((head, longer, sign))).reason == "token signature wrong"
    assert target.refuses(b".".join((other_head, body, sign))).reason == "token signature wrong"


def test_a_signature_of_the_wrong_length_or_form_is_refused(target: Target) -> None:
    signed, _, _ = token(EC_KEY).rpartition(b".")
    raw = signature(EC_KEY, signed)
    der = EC_KEY.sign(signed, ec.ECDSA(hashes.SHA256()))
    for forged in (raw[:-1], raw + b"\x00", b"\x00" + raw, der, raw[32:] + raw[:32]):
        assert target.refuses(signed + b"." + encoded(forged)).reason == "token signature wrong"
