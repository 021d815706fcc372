"""The office: the hub's second process. It enrols devices, signs certificates and tells who was revoked, by HTTPS.

The gate speaks to devices and must never wait; the office may take its time. It alone (and the command line) reads the
issuing CA's key. Both see the same registry.db: what the office writes reaches the gate's live sessions within 20 ms.
`lockgate up` runs it beside the gate and starts it again should it die; a service may run it as another user.

A set of routes is one line in `Office._routes`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import structlog
from cryptography import x509
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from lockgate.api import answers, basics, coap, est, revocation
from lockgate.api.hatch import Hatch
from lockgate.clerk import Clerk
from lockgate.errors import LockgateError
from lockgate.events import Event
from lockgate.home import DoorFacts, Home, RunFacts, write_private
from lockgate.identity import Authenticator
from lockgate.logs import configure_logging
from lockgate.model.refusal import Refusal
from lockgate.net.context import TlsContexts
from lockgate.net.http import HttpRules, HttpServer
from lockgate.net.link import Link
from lockgate.net.listener import Listener
from lockgate.pki.certificates import certificates_from_pem, device_name_of
from lockgate.process import every, net_limits, run_until_stopped
from lockgate.registry.journal import Journal, Peer, SeenKind
from lockgate.registry.registry import Registry
from lockgate.settings import OfficeSettings, Settings
from lockgate.store.credentials import mosquitto_credentials, replace_hashes
from lockgate.store.messages_reader import read_rehashed
from lockgate.store.office_refusals import save_refusals
from lockgate.store.registry_db import Change, ChangeKind, RegistryDb

log = structlog.get_logger()

DOOR = "office"
POLL_SECONDS = 0.02
JOURNAL_SECONDS = 0.25
REHASH_SECONDS = 2.0
REFRESH_SECONDS = 5.0
NICENESS = 5
"""Where the processor is busy, devices that are connected come before those that enrol."""


class Office:
    """One running office.

    Args:
        home: the hub's folder.
        settings: lockgate.toml.
    """

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._contexts = TlsContexts(
            home.server_path, home.server_key_path, home.bundle_path,
            crl_path=home.crl_path, staple_path=home.staple_path,
        )  # fmt: skip
        self._contexts.staple.reload()
        self._registry_db = home.registry(read_only=True)
        self._registry = Registry(self._registry_db)
        self._journal = Journal(settings.log.max_remembered_refusals)
        self._clerk = Clerk(home, settings, self._registry, self._poll)
        self._store = _JournalStore(self._clerk.database, settings.log.max_remembered_refusals)
        self._authorities = self._read_authorities()
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="lockgate-hash")
        application = Starlette(routes=self._routes(), exception_handlers=answers.handlers(self._refused))
        application.router.redirect_slashes = False  # it would send people wherever their Host header says
        self._server = HttpServer(application, _rules(settings.office), self._refused)
        self._listener: Listener | None = None
        self.doors: tuple[DoorFacts, ...] = ()

    def _routes(self) -> list[BaseRoute]:
        """Give all that is answered here."""
        return [
            *basics.routes(),
            *est.routes(lambda: self._authorities, self._clerk, self._mqtt_port),
            *revocation.routes(self._clerk),
            *self._coap_routes(),
        ]

    def _coap_routes(self) -> list[BaseRoute]:
        settings = self._settings
        if not settings.coap.http_enabled:
            return []
        hatch = Hatch(
            self._home.hatch_path, settings.coap.max_body_bytes, settings.office.answer_deadline_seconds
        )  # fmt: skip
        authenticator = Authenticator(self._registry, settings.identity)
        return [*coap.routes(coap.CoapByHttp(authenticator, hatch, self._workers, self._refused))]

    async def run(self, stop: asyncio.Event, on_open: Callable[[tuple[DoorFacts, ...]], None]) -> None:
        """Serve until `stop` is set; `on_open` hears of the open doors.

        Raises:
            LockgateError: when the door cannot be opened.
        """
        try:
            await self._open()
            on_open(self.doors)
            self._clerk.refresh_soon()
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(every(POLL_SECONDS, self._poll)),
                    tasks.create_task(every(REHASH_SECONDS, self._submit_rehash)),
                    tasks.create_task(every(JOURNAL_SECONDS, self._write_journal)),
                    tasks.create_task(every(REFRESH_SECONDS, self._clerk.refresh_soon)),
                ]
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            self._close()

    async def _open(self) -> None:
        office = self._settings.office
        self._listener = await Listener.open(
            office.hosts, office.port, self._server.handler, self._contexts,
            msgspec.structs.replace(
                net_limits(self._settings.net),
                max_connections=office.max_connections,
                max_connections_per_address=office.max_connections_per_address,
            ),
            lambda address, failure: self._journal.tls_refused(DOOR, address, failure),
        )  # fmt: skip
        self.doors = tuple(DoorFacts(DOOR, a.host, a.port, "tls", "https") for a in self._listener.addresses)
        write_private(self._home.office_path, msgspec.json.encode(RunFacts(os.getpid(), self.doors)))
        log.info(Event.OFFICE_STARTED, port=self._listener.port)

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._server.close()
            self._home.office_path.unlink(missing_ok=True)
        self._write_journal()
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._clerk.close()
        self._registry_db.close()
        if self._listener is not None:
            log.info(Event.OFFICE_STOPPED)

    # What happens again and again

    def _poll(self) -> None:
        changes = self._registry.poll()
        for change in changes:
            self._apply(change)
        if any(change.kind == ChangeKind.DEVICE for change in changes):
            self._clerk.refresh_soon()  # somebody may have been revoked

    def _apply(self, change: Change) -> None:
        """Take up what others have changed."""
        if change.kind in (ChangeKind.SERVER_CERTIFICATE, ChangeKind.TLS_FILES, ChangeKind.STAPLE):
            try:
                self._contexts.staple.reload()
                self._contexts.reload()
                self._authorities = self._read_authorities()
            except LockgateError as error:
                log.error(Event.UNEXPECTED_ERROR, error=str(error), fix=error.fix)

    def _write_journal(self) -> None:
        self._journal.write(self._store)
        if self._store.is_waiting:
            self._clerk.do(self._store.flush)

    def _submit_rehash(self) -> None:
        self._clerk.do(self._rehash)

    def _rehash(self) -> None:
        """Put the better hashes of passwords that the gate has made into the registry, where old ones still stand."""
        try:
            found = read_rehashed(self._home.messages_path)
            if found and (old := mosquitto_credentials(self._clerk.database, found)):
                pending = {number: found[number] for number in old}
                replace_hashes(self._clerk.database, pending, actor="office", now=time.time())
        except LockgateError as error:
            log.error(Event.STORE_FAILED, error=str(error), fix=error.fix)

    def _read_authorities(self) -> tuple[x509.Certificate, ...]:
        # Not the bundle of those whom clients may use: foreign CAs may be among them, and the root is not.
        return certificates_from_pem(self._home.root_pem() + self._home.issuing_path.read_bytes())

    def _mqtt_port(self) -> int | None:
        try:
            return self._home.hub_address().port
        except LockgateError:
            return None  # nobody knows it yet

    def _refused(self, link: Link, error: LockgateError) -> str:
        """Note whom a request was refused; give the reference."""
        certificate = link.peer_certificate
        device = error.evidence.get("device", "")
        if certificate is not None:
            device = device_name_of(certificate) or device
        peer = Peer(DOOR, link.peer, "", link.protection)
        return self._journal.refused(error, peer, device, certificate is not None)


class _JournalStore:
    """Takes the journal on the loop, and writes it in the clerk's thread."""

    def __init__(self, database: RegistryDb, max_refusals: int) -> None:
        self._database = database
        self._max_refusals = max_refusals
        self._refusals: dict[str, Refusal] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._refusals)

    def save_refusals(self, refusals: Iterable[Refusal], /) -> int:
        """Keep refusals."""
        self._refusals.update((refusal.reference, refusal) for refusal in refusals)
        return 0

    def save_seen(self, seen: Iterable[tuple[str, SeenKind, float, str]], /) -> int:  # noqa: ARG002
        """Pass over it: when a device was last seen is the gate's to tell."""
        return 0

    def save_audit(self, events: Iterable[tuple[float, str, str, dict[str, str]]], /) -> int:  # noqa: ARG002
        """Pass over it: the office ends no sessions, and what it does is audited with what it writes."""
        return 0

    def flush(self) -> None:
        """Write what waits."""
        refusals, self._refusals = self._refusals, {}
        try:
            save_refusals(self._database, refusals.values(), self._max_refusals)
        except LockgateError as error:
            log.error(Event.STORE_FAILED, error=str(error), fix=error.fix)


def run_office(home: Home, on_open: Callable[[tuple[DoorFacts, ...]], None], until_eof: bool = False) -> None:
    """Run an office until SIGTERM or SIGINT (or, with `until_eof`, until standard input ends).

    Raises:
        LockgateError: when it cannot start.
    """
    settings = home.settings()
    configure_logging(settings.log)
    os.nice(NICENESS)
    run_until_stopped(lambda stop: _serve(home, settings, stop, on_open), until_eof)


async def _serve(
    home: Home, settings: Settings, stop: asyncio.Event, on_open: Callable[[tuple[DoorFacts, ...]], None]
) -> None:
    await Office(home, settings).run(stop, on_open)  # it takes the loop that runs


def _rules(settings: OfficeSettings) -> HttpRules:
    return HttpRules(
        max_header_bytes=settings.max_header_bytes,
        max_body_bytes=settings.max_body_bytes,
        request_deadline_seconds=settings.request_deadline_seconds,
        answer_deadline_seconds=settings.answer_deadline_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        max_requests=settings.max_requests,
    )
