"""What a door of datagrams sees of a peer: a link to send by, and a handler that it gives; and the plain listener.

link.send, close                          the door speaks
handler.datagram_received, link_lost      the link speaks

UDP has no connections: a link is what the hub remembers of one remote address. There are only so many; the one that was
quiet the longest gives way, and one that is quiet for too long ends. Without protection (CoAP's "NoSec", RFC 7252
section 9) an address proves nothing: whoever can write a datagram can write any source address into it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import final

import msgspec
from cryptography import x509
from mypy_extensions import mypyc_attr

from lockgate.errors import InvalidSettings, Unavailable
from lockgate.net.link import Address, network_of
from lockgate.net.listener import Traffic
from lockgate.net.streams import log_unexpected
from lockgate.net.tls import Protection
from lockgate.net.udp import Sink, UdpSocket, address_of, open_sockets


class DatagramLimits(msgspec.Struct, frozen=True):
    """What one listener of datagrams grants its peers."""

    max_links: int = 10_000
    """Of one listener; one more, and the one that was quiet the longest gives way."""
    max_links_per_address: int = 1_000
    """Of one network (an IPv4 address, an IPv6 /64); one more, and its own quietest link gives way."""
    idle_seconds: float = 3_600.0
    """A link that nothing came by for so long ends."""
    handshake_deadline_seconds: float = 30.0
    """From the proven address to the end of the DTLS handshake; lost flights are sent again after 1, 2, 4 s."""
    max_handshakes: int = 1_000
    """How many DTLS handshakes are under way at once; one more, and the oldest gives way."""
    max_handshakes_per_second_per_address: float = 200.0
    """0 for no limit."""
    max_handshake_burst_per_address: int = 1_000


@mypyc_attr(allow_interpreted_subclasses=True)
class DatagramLink:
    """One peer, as the door uses it."""

    __slots__ = ()

    @property
    def peer(self) -> Address:
        """Where the peer sends from."""
        raise NotImplementedError

    @property
    def protection(self) -> Protection | None:
        """How DTLS protects the link; None for plain datagrams."""
        raise NotImplementedError

    @property
    def psk_identity(self) -> bytes | None:
        """The identity whose key the peer has proven to hold."""
        raise NotImplementedError

    @property
    def raw_public_key(self) -> bytes | None:
        """The key that the peer has proven to hold: DER of its SubjectPublicKeyInfo (RFC 7250)."""
        raise NotImplementedError

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The peer's verified certificate."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Send `data` as one datagram. Ignored once closed; it may be lost on the way."""
        raise NotImplementedError

    def close(self) -> None:
        """Say goodbye where there are words for it (close_notify); the handler hears `link_lost(None)` soon."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class DatagramHandler:
    """One peer, as the link drives it: `link_made` first, `link_lost` last, each exactly once."""

    __slots__ = ()

    def link_made(self, link: DatagramLink) -> None:
        """Begin; with DTLS the handshake is done."""
        raise NotImplementedError

    def datagram_received(self, data: bytes, is_multicast: bool) -> None:
        """Take the plaintext of one datagram."""
        raise NotImplementedError

    def link_lost(self, error: Exception | None) -> None:
        """End; `error` is None after an orderly end: closed by either side, or quiet for too long."""
        raise NotImplementedError


@final
class PlainDatagramLink(DatagramLink):
    """One remote address without protection."""

    __slots__ = (
        "_desk",
        "_key",
        "_local",
        "_peer",
        "_remote",
        "_socket",
        "handler",
        "is_counted",
        "last_seen",
        "network",
    )

    def __init__(self, desk: DatagramListener, key: bytes, sock: UdpSocket, remote: bytes) -> None:
        self._desk = desk
        self._key = key
        self._socket = sock
        self._remote = remote
        self._local = b""
        self._peer: Address | None = None
        self.network = network_of(self.peer.host)
        self.last_seen = 0.0
        self.is_counted = False
        self.handler: DatagramHandler | None = None

    @property
    def peer(self) -> Address:
        """Where the peer sends from, by its own word."""
        if self._peer is None:
            self._peer = address_of(self._remote)
        return self._peer

    @property
    def protection(self) -> Protection | None:
        """None: nothing protects this link."""
        return None

    @property
    def psk_identity(self) -> bytes | None:
        """None: nothing is proven."""
        return None

    @property
    def raw_public_key(self) -> bytes | None:
        """None: nothing is proven."""
        return None

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """None: nothing is proven."""
        return None

    def send(self, data: bytes) -> None:
        """Send `data` from the address that the peer wrote to last."""
        if self.handler is not None:
            self._socket.send(data, len(data), self._remote, self._local)

    def close(self) -> None:
        """Forget the address; the handler hears of it soon."""
        self.end(None)

    def take(self, data: bytes, local: bytes, is_multicast: bool, now: float) -> None:
        """Hand one datagram on."""
        self.last_seen = now
        self._local = local
        if self.handler is not None:
            self.handler.datagram_received(data, is_multicast)

    def end(self, error: Exception | None) -> None:
        """Forget the address, and say why."""
        handler, self.handler = self.handler, None
        if handler is not None:
            self._desk.forget(self._key, self)
            self._desk.loop.call_soon(tell_of_loss, handler, error, self.peer)


def tell_of_loss(handler: DatagramHandler, error: Exception | None, peer: Address) -> None:
    """Have a handler hear that its link is lost; what it raises is logged."""
    try:
        handler.link_lost(error)
    except Exception as unexpected:
        log_unexpected(unexpected, peer)


@final
class Crowd:
    """How many links come from each network, and who gives way when there are too many.

    Whoever gives way is of the same network as who comes, where that one is full: nobody can push out others from one
    address alone.
    """

    def __init__(self, limits: DatagramLimits) -> None:
        self._limits = limits
        self._per_network: Counter[str] = Counter()

    def enter(self, network: str, total: int) -> tuple[str | None, Unavailable] | None:
        """Count one more link beside `total`; give of which network one has to give way (None: any), and the words."""
        limits = self._limits
        self._per_network[network] += 1
        if self._per_network[network] > limits.max_links_per_address:
            text = f"{network} has {limits.max_links_per_address} links open"
            return network, _gave_way(text, "max_connections_per_address")
        if total >= limits.max_links:
            return None, _gave_way(f"{limits.max_links} links are open", "max_connections")
        return None

    def leave(self, network: str) -> None:
        """Count one less."""
        self._per_network[network] -= 1
        if self._per_network[network] <= 0:
            del self._per_network[network]


def _gave_way(text: str, setting: str) -> Unavailable:
    return Unavailable(
        f"{text}, and this one was quiet the longest",
        reason="gave way",
        fix=f"Raise coap.{setting}, or look for addresses that send without need.",
    )


@final
class DatagramListener(Sink):
    """A door's sockets for plain UDP, all on one port: a handler for each remote address.

    Call `handle_timer` once a second or so.
    """

    def __init__(self, handler_factory: Callable[[], DatagramHandler], limits: DatagramLimits) -> None:
        self.loop = asyncio.get_running_loop()
        self._handler_factory = handler_factory
        self._limits = limits
        self._links: dict[bytes, PlainDatagramLink] = {}  # the one that was quiet the longest stands first
        self._sockets: list[UdpSocket] = []
        self._crowd = Crowd(limits)
        self._accepted = 0
        self.addresses: tuple[Address, ...] = ()

    @classmethod
    async def open(
        cls,
        hosts: str | Sequence[str],
        port: int,
        handler_factory: Callable[[], DatagramHandler],
        limits: DatagramLimits,
    ) -> DatagramListener:
        """Listen on every one of `hosts` (names or addresses) at `port`; 0 picks one free port for all.

        Args:
            handler_factory: makes the handler of one remote address, when the first datagram comes from there.

        Raises:
            Unavailable: when the port is taken, naming its owner where /proc tells.
            InvalidSettings: when a host is not ours or the port may not be used.
        """
        listener = cls(handler_factory, limits)
        listener._sockets = open_sockets(hosts, port, listener)
        listener.addresses = tuple(each.address for each in listener._sockets)
        for each in listener._sockets:
            each.start()
        return listener

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.addresses[0].port

    @property
    def traffic(self) -> Traffic:
        """What has come and gone here since the start."""
        received = sum(each.received_bytes for each in self._sockets)
        return Traffic(self._accepted, received, sum(each.sent_bytes for each in self._sockets))

    @property
    def connection_count(self) -> int:
        """How many remote addresses are remembered."""
        return len(self._links)

    def join(self, groups: Sequence[str]) -> None:
        """Hear these multicast groups; answers leave from our own addresses.

        Raises:
            InvalidSettings: the listener is not on the wildcard address of a group's family, or no interface can.
        """
        for group in groups:
            family = socket.AF_INET6 if ":" in group else socket.AF_INET
            fitting = [each for each in self._sockets if each.is_wildcard and each.family == family]
            if not fitting:
                wildcard = "::" if family is socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - only its name
                raise InvalidSettings(
                    f"the multicast group {group} reaches only a door on {wildcard}",
                    fix=f"Add {wildcard} to coap.hosts, or switch coap.multicast_enabled off.",
                )
            for each in fitting:
                each.join([group])

    def close(self) -> None:
        """Take no more datagrams; the handlers hear of it."""
        for link in list(self._links.values()):
            link.end(None)
        for each in self._sockets:
            each.close()

    def handle_timer(self, now: float) -> None:
        """End the links that were quiet for too long. `now` is the loop's time."""
        while self._links:
            first = next(iter(self._links.values()))
            if first.last_seen + self._limits.idle_seconds > now:
                return
            first.end(None)

    def forget(self, key: bytes, link: PlainDatagramLink) -> None:
        """Know no longer of a link that has ended."""
        if self._links.get(key) is link:
            del self._links[key]
            if link.is_counted:
                self._crowd.leave(link.network)

    def take(self, sock: UdpSocket, start: int, size: int, remote: bytes, local: bytes, is_multicast: bool) -> None:
        """Take one datagram from a socket."""
        key = remote + sock.tag
        link = self._links.pop(key, None)
        try:
            if link is None:
                link = PlainDatagramLink(self, key, sock, remote)
                self._links[key] = link
                link.handler = self._handler_factory()
                link.handler.link_made(link)
            else:
                self._links[key] = link
            link.take(bytes(sock.room.view[start : start + size]), local, is_multicast, self.loop.time())
            if not link.is_counted and link.handler is not None:
                self._count(link)
        except Exception as error:
            if link is None:
                raise
            log_unexpected(error, link.peer)
            link.end(error)

    def _count(self, link: PlainDatagramLink) -> None:
        """Count a link that its handler wants to keep, and have another give way: nobody gives way to a mere word."""
        link.is_counted = True
        self._accepted += 1
        crowded = self._crowd.enter(link.network, len(self._links) - 1)
        if crowded is not None:
            network, error = crowded
            quietest = next((each for each in self._links.values() if network in (None, each.network)), None)
            if quietest is not None:
                quietest.end(error)
