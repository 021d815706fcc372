"""What credentials without a public key are found by: each handle belongs to one credential of the registry.

None of them is a secret, and none can be the thumbprint of a key, which is hexadecimal.
"""

from __future__ import annotations

import ipaddress

from lockgate.errors import InvalidSettings


def psk_handle(identity: str) -> str:
    """Give the handle of a pre-shared key: the identity that a device names in the handshake (RFC 4279 section 5)."""
    return f"psk-{identity}"


def oscore_handle(device_id: bytes) -> str:
    """Give the handle of an OSCORE context: the id under which the device sends (RFC 8613 section 3.1)."""
    return f"oscore-{device_id.hex()}"


def address_handle(host: str) -> str:
    """Give the handle of a device without any protection: the address that it sends from.

    Raises:
        InvalidSettings: when it is no address.
    """
    return f"address-{canonical_address(host)}"


def shown_handle(thumbprint: str) -> str:
    """Give what a credential is found by as it is shown to people: of a key's thumbprint the beginning, else all."""
    return thumbprint if "-" in thumbprint else thumbprint[:16]


def canonical_address(host: str) -> str:
    """Give an IP address in its one spelling; one of IPv4 that came in IPv6's clothes as one of IPv4.

    Raises:
        InvalidSettings: when it is none.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError as error:
        raise InvalidSettings(f"{host!r} is no IP address", fix="write 192.0.2.7 or 2001:db8::7") from error
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
