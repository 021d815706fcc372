"""Links under DTLS: who may begin a handshake, who is in, who gives way, all on one port.

Theory of operation: a ClientHello without this hub's cookie is answered by one that bears it, and nothing is kept (RFC
6347 section 4.2.1). With it, a handshake begins: a `_Shake`, of which there are only so many, for only so long, and a
few steps of them in each turn of the loop (`handshakes`). When it is done, a `DtlsLink` takes its place and the door
hears of it. A peer that lost its keys begins anew from the same port: what was there stays until the new handshake is
done (section 4.2.8), so that nobody can end a link by words that are not sealed.

    datagram begins with         known peer               shaking hands     stranger
    ClientHello, epoch 0         cookie, then a _Shake    the same          the same
    anything else in epoch 0     its session              its session       dropped
    a sealed record              its session              its session       dropped
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, final

from cryptography import x509

from lockgate.net import dtls_failures as failures
from lockgate.net._native import ffi
from lockgate.net.datagrams import Crowd, DatagramHandler, DatagramLimits, DatagramLink, tell_of_loss
from lockgate.net.dtls import DtlsFailure, DtlsFiles, DtlsKeys, DtlsModes, DtlsRefused
from lockgate.net.dtls_port import Carrier, DtlsProvider, DtlsSession
from lockgate.net.failures import TlsFailure
from lockgate.net.gnutls import GnutlsProvider
from lockgate.net.handshakes import Handshakes
from lockgate.net.hellos import RECORD_BYTES, Hello, is_client_hello, read_hello, records_of
from lockgate.net.link import Address, NetLimits, network_of
from lockgate.net.listener import Traffic
from lockgate.net.streams import log_unexpected
from lockgate.net.tls import Protection
from lockgate.net.udp import Sink, UdpSocket, address_of, open_sockets

COOKIE_KEY_SECONDS: Final = 60.0
"""A cookie is good for one to two times as long."""
_GRACE_SECONDS: Final = 1.5
"""How long a client whose last flight could not be read may send it again: it does so after a second."""
_MAX_UNREADABLE: Final = 2
_CHANGE_CIPHER_SPEC: Final = 20
_MAX_WAITING: Final = 8
"""Datagrams of one handshake that wait for its next step."""

_native: Final[Any] = ffi


@final
class _Path(Carrier):
    """The way to a peer, from the address of ours that it wrote to last."""

    __slots__ = ("local", "remote", "sock")

    def __init__(self, sock: UdpSocket, remote: bytes, local: bytes) -> None:
        self.sock = sock
        self.remote = remote
        self.local = local

    def carry(self, data: object, size: int) -> None:
        """Send a datagram."""
        self.sock.send(data, size, self.remote, self.local)


@final
class DtlsLink(DatagramLink):
    """One peer whose handshake is done."""

    __slots__ = ("_desk", "_path", "_peer", "_session", "handler", "key", "last_seen", "network", "random")

    def __init__(
        self, desk: DtlsListener, key: bytes, path: _Path, peer: Address, session: DtlsSession, random: bytes
    ) -> None:
        self._desk = desk
        self._path = path
        self._peer = peer
        self._session = session
        self.key = key
        self.network = network_of(peer.host)
        self.random = random
        self.last_seen = 0.0
        self.handler: DatagramHandler | None = None

    @property
    def peer(self) -> Address:
        """Where the peer sends from."""
        return self._peer

    @property
    def protection(self) -> Protection | None:
        """How DTLS protects the link."""
        return self._session.protection

    @property
    def psk_identity(self) -> bytes | None:
        """The identity whose key the peer has proven to hold."""
        return self._session.psk_identity

    @property
    def raw_public_key(self) -> bytes | None:
        """The key that the peer has proven to hold: DER of its SubjectPublicKeyInfo. None once the link is closed."""
        return self._session.raw_public_key

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The peer's verified certificate. None once the link is closed."""
        return self._session.peer_certificate

    def send(self, data: bytes) -> None:
        """Send `data` as one datagram."""
        if self.handler is not None:
            self._session.send(data)

    def close(self) -> None:
        """Say goodbye; the handler hears of it soon."""
        self.end(None)

    def take(self, data: object, size: int, is_single: bool, local: bytes) -> None:
        """Take a datagram, and hand on what it says."""
        try:
            plain = self._session.receive(data, size, is_single)
            if plain:
                self._path.local = local
                self._desk.touch(self)
                for each in plain:
                    if self.handler is not None:
                        self.handler.datagram_received(each, False)
        except Exception as error:
            log_unexpected(error, self._peer)
            self.end(error)
        if self.handler is not None and self._session.is_over:
            self.end(None)

    def end(self, error: Exception | None, says_goodbye: bool = True) -> None:
        """Forget the peer, and say why."""
        handler, self.handler = self.handler, None
        if handler is not None:
            self._desk.forget(self)
            if says_goodbye:
                self._session.say_goodbye()
            self._session.release()
            self._desk.loop.call_soon(tell_of_loss, handler, error, self._peer)


