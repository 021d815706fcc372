"""Stand-ins for the rooms around a test: a store in memory, rules by hand, an open connection, a loop, a link."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from cryptography import x509

from lockgate.errors import LockgateError
from lockgate.hub import Outlet
from lockgate.identity import Authenticator, Credentials
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.epoch import Epoch
from lockgate.model.message import Message
from lockgate.model.permission import Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.session import Delivery, SessionRecord, StoredSession, Subscription
from lockgate.net.link import Address, Link, StreamHandler
from lockgate.net.tls import Protection
from lockgate.settings import IdentitySettings
from tests.support.registry import FakeRegistry

EVERYTHING = (
    Rule("everyone", Operation.PUBLISH, "#", id=1),
    Rule("everyone", Operation.RECEIVE, "#", id=2),
)


def principal(device: str, client_id: str = "", expires_at: float | None = None) -> Principal:
    """Give the principal of a device of `FakeRules`."""
    return Principal(device, client_id or device, "x509", 1, expires_at)


class FakeStore:
    """A `SessionStore` in memory. It is durable at once, until `holds` is set: then `commit` makes it so."""

    def __init__(self, holds: bool = False) -> None:
        self.holds = holds
        self.committed = 0
        self.is_full = False
        self.sessions: dict[str, SessionRecord] = {}
        self.subscriptions: dict[tuple[str, str], Subscription] = {}
        self.deliveries: dict[tuple[str, int], Delivery] = {}
        self.released: set[tuple[str, int]] = set()
        self.incoming: set[tuple[str, int]] = set()
        self.retained: dict[str, Message] = {}
        self.kept_publishers: set[str] = set()
        self.transactions: list[list[str]] = []
        self._open: list[str] | None = None

    def commit(self) -> int:
        """Make durable what was written so far; give the commit's number."""
        self.committed += 1
        return self.committed

    def load(self) -> list[StoredSession]:
        """Give what a restart would find."""
        return [
            StoredSession(
                record,
                tuple(s for (owner, _), s in self.subscriptions.items() if owner == name),
                tuple(d for (owner, _), d in self.deliveries.items() if owner == name),
                frozenset(tag for owner, tag in self.released if owner == name),
                frozenset(tag for owner, tag in self.incoming if owner == name),
            )
            for name, record in self.sessions.items()
        ]

    def together(self) -> AbstractContextManager[object]:
        """Note which writes belong together."""
        return self._together()

    @contextmanager
    def _together(self) -> Iterator[None]:
        if self._open is not None:  # inside another: its writes land with that one's
            yield
            return
        self._open = []
        try:
            yield
        finally:
            self.transactions.append(self._open)
            self._open = None

    def save_session(self, record: SessionRecord, /) -> int:
        self.sessions[record.principal.client_id] = record
        return self._wrote("session")

    def forget_session(self, client_id: str, /) -> int:
        self.sessions.pop(client_id, None)
        self.subscriptions = {key: row for key, row in self.subscriptions.items() if key[0] != client_id}
        self.deliveries = {key: row for key, row in self.deliveries.items() if key[0] != client_id}
        self.released = {key for key in self.released if key[0] != client_id}
        self.incoming = {key for key in self.incoming if key[0] != client_id}
        return self._wrote("session")

    def save_subscription(self, client_id: str, subscription: Subscription, /) -> int:
        assert client_id in self.sessions
        self.subscriptions[client_id, subscription.text] = subscription
        return self._wrote("subscription")

    def forget_subscription(self, client_id: str, text: str, /) -> int:
        del self.subscriptions[client_id, text]
        return self._wrote("subscription")

    def enqueue(
        self,
        client_id: str,
        tag: int,
        message: Message,
        qos: int,
        is_retained: bool,
        identifiers: tuple[int, ...],
        share: str = "",
        /,
    ) -> int:
        assert client_id in self.sessions
        delivery = Delivery(message, qos, is_retained, identifiers, tag, is_repeated=True, share=share)
        self.deliveries[client_id, tag] = delivery
        return self._wrote("delivery")

    def release(self, client_id: str, tag: int, /) -> int:
        self.released.add((client_id, tag))
        return self._wrote("delivery")

    def settle(self, client_id: str, tag: int, /) -> int:
        del self.deliveries[client_id, tag]
        self.released.discard((client_id, tag))
        return self._wrote("delivery")

    def remember_incoming(self, client_id: str, tag: int, /) -> int:
        self.incoming.add((client_id, tag))
        return self._wrote("incoming")

    def forget_incoming(self, client_id: str, tag: int, /) -> int:
        self.incoming.discard((client_id, tag))
        return self._wrote("incoming")

    def keep_retained(self, message: Message, /) -> int:
        self.retained[message.topic] = message
        return self._wrote("retained")

    def clear_retained(self, topic: str, /) -> int:
        self.retained.pop(topic, None)
        return self._wrote("retained")

    def keep_publisher(self, device: str, is_kept: bool, /) -> int:
        (self.kept_publishers.add if is_kept else self.kept_publishers.discard)(device)
        return self._wrote("kept publisher")

    def _wrote(self, what: str) -> int:
        if self._open is not None:
            self._open.append(what)
        return self.committed + 1 if self.holds else 0


