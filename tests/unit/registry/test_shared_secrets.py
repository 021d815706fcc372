"""Secrets that a device shares with the hub, as they are handed in."""

from __future__ import annotations

import secrets

import pytest

from lockgate.errors import InvalidSettings
from lockgate.model.device import Credential, CredentialKind
from lockgate.registry.shared_secrets import bound_to, check_psk, read_oscore, read_psk

GOOD = secrets.token_bytes(32)


@pytest.mark.parametrize("identity", ["lamp", "lamp/2", "lamp/a1b2c3d4"])
def test_a_key_is_taken_under_the_devices_name_or_that_with_a_suffix(identity: str) -> None:
    assert read_psk("lamp", f"{identity}:{GOOD.hex()}") == (GOOD, f"psk-{identity}")


@pytest.mark.parametrize("identity", ["", "kettle", "lamp2", "lamp/ü", "lamp/a b", "lamp/" + "x" * 130, "kettle:lamp"])
def test_a_key_under_another_identity_is_refused(identity: str) -> None:
    with pytest.raises(InvalidSettings, match="the device's name, lamp"):
        read_psk("lamp", f"{identity}:{GOOD.hex()}")


def test_what_is_no_hexadecimal_is_refused_and_never_repeated() -> None:
    with pytest.raises(InvalidSettings, match="hexadecimal") as caught:
        read_psk("lamp", "lamp:Kanarienvogel")
    assert "Kanarienvogel" not in f"{caught.value}{caught.value.fix}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 1, 15, 65])
def test_a_key_that_is_too_short_or_too_long_is_refused(size: int) -> None:
    with pytest.raises(InvalidSettings, match=f"has {size}$"):
        check_psk("lamp", secrets.token_bytes(size))


@pytest.mark.parametrize(
    "key",
    [
        bytes(16),
        b"\x01\x02" * 16,
        bytes(range(32)),
        bytes(range(0, 64, 2)),
        bytes.fromhex("000102030405060708090a0b0c0d0e0f"),
        b"secretPSKsecretPSKsecretPSK",
        b"lamp-lamp-lamp-lamp-lamp-password",
        b"1234567890123456789012345678",
    ],
)
def test_a_key_that_follows_a_pattern_is_refused(key: bytes) -> None:
    with pytest.raises(InvalidSettings, match="follows a pattern"):
        check_psk("lamp", key)


def test_random_keys_are_taken_whatever_their_form() -> None:
    for _ in range(200):
        check_psk("lamp", secrets.token_bytes(16))
        check_psk("lamp", secrets.token_urlsafe(24).encode())
        check_psk("lamp", secrets.token_hex(16).encode())


def test_an_oscore_context_is_an_id_a_secret_and_a_salt() -> None:
    assert read_oscore("lamp", f"a1b2c3d4:{'5e' * 16}:{'5a' * 8}") == (b"\x5e" * 16 + b"\x5a" * 8, "oscore-a1b2c3d4")


@pytest.mark.parametrize(
    "public",
    [
        "", "a1b2", f"a1b2:{'5e' * 16}", f"a1b2:{'5e' * 15}:{'5a' * 8}", f"a1b2:{'5e' * 16}:{'5a' * 7}",
        f"00:{'5e' * 16}:{'5a' * 8}", f"{'a1' * 8}:{'5e' * 16}:{'5a' * 8}", f"a1b2:{'5e' * 16}:{'5a' * 8}:00",
    ],
)  # fmt: skip
def test_an_oscore_context_of_another_form_is_refused(public: str) -> None:
    with pytest.raises(InvalidSettings):
        read_oscore("lamp", public)


def test_a_seal_is_bound_to_device_kind_and_handle() -> None:
    one = Credential(1, "lamp", CredentialKind.PSK, "", "psk-lamp")
    others = [
        Credential(1, "kettle", CredentialKind.PSK, "", "psk-lamp"),
        Credential(1, "lamp", CredentialKind.OSCORE, "", "psk-lamp"),
        Credential(1, "lamp", CredentialKind.PSK, "", "psk-lamp/2"),
    ]
    assert bound_to(one) not in [bound_to(other) for other in others]
