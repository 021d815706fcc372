"""UDP sockets for doors that speak in datagrams: bound, read in turns, and answered from the address that was asked.

A socket on a wildcard address takes datagrams for all addresses of the machine, and for multicast groups. Which one was
meant comes beside each datagram (IP_PKTINFO, ip(7); IPV6_RECVPKTINFO, RFC 3542 section 6), and goes beside the answer:
a peer drops one that comes from elsewhere. A socket on one address needs none of that.

All that waits is read by one system call (recvmmsg(2)) into one room, and peers' addresses stay as the kernel writes
them until somebody wants to read one: Python's own methods of sockets cost as much as the kernel does, and more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, final

from mypy_extensions import mypyc_attr

from lockgate.errors import InvalidSettings
from lockgate.net._native import ffi
from lockgate.net.link import Address
from lockgate.net.listener import bind_each

MAX_DATAGRAM_BYTES: Final = 16_640
"""What is longer is dropped: a DTLS record with its frame is no longer (RFC 6347 section 4.1), CoAP advises 1152."""
_AT_ONCE: Final = 32
_CALLS_PER_TURN: Final = 2
"""So many system calls read so many datagrams of one socket in a turn of the loop; then others have theirs."""
_RECEIVE_BUFFER_BYTES: Final = 1_048_576
_MAX_DESTINATIONS: Final = 256

# linux/in.h, linux/in6.h, linux/socket.h; Python has no names for some of them.
_IP_PKTINFO: Final = 8
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_MSG_TRUNC: Final = 0x20
_NAME_BYTES: Final = 28
_CONTROL_BYTES: Final = 64
_CONTROL_HEADER: Final = struct.Struct("@Nii")
_IN_PKTINFO: Final = struct.Struct("@i4s4s")
_IN6_PKTINFO: Final = struct.Struct("@16si")

_native: Final[Any] = ffi
_libc: Final[Any] = ffi.dlopen(None)


def address_of(remote: bytes) -> Address:
    """Read a peer's address as the kernel writes it: sockaddr_in, ip(7), or sockaddr_in6, ipv6(7)."""
    port = int.from_bytes(remote[2:4], "big")
    if len(remote) == 16:
        return Address(socket.inet_ntop(socket.AF_INET, remote[4:8]), port)
    return Address(socket.inet_ntop(socket.AF_INET6, remote[8:24]), port)


@mypyc_attr(allow_interpreted_subclasses=True)
class Sink:
    """Who takes the datagrams of a socket."""

    __slots__ = ()

    def take(self, sock: UdpSocket, start: int, size: int, remote: bytes, local: bytes, is_multicast: bool) -> None:
        """Take one datagram, which lies in `sock.room` until the call is over.

        Args:
            remote: whence, as the kernel writes addresses.
            local: where it came to, as it goes beside an answer; b"" where there is no choice.
            is_multicast: whether it was sent to a multicast group.
        """
        raise NotImplementedError


@final
class Room:
    """Where what is read lies, for all sockets of a listener: they have their turns one after the other."""

    def __init__(self) -> None:
        self.memory: Any = _native.new("char[]", _AT_ONCE * (MAX_DATAGRAM_BYTES + 1))
        self.view: memoryview = memoryview(_native.buffer(self.memory))
        self.names: Any = _native.new("char[]", _AT_ONCE * _NAME_BYTES)
        self.controls: Any = _native.new("char[]", _AT_ONCE * _CONTROL_BYTES)
        self._parts: Any = _native.new("struct iovec[]", _AT_ONCE)
        self.messages: Any = _native.new("struct mmsghdr[]", _AT_ONCE)
        self.heads: list[Any] = []
        for index in range(_AT_ONCE):
            part, head = self._parts[index], self.messages[index].msg_hdr
            part.iov_base = self.memory + self.start(index)
            part.iov_len = MAX_DATAGRAM_BYTES + 1
            head.msg_name = self.names + index * _NAME_BYTES
            head.msg_namelen = _NAME_BYTES
            head.msg_iov = self._parts + index
            head.msg_iovlen = 1
            head.msg_control = self.controls + index * _CONTROL_BYTES
            self.heads.append(head)

    def start(self, index: int) -> int:
        """Say where the datagram of a number begins."""
        return index * (MAX_DATAGRAM_BYTES + 1)