@final
class _Shake:
    """A handshake that is under way; to `Handshakes` it is one that is `Shaking`."""

    __slots__ = (
        "_deadline",
        "_desk",
        "_hello",
        "_timer",
        "_waiting",
        "began",
        "key",
        "path",
        "peer",
        "random",
        "session",
    )

    def __init__(self, desk: DtlsListener, key: bytes, path: _Path, peer: Address, hello: Hello, now: float) -> None:
        self._desk = desk
        self._hello = hello
        self._waiting: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = now + desk.limits.handshake_deadline_seconds
        self.began = now
        self.key = key
        self.path = path
        self.peer = peer
        self.random = hello.random
        self.session: DtlsSession | None = None

    def take(self, sock: UdpSocket, start: int, size: int, local: bytes) -> None:
        """Take a datagram, now or in a later turn of the loop."""
        if len(self._waiting) >= _MAX_WAITING:
            return  # lost, as on the way
        self.path.local = local
        if not self._waiting and self._desk.handshakes.may_go_on(self):
            self._step(sock.room.memory + start, size, *_signs(sock.room.view[start : start + size]))
        else:
            self._waiting.append(bytes(sock.room.view[start : start + size]))

    def shake_on(self) -> None:
        """Take in what waits, as far as this turn of the loop allows."""
        while self._waiting and self._desk.is_shaking(self):
            data = self._waiting.popleft()
            self._step(data, len(data), *_signs(memoryview(data)))
            if self._waiting and not self._desk.handshakes.may_go_on(self):
                return

    def give_way(self, failure: TlsFailure) -> None:
        """End, for others' sake."""
        if self.session is not None:
            self.session.give_up(0.0)
        self.end(failures.too_many(failure))

    def end(self, failure: DtlsFailure | None) -> None:
        """Come to nothing; say why, unless nobody asks."""
        self.stop()
        session, self.session = self.session, None
        if session is not None:
            session.release()
        if self._desk.drop(self) and failure is not None:
            self._desk.report(self.peer, failure)

    def stop(self) -> None:
        """Set no more timers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def left(self) -> list[bytes]:
        """Give what came after the end of the handshake."""
        return list(self._waiting)

    def _step(self, data: object, size: int, is_sealed: bool = False, has_change: bool = False) -> None:
        try:
            if self.session is None:
                # The cookie once more: the library then knows how the session's numbers go on.
                if not self._desk.provider.has_cookie(self.path.remote, data, size):
                    self.end(None)
                    return
                self.session = self._desk.provider.begin(self._hello, self.path)
            is_done = self.session.shake(data, size, is_sealed, has_change)
        except DtlsRefused as refused:
            self.end(refused.failure)
            return
        except Exception as error:
            log_unexpected(error, self.peer)
            self.end(None)
            return
        if is_done:
            self.stop()
            self._desk.establish(self, self.session)
            return
        now = self._desk.loop.time()
        unreadable = self.session.unreadable
        if unreadable:
            self._deadline = now if unreadable >= _MAX_UNREADABLE else min(self._deadline, now + _GRACE_SECONDS)
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        self.stop()
        if self.session is not None:
            wait = min(self.session.seconds_to_wait(), self._deadline - now)
            self._timer = self._desk.loop.call_later(max(wait, 0.0), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = self._desk.loop.time()
        if self.session is None:
            return
        if now >= self._deadline:
            self.end(self.session.give_up(round(now - self.began, 1)))
        else:
            self._step(_native.NULL, 0)


def _signs(data: memoryview) -> tuple[bool, bool]:
    """Say whether a sealed record is in a datagram, and whether a ChangeCipherSpec is."""
    is_sealed = has_change = False
    for kind, epoch in records_of(data):
        is_sealed |= epoch > 0
        has_change |= kind == _CHANGE_CIPHER_SPEC
    return is_sealed, has_change


@final
class DtlsListener(Sink):
    """A door's sockets for DTLS, all on one port: a handler for each peer whose handshake is done.

    Call `handle_timer` once a second or so, and `reload` when files have changed.
    """

    def __init__(
        self,
        provider: DtlsProvider,
        handler_factory: Callable[[], DatagramHandler],
        limits: DatagramLimits,
        on_refused: Callable[[Address, DtlsFailure], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.provider = provider
        self.limits = limits
        self.handshakes = Handshakes(self.loop.call_soon)
        self._handler_factory = handler_factory
        self._on_refused = on_refused
        self._shake_limits = NetLimits(
            max_handshakes=limits.max_handshakes,
            max_handshakes_per_second_per_address=limits.max_handshakes_per_second_per_address,
            max_handshake_burst_per_address=limits.max_handshake_burst_per_address,
        )
        self._links: dict[bytes, DtlsLink] = {}  # the one that was quiet the longest stands first
        self._shakes: dict[bytes, _Shake] = {}
        self._sockets: list[UdpSocket] = []
        self._crowd = Crowd(limits)
        self._accepted = 0
        self._cookie_key_since = self.loop.time()
        self.addresses: tuple[Address, ...] = ()

    @classmethod
    async def open(
        cls,
        hosts: str | Sequence[str],
        port: int,
        handler_factory: Callable[[], DatagramHandler],
        limits: DatagramLimits,
        files: DtlsFiles,
        keys: DtlsKeys,
        modes: DtlsModes,
        on_refused: Callable[[Address, DtlsFailure], None],
    ) -> DtlsListener:
        """Listen on every one of `hosts` (names or addresses) at `port`; 0 picks one free port for all.

        Args:
            handler_factory: makes the handler of one peer, when its handshake is done.
            on_refused: told of each peer that did not get as far as a handler, once it has proven its address.

        Raises:
            Unavailable: when the port is taken, or the machine has no GnuTLS.
            InvalidSettings: when a host is not ours, the port may not be used, or a file cannot be used.
        """
        listener = cls(GnutlsProvider(files, keys, modes), handler_factory, limits, on_refused)
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
        """How many peers are in, and how many are shaking hands."""
        return len(self._links) + len(self._shakes)

    def reload(self) -> None:
        """Read the files again; handshakes that have begun keep what they were begun with.

        Raises:
            InvalidSettings: when a file cannot be used; what was read before then stays in force.
        """
        self.provider.reload()

    def close(self) -> None:
        """Take no more datagrams, say goodbye to all; the handlers hear of it."""
        for shake in list(self._shakes.values()):
            shake.end(None)
        for link in list(self._links.values()):
            link.end(None)
        for each in self._sockets:
            each.close()

    def handle_timer(self, now: float) -> None:
        """End the links that were quiet for too long, and change the key of cookies. `now` is the loop's time."""
        if now - self._cookie_key_since >= COOKIE_KEY_SECONDS:
            self._cookie_key_since = now
            self.provider.change_cookie_key()
        while self._links:
            first = next(iter(self._links.values()))
            if first.last_seen + self.limits.idle_seconds > now:
                return
            first.end(None)

    # What comes from the sockets.

    def take(self, sock: UdpSocket, start: int, size: int, remote: bytes, local: bytes, is_multicast: bool) -> None:
        """Take one datagram from a socket."""
        view = sock.room.view
        if size <= RECORD_BYTES or is_multicast or view[start + 1] != 0xFE:  # no version of DTLS
            return
        key = remote + sock.tag
        if view[start + 3] == 0 and view[start + 4] == 0 and is_client_hello(view[start : start + size]):
            self._take_hello(sock, start, size, remote, local, key)
            return
        link = self._links.get(key)
        if link is not None:
            is_single = RECORD_BYTES + (view[start + 11] << 8 | view[start + 12]) == size
            link.take(sock.room.memory + start, size, is_single, local)
        if self._shakes:
            shake = self._shakes.get(key)
            if shake is not None:
                shake.take(sock, start, size, local)

    def _take_hello(self, sock: UdpSocket, start: int, size: int, remote: bytes, local: bytes, key: bytes) -> None:
        data = sock.room.memory + start
        if not self.provider.has_cookie(remote, data, size):
            request = self.provider.cookie_request(remote)
            if len(request) <= size:  # nobody can make us send more than is sent to us
                sock.send(request, len(request), remote, local)
            return
        hello = read_hello(sock.room.view[start : start + size])
        if hello is None:
            return
        shake, link = self._shakes.get(key), self._links.get(key)
        if link is not None and link.random == hello.random:
            return  # the network's own double of the hello that this link began with
        if shake is not None and shake.random != hello.random:
            shake.end(None)
            shake = None
        if shake is None:
            shake = self._begin(key, _Path(sock, remote, local), hello)
        if shake is not None:
            shake.take(sock, start, size, local)

    def _begin(self, key: bytes, path: _Path, hello: Hello) -> _Shake | None:
        now = self.loop.time()
        peer = address_of(path.remote)
        shake = _Shake(self, key, path, peer, hello, now)
        refusal = self.handshakes.begin(shake, network_of(peer.host), self._shake_limits, now)
        if refusal is not None:
            self.report(peer, failures.too_many(refusal))
            return None
        self._shakes[key] = shake
        return shake

    # What handshakes and links ask for.

    def is_shaking(self, shake: _Shake) -> bool:
        """Say whether a handshake is still under way."""
        return self._shakes.get(shake.key) is shake

    def drop(self, shake: _Shake) -> bool:
        """Forget a handshake; say whether it was known."""
        self.handshakes.end(shake)
        if self._shakes.get(shake.key) is not shake:
            return False
        del self._shakes[shake.key]
        return True

    def establish(self, shake: _Shake, session: DtlsSession) -> None:
        """Let a peer in."""
        self.drop(shake)
        before = self._links.get(shake.key)
        if before is not None:
            before.end(None, says_goodbye=False)  # it has forgotten those keys
        link = DtlsLink(self, shake.key, shake.path, shake.peer, session, shake.random)
        crowded = self._crowd.enter(link.network, len(self._links))
        if crowded is not None:
            network, error = crowded
            quietest = next((each for each in self._links.values() if network in (None, each.network)), None)
            if quietest is not None:
                quietest.end(error)
        link.last_seen = self.loop.time()
        self._links[shake.key] = link
        self._accepted += 1
        try:
            link.handler = self._handler_factory()
            link.handler.link_made(link)
        except Exception as error:
            log_unexpected(error, shake.peer)
            link.end(error)
            return
        link.take(_native.NULL, 0, False, shake.path.local)  # what stood behind the end of the handshake
        for data in shake.left():
            link.take(data, len(data), False, shake.path.local)

    def touch(self, link: DtlsLink) -> None:
        """Note that a peer has just spoken."""
        link.last_seen = self.loop.time()
        if self._links.pop(link.key, None) is not None:
            self._links[link.key] = link

    def forget(self, link: DtlsLink) -> None:
        """Know no longer of a link that has ended."""
        if self._links.get(link.key) is link:
            del self._links[link.key]
            self._crowd.leave(link.network)

    def report(self, peer: Address, failure: DtlsFailure) -> None:
        """Tell the listener's owner that `peer` was refused or gave up."""
        try:
            self._on_refused(peer, failure)
        except Exception as error:
            log_unexpected(error, peer)
