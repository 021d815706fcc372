"""DTLS on loopback sockets, with OpenSSL's and libcoap's clients at the other end."""

from __future__ import annotations

from lockgate.net.dtls import DtlsModes


def test_all_modes_are_offered_unless_switched_off() -> None:
    assert DtlsModes() == DtlsModes(psk=True, rpk=True, x509=True)