@final
class UdpSocket:
    """One bound socket.

    Args:
        sock: bound, not blocking.
        sink: takes what comes.
        room: where it lies.
        tag: tells the sockets of a listener apart: with a peer's address it is a key for the peer.
    """

    def __init__(self, sock: socket.socket, sink: Sink, room: Room, tag: bytes = b"") -> None:
        self._socket = sock
        self.tag = tag
        self._descriptor = sock.fileno()
        self._sink = sink
        self.room = room
        self.family: int = sock.family
        self.address = Address(*sock.getsockname()[:2])
        self.is_wildcard = ipaddress.ip_address(self.address.host.partition("%")[0]).is_unspecified
        self.received_bytes = 0
        self.sent_bytes = 0
        self.dropped = 0
        """Datagrams that were too long, or that the kernel had no room to send: CoAP and DTLS send them again."""
        self._destinations: dict[bytes, tuple[bytes, bool]] = {}
        self._recvmmsg: Any = _libc.recvmmsg
        self._sendto: Any = _libc.sendto
        self._sendmsg: Any = _libc.sendmsg
        self._unpack: Any = _native.unpack
        self._no_timeout: Any = _native.NULL
        self._outgoing: Any = _native.new("struct msghdr *")
        self._outgoing_part: Any = _native.new("struct iovec *")
        self._outgoing.msg_iov = self._outgoing_part
        self._outgoing.msg_iovlen = 1
        if self.is_wildcard:
            _ask_for_destinations(sock)

    def start(self) -> None:
        """Read, until `close`."""
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """Read and send no more."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._descriptor = -1
            self._socket.close()

    def send(self, data: object, size: int, remote: bytes, local: bytes) -> bool:
        """Send one datagram; False where the kernel did not take it.

        Args:
            data: bytes, or a pointer of cffi's.
            size: how much of it.
            remote: whither.
            local: from which of our addresses; b"" where there is no choice.
        """
        if local:
            sent = self._send_from(data, size, remote, local)
        else:
            sent = self._sendto(self._descriptor, data, size, 0, remote, len(remote))
        if sent < 0:  # no room, no route, a firewall: datagrams are lost on the way, too
            self.dropped += 1
            return False
        self.sent_bytes += size
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
                    _join(self._socket, group, index)
                    joined = True
            if not joined:
                raise InvalidSettings(f"no interface of this machine can join the multicast group {group}")

    def _send_from(self, data: object, size: int, remote: bytes, local: bytes) -> int:
        from_buffer = _native.from_buffer
        name, control = from_buffer(remote), from_buffer(local)  # they must live as long as the call
        payload = from_buffer(data) if isinstance(data, bytes) else data
        message = self._outgoing
        message.msg_name, message.msg_namelen = name, len(remote)
        message.msg_control, message.msg_controllen = control, len(local)
        part = self._outgoing_part
        part.iov_base, part.iov_len = payload, size
        sent: int = self._sendmsg(self._descriptor, message, 0)
        return sent

    def _read(self) -> None:
        for _ in range(_CALLS_PER_TURN):
            if self._descriptor < 0 or self._read_some() < _AT_ONCE:
                return

    def _read_some(self) -> int:
        room = self.room
        heads = room.heads
        if self.is_wildcard:
            for head in heads:
                head.msg_controllen = _CONTROL_BYTES
        count: int = self._recvmmsg(self._descriptor, room.messages, _AT_ONCE, 0, self._no_timeout)
        messages = room.messages
        for index in range(count):
            message = messages[index]
            head = heads[index]
            size: int = message.msg_len
            self.received_bytes += size
            if size > MAX_DATAGRAM_BYTES or head.msg_flags & _MSG_TRUNC:
                self.dropped += 1
                continue
            remote: bytes = self._unpack(head.msg_name, head.msg_namelen)
            local, is_multicast = b"", False
            if self.is_wildcard:
                control: bytes = self._unpack(head.msg_control, head.msg_controllen)
                known = self._destinations.get(control)
                local, is_multicast = known if known is not None else self._destination(control)
            self._sink.take(self, room.start(index), size, remote, local, is_multicast)
            if self._descriptor < 0:
                break
        return count

    def _destination(self, control: bytes) -> tuple[bytes, bool]:
        found = _destination(control)
        if len(self._destinations) >= _MAX_DESTINATIONS:
            self._destinations.clear()
        self._destinations[control] = found
        return found


def open_sockets(hosts: str | Sequence[str], port: int, sink: Sink) -> list[UdpSocket]:
    """Bind one socket for each address of `hosts` (names or addresses), all on one port; 0 picks a free one for all.

    Raises:
        Unavailable: when the port is taken, naming its owner where /proc tells.
        InvalidSettings: when a host is not ours or the port may not be used.
    """
    room = Room()
    names = [hosts] if isinstance(hosts, str) else list(hosts)
    bound = bind_each(names, port, _bind_one, "udp")
    return [UdpSocket(each, sink, room, bytes([at]) if at else b"") for at, each in enumerate(bound)]


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


def _destination(control: bytes) -> tuple[bytes, bool]:
    """Give what goes beside an answer, and whether the datagram was meant for a multicast group; see cmsg(3)."""
    start = _CONTROL_HEADER.size
    if len(control) < start:
        return b"", False
    _, level, kind = _CONTROL_HEADER.unpack_from(control)
    if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
        _, ours, destination = _IN_PKTINFO.unpack_from(control, start)
        # The answer's interface is for the routes to choose; its source is what the kernel names as ours. What was sent
        # to another address than that was sent to many: by multicast, or by broadcast, which reaches all who listen.
        return _control(level, kind, _IN_PKTINFO.pack(0, ours, bytes(4))), ours != destination
    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
        destination, interface = _IN6_PKTINFO.unpack_from(control, start)
        if destination[0] == 0xFF:  # RFC 4291 section 2.7
            return _control(level, kind, _IN6_PKTINFO.pack(bytes(16), interface)), True
        is_link_local = destination[0] == 0xFE and destination[1] & 0xC0 == 0x80
        return _control(level, kind, _IN6_PKTINFO.pack(destination, interface if is_link_local else 0)), False
    return b"", False


def _control(level: int, kind: int, data: bytes) -> bytes:
    message = _CONTROL_HEADER.pack(_CONTROL_HEADER.size + len(data), level, kind) + data
    return message.ljust(socket.CMSG_SPACE(len(data)), b"\0")


def _join(sock: socket.socket, group: str, interface: int) -> None:
    if sock.family == socket.AF_INET:
        request = struct.pack("@4s4si", socket.inet_aton(group), bytes(4), interface)  # ip_mreqn, ip(7)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    else:
        request = struct.pack("@16si", socket.inet_pton(socket.AF_INET6, group), interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
