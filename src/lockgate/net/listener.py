"""Listeners: sockets that turn connections into links for a door, plain or TLS behind one interface.

listener = await Listener.open("::", 8883, Handler, contexts, NetLimits(), on_failure)
listener.addresses        -> where it listens
listener.close()          -> no new connections; those still shaking hands are dropped, the door ends its own
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from lockgate.errors import InvalidSettings, Unavailable
from lockgate.net.context import TlsContexts
from lockgate.net.failures import TlsFailure
from lockgate.net.link import Address, NetLimits, StreamHandler
from lockgate.net.ports import owner_of_port
from lockgate.net.streams import Census, Desk, log_unexpected

_BACKLOG = 4096
_PORT_ATTEMPTS = 8
BindOne = Callable[[socket.AddressFamily, str, int], socket.socket]
"""Gives a socket of that family, bound to that host and port."""
_ACCEPT_PAUSE_SECONDS = 1.0
ACCEPTED_PER_TURN: Final = 16
"""Half a millisecond of work, about."""


class Traffic(NamedTuple):
    """What a listener has carried: connections let in, bytes on the wire (TLS included) in both directions."""

    accepted: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


class Listener:
    """One door's listening sockets, all on one port."""

    def __init__(self, desk: Desk, sockets: list[socket.socket], addresses: tuple[Address, ...]) -> None:
        self._desk = desk
        self._sockets = sockets
        self.addresses = addresses

    @classmethod
    async def open(
        cls,
        hosts: str | Sequence[str],
        port: int,
        handler_factory: Callable[[], StreamHandler],
        contexts: TlsContexts | None,
        limits: NetLimits,
        on_failure: Callable[[Address, TlsFailure], None],
        census: Census | None = None,
    ) -> Listener:
        """Listen on every one of `hosts` (names or addresses) at `port`; 0 picks one free port for all.

        Args:
            handler_factory: makes the handler of one connection, when its handshake is done.
            contexts: whence each new connection takes its TLS context; None for plain text.
            on_failure: told of each peer that did not get as far as a handler.
            census: shared by listeners whose connections are limited together; None counts this one's alone.

        Raises:
            Unavailable: when the port is taken, naming its owner where /proc tells.
            InvalidSettings: when a host is not ours or the port may not be used.
        """
        sockets = bind([hosts] if isinstance(hosts, str) else list(hosts), port)
        desk = Desk(handler_factory, contexts, limits, on_failure, census)
        addresses = tuple(Address(*each.getsockname()[:2]) for each in sockets)
        listener = cls(desk, sockets, addresses)
        for each in sockets:
            listener._accept_from(each)
        return listener

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.addresses[0].port

    @property
    def traffic(self) -> Traffic:
        """What has come and gone here since the start."""
        desk = self._desk
        return Traffic(desk.accepted, desk.received_bytes, desk.sent_bytes)

    @property
    def connection_count(self) -> int:
        """How many connections are open, handshakes and closing ones included."""
        return len(self._desk.links)

    def close(self) -> None:
        """Take no new connections, and drop those that have no handler yet."""
        for each in self._sockets:
            self._desk.loop.remove_reader(each)
            each.close()
        self._sockets.clear()
        for link in list(self._desk.links):
            if not link.has_handler:
                link.abort()
        self._desk.close()

    def _accept_from(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._desk.loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Take in some of those that wait; the others have their turn when those that are in have had theirs."""
        for _ in range(ACCEPTED_PER_TURN):
            try:
                connected, address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or memory is left: asking at once would find the same
                log_unexpected(error, self.addresses[0])
                self._desk.loop.remove_reader(listening)
                self._desk.loop.call_later(_ACCEPT_PAUSE_SECONDS, self._accept_from, listening)
                return
            connected.setblocking(False)
            self._desk.take_in(connected.detach(), Address(sys.intern(address[0]), address[1]))


def bind(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Give back one listening socket for each address of `hosts`, all on one port."""
    return bind_each(hosts, port, _bind_one, "tcp")


def bind_each(hosts: Sequence[str], port: int, bind_one: BindOne, protocol: str) -> list[socket.socket]:
    """Give back what `bind_one` makes for each address of `hosts`, all on one port; 0 picks a free one for all.

    A host of IPv6 is left out where the machine has no IPv6, as long as another remains.

    Raises:
        Unavailable: when the port is taken, naming its owner where /proc tells.
        InvalidSettings: when a host is not ours or the port may not be used.
    """
    endpoints = list(dict.fromkeys(endpoint for host in hosts for endpoint in resolve(host)))
    for attempt in range(_PORT_ATTEMPTS if port == 0 else 1):
        try:
            return _bind_all(endpoints, port, bind_one)
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE and attempt < _PORT_ATTEMPTS - 1:
                continue  # the port that was free for the first address is taken for the second
            raise cannot_listen(error, ", ".join(hosts), port, protocol) from error
    raise AssertionError("unreachable")


def resolve(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Give the addresses that a host name stands for, or raise `InvalidSettings`."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InvalidSettings(f"{host!r} is no address or host name to listen on: {error}") from error
    return [(family, str(address[0])) for family, _, _, _, address in found]


def _bind_all(
    endpoints: Sequence[tuple[socket.AddressFamily, str]], port: int, bind_one: BindOne
) -> list[socket.socket]:
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, host in endpoints:
            try:
                bound.append(bind_one(family, host, port))
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
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # On Linux the accepted sockets inherit the options. Without TCP_NODELAY small answers wait 40 ms (RFC 896
        # against delayed acknowledgements).
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family is socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)  # here, so that a taken port shows before anything else is begun
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def cannot_listen(error: OSError, hosts: str, port: int, protocol: str = "tcp") -> InvalidSettings | Unavailable:
    """Say in our own words why a socket could not be bound."""
    if error.errno == errno.EADDRINUSE:
        owner = owner_of_port(port, protocol=protocol)
        return Unavailable(
            f"port {port} is taken" + (f" by {owner}" if owner else ""),
            reason="port taken",
            fix=f"End that process, or choose another port than {port} in lockgate.toml (the lab's: --lab-port).",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return InvalidSettings(f"port {port} may not be used by this user", fix="Choose a port from 1024 upwards.")
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidSettings(
            f"this machine has no address {hosts}", fix="Listen on an address that it has, or on ::."
        )
    return InvalidSettings(f"cannot listen on {hosts} port {port}: {error.strerror}")
