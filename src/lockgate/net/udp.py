"""UDP sockets for doors that speak in datagrams: bound, read in turns, and answered from the address that was asked.

A socket on a wildcard address takes datagrams for all addresses of the machine, and for multicast groups. Which one was
meant comes beside each datagram (IP_PKTINFO, ip(7); IPV6_RECVPKTINFO, RFC 3542 section 6), and goes beside the answer:
a peer drops one that comes from elsewhere. A socket on one address needs none of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final, final

from lockgate.errors import InvalidSettings
from lockgate.net.link import Address
from lockgate.net.listener import cannot_listen, resolve

MAX_DATAGRAM_BYTES: Final = 16_384
"""What is longer is dropped: a DTLS record holds so much (RFC 6347 section 4.1), a CoAP message 1152 (RFC 7252 4.6)."""
PER_TURN: Final = 64
"""So many datagrams of one socket are read in one turn of the loop; then others have theirs."""
_RECEIVE_BUFFER_BYTES: Final = 1_048_576
_PORT_ATTEMPTS: Final = 8

# linux/in.h and linux/in6.h; Python has no names for some of them.
_IP_PKTINFO: Final = 8
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(20)
_IN_PKTINFO: Final = struct.Struct("@i4s4s")
_IN6_PKTINFO: Final = struct.Struct("@16si")

Remote = tuple[str, int] | tuple[str, int, int, int]
"""A peer's address, as the socket module gives and takes it."""
Local = bytes
"""Which of our addresses a datagram came to, as it goes beside an answer: in(6)_pktinfo; b"": the only one."""
Sink = Callable[["UdpSocket", memoryview, Remote, Local, bool], None]
"""Takes one datagram: whence, whither, and whether it came to a multicast group. The view is good during the call."""


@final
class UdpSocket:
    """One bound socket.

    Args:
        sock: bound, not blocking.
        sink: takes what comes.
    """

    def __init__(self, sock: socket.socket, sink: Sink) -> None:
        self._socket = sock
        self._sink = sink
        self._room = bytearray(MAX_DATAGRAM_BYTES + 1)
        self._view = memoryview(self._room)
        self.family: Final = sock.family
        self.address = Address(*sock.getsockname()[:2])
        self.is_wildcard = ipaddress.ip_address(self.address.host.partition("%")[0]).is_unspecified
        self.received_bytes = 0
        self.sent_bytes = 0
        self.dropped = 0
        """Datagrams that were too long, or that the kernel had no room to send: CoAP and DTLS send them again."""
        if self.is_wildcard:
            _ask_for_destinations(sock)

    def start(self) -> None:
        """Read, until `close`."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Read and send no more."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()

    def send(self, data: bytes, remote: Remote, local: Local) -> bool:
        """Send one datagram; False where the kernel did not take it."""
        try:
            if local:
                level, kind = (
                    (socket.IPPROTO_IP, _IP_PKTINFO)
                    if self.family is socket.AF_INET
                    else (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
                )
                self._socket.sendmsg((data,), ((level, kind, local),), 0, remote)
            else:
                self._socket.sendto(data, remote)
        except OSError:  # no room, no route, a firewall: datagrams are lost on the way, too
            self.dropped += 1
            return False
        self.sent_bytes += len(data)
        return True

    def join(self, groups: Sequence[str]) -> None:
        """Hear these multicast groups, on each interface that can.

        Raises:
            InvalidSettings: no interface can.
        """
        for group in groups:
            joined = False
            for index, _ in socket.if_nameindex():
                with contextlib.suppress(OSError):  # an interface without multicast, or without this family
                    _join(self._socket, self.family, group, index)
                    joined = True
            if not joined:
                raise InvalidSettings(f"no interface of this machine can join the multicast group {group}")

    def _read(self) -> None:
        for _ in range(PER_TURN):
            try:
                if self.is_wildcard:
                    size, ancillary, _, remote = self._socket.recvmsg_into((self._room,), _ANCILLARY_BYTES)
                else:
                    size, remote = self._socket.recvfrom_into(self._room)
                    ancillary = []
            except BlockingIOError:
                return
            except OSError:
                if self._socket.fileno() < 0:
                    return
                continue
            self.received_bytes += size
            if size > MAX_DATAGRAM_BYTES:
                self.dropped += 1
                continue
            local, is_multicast = _destination(ancillary) if ancillary else (b"", False)
            self._sink(self, self._view[:size], remote, local, is_multicast)


def open_sockets(hosts: str | Sequence[str], port: int, sink: Sink) -> list[UdpSocket]:
    """Bind one socket for each address of `hosts` (names or addresses), all on one port; 0 picks a free one for all.

    Raises:
        Unavailable: when the port is taken, naming its owner where /proc tells.
        InvalidSettings: when a host is not ours or the port may not be used.
    """
    names = [hosts] if isinstance(hosts, str) else list(hosts)
    endpoints = list(dict.fromkeys(endpoint for host in names for endpoint in resolve(host)))
    for attempt in range(_PORT_ATTEMPTS if port == 0 else 1):
        try:
            return [UdpSocket(each, sink) for each in _bind_all(endpoints, port)]
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE and attempt < _PORT_ATTEMPTS - 1:
                continue  # the port that was free for the first address is taken for the second
            raise cannot_listen(error, ", ".join(names), port, "udp") from error
    raise AssertionError("unreachable")


def _bind_all(endpoints: Sequence[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, host in endpoints:
            try:
                bound.append(_bind_one(family, host, port))
            except OSError as error:
                if family is not socket.AF_INET6 or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                missing = error
            else:
                port = bound[0].getsockname()[1]
        if not bound and missing:
            raise missing
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def _bind_one(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        # As much as the kernel grants: a burst of all devices at once waits there.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _ask_for_destinations(sock: socket.socket) -> None:
    if sock.family is socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        # Otherwise it hears every group that any program of this machine has joined.
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        with contextlib.suppress(OSError):  # since Linux 4.20
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


def _destination(ancillary: list[tuple[int, int, bytes]]) -> tuple[Local, bool]:
    """Give what goes beside an answer, and whether the datagram was meant for a multicast group."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, ours, destination = _IN_PKTINFO.unpack(data)
            # The answer's interface is for the routes to choose; its source is what the kernel names as ours.
            return _IN_PKTINFO.pack(0, ours, bytes(4)), 224 <= destination[0] <= 239
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            destination, interface = _IN6_PKTINFO.unpack(data)
            if destination[0] == 0xFF:  # RFC 4291 section 2.7
                return _IN6_PKTINFO.pack(bytes(16), interface), True
            is_link_local = destination[0] == 0xFE and destination[1] & 0xC0 == 0x80
            return _IN6_PKTINFO.pack(destination, interface if is_link_local else 0), False
    return b"", False


def _join(sock: socket.socket, family: int, group: str, interface: int) -> None:
    if family == socket.AF_INET:
        request = struct.pack("@4s4si", socket.inet_aton(group), bytes(4), interface)  # ip_mreqn, ip(7)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    else:
        request = struct.pack("@16si", socket.inet_pton(socket.AF_INET6, group), interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
