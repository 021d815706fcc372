"""What credentials without a public key are found by."""

from __future__ import annotations

import pytest

from lockgate.errors import InvalidSettings
from lockgate.model.handles import address_handle, canonical_address, oscore_handle, psk_handle, shown_handle


def test_no_handle_can_be_taken_for_another_or_for_the_thumbprint_of_a_key() -> None:
    handles = [psk_handle("a1"), oscore_handle(b"\xa1"), address_handle("192.0.2.7")]
    assert handles == ["psk-a1", "oscore-a1", "address-192.0.2.7"]
    for handle in handles:
        with pytest.raises(ValueError):
            bytes.fromhex(handle)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_has_one_spelling(written: str, address: str) -> None:
    assert canonical_address(written) == address


@pytest.mark.parametrize("written", ["", "kitchen", "192.0.2.7:5683", "192.0.2", "192.0.2.0/24"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(InvalidSettings, match="is no IP address"):
        address_handle(written)


def test_people_see_the_beginning_of_a_thumbprint_and_all_of_a_handle() -> None:
    assert shown_handle("0123456789abcdef" * 4) == "0123456789abcdef"
    assert shown_handle("psk-lamp/a1b2c3d4e5f6a7b8") == "psk-lamp/a1b2c3d4e5f6a7b8"
