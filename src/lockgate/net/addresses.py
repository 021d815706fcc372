"""The names and addresses by which devices can reach this machine.

`lockgate init` writes them into the server certificate, `lockgate up` prints where it listens. Nothing is sent on the
network: IPv4 addresses come from the kernel by ioctl (netdevice(7)), IPv6 ones from /proc/net/if_inet6.
"""

from __future__ import annotations

import fcntl
import ipaddress
import re
import socket
import struct
from pathlib import Path

import msgspec

_SIOCGIFADDR = 0x8915  # linux/sockios.h: the IPv4 address of an interface
_INTERFACE_NAME_BYTES = 16
_HOST_NAME = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z"
)
# linux/if_addr.h: addresses that are not, or not yet, usable
_DADFAILED_OR_TENTATIVE = 0x08 | 0x40
_TEMPORARY = 0x01


class MachineAddresses(msgspec.Struct, frozen=True):
    """What this machine is called and where it can be reached.

    `names` are host names, the plain one first; `addresses` are IPv4 and IPv6 addresses, those that others can reach
    first and loopback last. Link-local IPv6 addresses are left out: they mean nothing without an interface.
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...]

    @property
    def reachable(self) -> tuple[str, ...]:
        """The addresses that other machines may use."""
        return tuple(each for each in self.addresses if not ipaddress.ip_address(each).is_loopback)


def machine_addresses() -> MachineAddresses:
    """Give back the names (host name, host.local, localhost) and addresses that this machine has now."""
    found = [*_ipv4_addresses(), *_ipv6_addresses(), ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    ordered = sorted(dict.fromkeys(found), key=lambda each: (each.is_loopback, each.version))
    return MachineAddresses(host_names(socket.gethostname()), tuple(str(each) for each in ordered))


def host_names(host_name: str) -> tuple[str, ...]:
    """Give back the names that go with `host_name`: itself, its first label, that label in .local (mDNS, RFC 6762
    section 3), localhost. A host name that no certificate can hold is left out.
    """
    name = host_name.rstrip(".").lower()
    if not _HOST_NAME.match(name) or name.partition(".")[0] == "localhost":
        return ("localhost",)
    label = name.partition(".")[0]
    return tuple(dict.fromkeys([name, label, f"{label}.local", "localhost"]))


def _ipv4_addresses() -> list[ipaddress.IPv4Address]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, interface in socket.if_nameindex():
            request = struct.pack(f"{_INTERFACE_NAME_BYTES}s240x", interface.encode()[: _INTERFACE_NAME_BYTES - 1])
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, request)
            except OSError:  # the interface has no IPv4 address
                continue
            found.append(ipaddress.IPv4Address(answer[20:24]))
    return found


def _ipv6_addresses(table: Path = Path("/proc/net/if_inet6")) -> list[ipaddress.IPv6Address]:
    try:
        lines = table.read_text().splitlines()
    except OSError:  # no IPv6 here
        return []
    found = []
    for address, _, _, _, flags, _ in map(str.split, lines):
        parsed = ipaddress.IPv6Address(bytes.fromhex(address))
        if not parsed.is_link_local and not int(flags, 16) & (_DADFAILED_OR_TENTATIVE | _TEMPORARY):
            found.append(parsed)
    return found