class FakeRules:
    """A `RuleSource`: every device is known, the rules are the test's; a change moves the epoch."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self.clock = Epoch()
        self.blocked: set[str] = set()
        self.registered: dict[str, Device] = {}

    def change(self, *rules: Rule) -> None:
        """Put other rules in force."""
        self.rules = rules
        self.clock.move()

    def block(self, device: str) -> None:
        """Block a device."""
        self.blocked.add(device)
        self.clock.move()

    def device(self, name: str, /) -> Device:
        if name in self.registered:
            return self.registered[name]
        credential = Credential(1, name, CredentialKind.X509, "")
        return Device(name, name in self.blocked, credentials=(credential,))

    def rules_for(self, device: str, /) -> tuple[Rule, ...]:
        subjects = ("everyone", f"device:{device}")
        return tuple(rule for rule in self.rules if rule.subject in subjects)


class FakeOutlet(Outlet):
    """An open connection that counts how it was called; `on_drain` is what it does when it is drained."""

    def __init__(self, on_drain: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.wakes = 0
        self.drains = 0
        self.ended: list[LockgateError] = []
        self._on_drain = on_drain

    def wake(self) -> None:
        self.wakes += 1

    def drain(self) -> None:
        self.drains += 1
        self._on_drain()

    def end(self, error: LockgateError) -> None:
        self.ended.append(error)


class FakeAuthenticator(Authenticator):
    """Believes that a client is who its client id says; `is_slow_for` names those whose check takes a thread."""

    def __init__(self) -> None:
        super().__init__(FakeRegistry(), IdentitySettings())  # an exchange proves nobody
        self.is_slow_for: set[str] = set()
        self.expires_at: dict[str, float] = {}
        self.refusals: dict[str, LockgateError] = {}

    def is_slow(self, credentials: Credentials) -> bool:
        return credentials.client_id in self.is_slow_for

    def authenticate(self, credentials: Credentials, now: float) -> Principal:
        shown = (credentials.psk_identity or b"").decode() or credentials.user_name
        if credentials.is_address_proven:
            shown = f"at-{credentials.host}"
        device = credentials.client_id.partition("/")[0] or shown or "sensor"
        if device in self.refusals:
            raise self.refusals[device]
        client_id = credentials.client_id or f"{device}/{credentials.suffix or 'auto-1'}"
        return principal(device, client_id, self.expires_at.get(device))

    def shown_name(self, user_name: str) -> str:
        return user_name

    def verdict(self, principal: Principal, now: float) -> LockgateError | None:
        return self.refusals.get(principal.device)


class FakeLoop:
    """A loop whose turns and clock the test drives: what the MQTT door needs of one, and no more."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.work: deque[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., object], *args: Any, context: object = None) -> None:
        self._soon.append((callback, args))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise AssertionError(context)

    def run_in_executor(self, executor: object, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        this: Any = self
        done: asyncio.Future[Any] = asyncio.Future(loop=this)
        self.work.append((done, function, args))
        return done

    def do_work(self) -> None:
        """Do what was given to worker threads."""
        while self.work:
            done, function, args = self.work.popleft()
            try:
                done.set_result(function(*args))
            except Exception as error:
                done.set_exception(error)
        self.run()

    def run(self) -> None:
        """Take turns until nothing is left to do."""
        while self._soon:
            callback, args = self._soon.popleft()
            callback(*args)


class FakeLink(Link):
    """One end of a connection without a wire; what is written gathers in `written`."""

    peer: Address = Address("192.0.2.7", 40_000)
    protection: Protection | None = Protection("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    peer_certificate: x509.Certificate | None = None
    server_name: str | None = None
    is_name_covered: bool = True

    def __init__(self, loop: FakeLoop, handler: StreamHandler) -> None:
        self.written = bytearray()
        self.is_closed = False
        self.is_aborted = False
        self.is_reading = True
        self.unsent_bytes = 0
        self.parting = ""
        self._loop = loop
        self._handler = handler

    def write(self, data: bytes) -> None:
        assert data, "a write of nothing"
        if not self.is_closed:
            self.written += data

    def close(self, text: str = "") -> None:
        self.parting = text
        self._end(None)

    def abort(self) -> None:
        self.is_aborted = True
        self._end(None)

    def lose(self) -> None:
        """End as a cut wire does."""
        self._end(ConnectionResetError("the wire was cut"))

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def write_buffer_bytes(self) -> int:
        return self.unsent_bytes

    def _end(self, error: Exception | None) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._loop.call_soon(self._handler.connection_lost, error)
