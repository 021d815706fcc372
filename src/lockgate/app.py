"""Joins the parts: a home in, a running hub out.

This is the gate, the process that speaks to devices. Nothing slow runs on its loop: password hashes go to worker
threads, commits to the store's thread. Changes that the command line makes are seen within 20 ms and reach live
sessions at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING

import msgspec
import structlog
from cryptography import x509

from lockgate import __version__
from lockgate.adapters.mqtt.server import MqttDoor
from lockgate.adapters.mqtt.strangers import end_strangers
from lockgate.errors import LockgateError
from lockgate.events import Event
from lockgate.home import DoorFacts, Home, RunFacts, write_private
from lockgate.hub import Hub
from lockgate.hub.silence import Silence, drop_gone
from lockgate.identity import Authenticator
from lockgate.identity.x509 import barred_owner
from lockgate.logs import configure_logging
from lockgate.model.outcome import Outcome, Traces
from lockgate.model.principal import Principal
from lockgate.model.topic import TopicName
from lockgate.net.context import TlsContexts
from lockgate.net.keeper import ContextKeeper
from lockgate.net.link import Link, StreamHandler
from lockgate.net.listener import Listener
from lockgate.net.partials import Partials
from lockgate.net.streams import Census
from lockgate.policy import PolicyEngine
from lockgate.process import every, net_limits, run_until_stopped
from lockgate.registry.journal import Journal
from lockgate.registry.registry import Registry
from lockgate.registry.trail import ANCHOR_SUBJECT, anchor
from lockgate.registry.upkeep import Upkeep
from lockgate.settings import MqttSettings, Settings
from lockgate.status import Status, sys_topics
from lockgate.store.chain import AUDIT
from lockgate.store.messages_db import MessagesDb
from lockgate.store.registry_db import Change, ChangeKind
from lockgate.store.traces import read_kept_publishers
from lockgate.supervision import Supervisor

if TYPE_CHECKING:
    from lockgate.coap import CoapDoors

log = structlog.get_logger()

POLL_SECONDS = 0.02
TIMER_SECONDS = 0.25
JOURNAL_SECONDS = 0.25
SPOKE_SECONDS = 5.0
"""How often it is written down who has published: a device's last message is known to within so many seconds."""
SWEEP_SECONDS = 60.0
ANCHOR_SECONDS = 3600.0
COLLECTED_AFTER = 10_000, 10, 10
"""The collector's thresholds. A connection that ends leaves some thirty objects that hold each other: three hundred
such ends may wait for a look, and not Python's twenty-three."""
# The store's thread must win the interpreter lock back from a busy loop a few times per commit. At Python's default
# (5 ms) a saturated gate makes a commit wait 43 ms (median), at 0.2 ms 2 ms; the loop does not feel the difference.
SWITCH_SECONDS = 0.0002
LAB_HOSTS = ("127.0.0.1", "::1")


class _Announcement(msgspec.Struct):
    """What the office prints when its doors are open."""

    doors: tuple[DoorFacts, ...]


class Gate:
    """One running hub.

    Args:
        home: the hub's folder; locked while it runs.
        settings: lockgate.toml.
        lab_port: open the plaintext lab door on loopback at this port (0: a free one); None leaves it closed.
        on_office: run the office beside the gate, and call this with its doors each time it has opened them.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        lab_port: int | None = None,
        on_office: Callable[[tuple[DoorFacts, ...]], None] | None = None,
    ) -> None:
        self._home = home
        self._settings = settings
        self._lab_port = lab_port
        self._loop = asyncio.get_running_loop()
        paths = home.server_path, home.server_key_path, home.bundle_path
        make_contexts = partial(
            TlsContexts, *paths, is_barred=self._is_barred, crl_path=home.crl_path, staple_path=home.staple_path
        )
        self._contexts = make_contexts()
        self._web_contexts = make_contexts(spares_browsers=settings.mqtt.websocket_certificates == "devices")
        self._keeper = ContextKeeper(
            (self._contexts, self._web_contexts),
            settings.net.ticket_key_hours * 3600,
            lambda why: log.info(Event.TLS_RENEWED, reason=why),
            lambda error: log.error(Event.TLS_FILE_REFUSED, error=str(error), fix=error.fix),
        )
        self._keeper.reload_staples()
        home.bring_up_to_date()
        self._registry_db = home.registry(read_only=True, check="none")  # it was looked over a moment ago
        self._registry = Registry(self._registry_db)
        self._journal = Journal(settings.log.max_remembered_refusals, devices=self._registry)
        is_new = not home.messages_path.exists()
        self._store = MessagesDb(
            home.messages_path,
            settings.store.durability,
            on_committed=self._on_committed,
            on_failure=self._on_store_failure,
            max_waiting_bytes=settings.store.max_waiting_bytes,
            max_security_events=settings.log.max_security_events,
        )
        self._upkeep = Upkeep(self._registry, self._registry_db, self._store)
        self._anchored = ""
        if is_new:
            log.warning(Event.STORE_CREATED, path=str(home.messages_path), warning="no sessions, no retained messages")
        self._authenticator = Authenticator(self._registry, settings.identity)
        self._hub = Hub(PolicyEngine(self._registry), self._store, settings.hub, self._report, self._journal.dropped)
        self._silence = Silence(
            self._hub,
            self._store,
            self._registry,
            self._authenticator.verdict,
            settings.hub.retained_of_revoked == "clear",
            read_kept_publishers(home.messages_path),
        )
        self._workers = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="lockgate-hash")
        mqtt = settings.mqtt
        self._partials = Partials(mqtt.max_partial_bytes, mqtt.packet_deadline_seconds, self._loop.time)
        self._mqtt = MqttDoor(
            self._hub, self._authenticator, self._journal, self._store, settings, self._workers, partials=self._partials
        )
        self._listeners: list[Listener] = []
        self._coap: CoapDoors | None = None
        self._announced: dict[TopicName, str] = {}
        self._started_at = self._loop.time()
        self._on_office = on_office
        self._office = Supervisor(_office_command(home), self._office_opened, self._write_doors)
        self.doors: tuple[DoorFacts, ...] = ()

    async def run(self, stop: asyncio.Event, on_open: Callable[[tuple[DoorFacts, ...]], None]) -> None:
        """Serve until `stop` is set; `on_open` hears of the open doors.

        Raises:
            LockgateError: when a door cannot be opened.
        """
        self._restore(time.time())
        try:
            await self._open_doors()
            gc.freeze()  # what lives since the start will not die; of what died the collector would find a few KiB
            gc.set_threshold(*COLLECTED_AFTER)
            gc.enable()
            self._anchor(Event.HUB_STARTED)
            on_open(self.doors)
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(every(POLL_SECONDS, self._poll)),
                    tasks.create_task(every(TIMER_SECONDS, self._handle_timers)),
                    tasks.create_task(every(JOURNAL_SECONDS, self._write_journal)),
                    tasks.create_task(every(SPOKE_SECONDS, self._note_speakers)),
                    tasks.create_task(every(SWEEP_SECONDS, lambda: self._hub.clear_expired(time.time()))),
                    tasks.create_task(every(SWEEP_SECONDS, self._upkeep.sweep)),
                    tasks.create_task(every(ANCHOR_SECONDS, self._anchor)),
                    tasks.create_task(every(SWEEP_SECONDS, self._keeper.check)),
                    tasks.create_task(self._keeper.run()),
                ]
                if self._settings.hub.sys_interval_seconds:
                    self._announce()
                    running.append(tasks.create_task(every(self._settings.hub.sys_interval_seconds, self._announce)))
                if self._on_office is not None:
                    running.append(tasks.create_task(self._office.run()))
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            await self._close()

    # Doors

    async def _open_doors(self) -> None:
        mqtt = self._settings.mqtt
        refused = partial(self._journal.tls_refused, "mqtt")
        shared = net_limits(self._settings.net), refused, Census()
        secure = await Listener.open(mqtt.hosts, mqtt.port, self._mqtt.handler, self._contexts, *shared)
        self._listeners.append(secure)
        doors = [DoorFacts("mqtt", a.host, a.port, "tls") for a in secure.addresses]
        if mqtt.websocket_enabled:
            web_refused = partial(self._journal.websocket_refused, "mqtt")
            factory = _websocket_factory(self._mqtt.handler, mqtt, web_refused, self._partials)
            web = await Listener.open(mqtt.hosts, mqtt.websocket_port, factory, self._web_contexts, *shared)
            self._listeners.append(web)
            doors += [DoorFacts("mqtt", a.host, a.port, "tls", "websocket") for a in web.addresses]
        if self._lab_port is not None:
            lab = await Listener.open(LAB_HOSTS, self._lab_port, self._mqtt.lab_handler, None, *shared)
            self._listeners.append(lab)
            doors += [DoorFacts("mqtt", a.host, a.port, "none") for a in lab.addresses]
            log.warning(Event.LAB_DOOR_OPENED, port=lab.port, warning="plaintext, for this machine only")
            self._store.save_audit([(time.time(), Event.LAB_DOOR_OPENED, "hub", {"port": str(lab.port)})])
        doors += await self._open_coap()
        self.doors = tuple(doors)
        self._write_doors()
        log.info(Event.HUB_STARTED, devices=len(self._registry), sessions=len(self._hub.sessions))

    async def _open_coap(self) -> list[DoorFacts]:
        coap = self._settings.coap
        if not (coap.enabled or coap.nosec_enabled or coap.oscore_enabled):
            return []
        from lockgate.coap import CoapDoors  # here: a hub without this door does not load its rooms

        self._coap = CoapDoors(
            self._home,
            self._settings,
            self._registry,
            self._hub,
            self._authenticator,
            self._journal,
            self._store,
            self._mqtt.intakes.rates,
        )
        return await self._coap.open()

    def _write_doors(self, of_office: tuple[DoorFacts, ...] = ()) -> None:
        facts = RunFacts(os.getpid(), (*self.doors, *of_office))
        write_private(self._home.doors_path, msgspec.json.encode(facts), is_durable=False)  # it ends with the process

    def _office_opened(self, line: bytes) -> None:
        doors = msgspec.json.decode(line, type=_Announcement).doors
        self._write_doors(doors)
        if self._on_office is not None:
            self._on_office(doors)

    async def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._mqtt.close()
        if self._coap is not None:
            self._coap.close()
        await asyncio.sleep(0.05)  # one last word to each client
        self._note_speakers()
        self._write_journal(is_last=True)
        self._anchor(Event.HUB_STOPPED)
        self._workers.shutdown(wait=False, cancel_futures=True)
        await self._office.end()
        await self._loop.run_in_executor(None, self._store.close)
        self._registry_db.close()
        self._home.doors_path.unlink(missing_ok=True)
        log.info(Event.HUB_STOPPED)

    # What happens again and again

    def _poll(self) -> None:
        changes = self._registry.poll()
        # All of them are in the registry by now: the last word on each name is the one that is applied, and reported.
        latest = {(change.kind, change.name): change for change in changes}
        outcomes = [outcome for change in latest.values() if (outcome := self._apply(change)) is not None]
        if outcomes:
            self._store.save_outcomes(self._end_strangers(outcomes))
        self._upkeep.follow(changes)

    def _handle_timers(self) -> None:
        self._hub.handle_timer(time.time())
        self._mqtt.handle_timers()
        if self._coap is not None:
            self._coap.handle_timers()

    def _note_speakers(self) -> None:
        self._journal.spoke(self._hub.take_spoke())

    def _write_journal(self, is_last: bool = False) -> None:
        self._journal.write(self._upkeep, is_last)
        if rehashed := self._authenticator.take_rehashed():
            self._upkeep.save_rehashed(rehashed)

    def _anchor(self, event: Event | None = None) -> None:
        """Note among the security events where the audit trail stands, and tell the log, which is kept elsewhere."""
        now, head = time.time(), self._registry_db.audit_head()
        events: list[tuple[float, str, str, dict[str, str]]] = []
        if event is not None:
            events.append((now, event, "hub", {"version": __version__}))
        if head.hash != self._anchored:
            self._anchored = head.hash
            events.append((now, Event.AUDIT_ANCHORED, ANCHOR_SUBJECT, anchor(AUDIT.table, head)))
            log.info(Event.AUDIT_ANCHORED, chain=AUDIT.table, record=head.record, hash=head.hash)
        if events:
            self._store.save_audit(events)

    # What it tells of itself

    def status(self) -> Status:
        """Give the figures of this moment."""
        traffic = [listener.traffic for listener in self._listeners]
        connections = sum(connection.session is not None for connection in self._mqtt.connections)
        if self._coap is not None:
            traffic += self._coap.traffic
            connections += self._coap.connection_count
        return Status(
            version=__version__,
            uptime_seconds=int(self._loop.time() - self._started_at),
            connections=connections,
            connections_opened=sum(each.accepted for each in traffic),
            sessions=len(self._hub.sessions),
            subscriptions=self._hub.subscription_count,
            retained_messages=self._hub.retained_count,
            messages_published=self._hub.published,
            messages_delivered=self._hub.delivered,
            bytes_received=sum(each.received_bytes for each in traffic),
            bytes_sent=sum(each.sent_bytes for each in traffic),
            commits=self._store.committed,
            dropped=dict(self._journal.dropped_by_reason),
            refused=dict(self._journal.refused_by_reason),
        )

    def _announce(self) -> None:
        """Say under $SYS what has changed since the last time."""
        topics = sys_topics(self.status())
        for topic, text in topics.items():
            if self._announced.get(topic) != text:
                self._hub.announce(topic, text)
        self._announced = topics

    # Changes

    def _restore(self, now: float) -> None:
        """Put back what the store kept, but nothing of those that were revoked or removed while no hub ran."""
        clears = self._settings.hub.retained_of_revoked == "clear"
        kept = read_kept_publishers(self._home.messages_path)
        found = drop_gone(self._store, self._store.load(), self._store.retained(), self._registry, clears, kept)
        self._hub.restore(found.sessions, found.retained, now)
        self._upkeep.begin(self._home.messages_path)
        total = sum(found.dropped.values(), Traces())
        self._store.save_outcomes([Outcome(self._registry.sequence, "", now, "", total)])

    def _apply(self, change: Change) -> Outcome | None:
        """Bring one change of the registry to the live sessions; give what became of who is no longer welcome."""
        log.debug(Event.CHANGE_APPLIED, kind=change.kind, name=change.name)
        if change.kind in (ChangeKind.SERVER_CERTIFICATE, ChangeKind.TLS_FILES):
            self._keeper.renew(change.name)
            if self._coap is not None:
                self._coap.reload()
        elif change.kind == ChangeKind.STAPLE:
            self._keeper.reload_staples()
        elif change.kind in (ChangeKind.CLEAR_RETAINED, ChangeKind.KEEP_RETAINED):
            self._silence.choose(change.name, change.kind == ChangeKind.CLEAR_RETAINED)
        elif change.kind == ChangeKind.DEVICE:
            outcome = self._silence.apply(change.sequence, change.name, time.time())
            return outcome and msgspec.structs.replace(outcome, at=time.time())
        return None

    def _end_strangers(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """End the connections that TLS let in by keys that are no longer good; count them with the changes."""
        ended = end_strangers(self._mqtt.connections, partial(barred_owner, self._registry))
        return [
            msgspec.structs.replace(outcome, found=outcome.found + Traces(connections=ended.pop(outcome.device, 0)))
            for outcome in outcomes
        ]

    def _is_barred(self, certificate: x509.Certificate) -> bool:
        return bool(barred_owner(self._registry, certificate))

    # From other threads and rooms

    def _on_committed(self, number: int) -> None:
        self._loop.call_soon_threadsafe(self._mqtt.committed, number)
        if self._coap is not None:
            self._loop.call_soon_threadsafe(self._coap.committed, number)

    def _on_store_failure(self, error: Exception) -> None:
        log.error(Event.STORE_FAILED, error=str(error), fix=getattr(error, "fix", ""))

    def _report(self, error: LockgateError, principal: Principal) -> None:
        self._journal.will_refused(error, principal)


def run_gate(
    home: Home,
    lab_port: int | None,
    on_open: Callable[[tuple[DoorFacts, ...]], None],
    until_eof: bool = False,
    on_office: Callable[[tuple[DoorFacts, ...]], None] | None = None,
) -> None:
    """Run a hub until SIGTERM or SIGINT (or, with `until_eof`, until standard input ends).

    With `on_office`, and unless the settings forbid it, an office runs beside it; `on_office` hears of its doors.

    Raises:
        LockgateError: when it cannot start.
    """
    gc.disable()  # until the doors are open: all that a start makes is there to stay
    settings = home.settings()
    configure_logging(settings.log)
    descriptor = home.lock()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        office = on_office if settings.office.enabled else None
        run_until_stopped(lambda stop: _serve(home, settings, lab_port, office, stop, on_open), until_eof)
    finally:
        os.close(descriptor)
        gc.enable()


async def _serve(
    home: Home,
    settings: Settings,
    lab_port: int | None,
    on_office: Callable[[tuple[DoorFacts, ...]], None] | None,
    stop: asyncio.Event,
    on_open: Callable[[tuple[DoorFacts, ...]], None],
) -> None:
    await Gate(home, settings, lab_port, on_office).run(stop, on_open)  # it takes the loop that runs


def _office_command(home: Home) -> list[str]:
    # -P: a module of the folder that the hub was started in is not taken for one of ours.
    return [sys.executable, "-P", "-m", "lockgate", "office", "--home", str(home.path), "--json", "--until-eof"]


def _websocket_factory(
    handler_factory: Callable[[], StreamHandler],
    settings: MqttSettings,
    on_refused: Callable[[Link, LockgateError], str],
    partials: Partials,
) -> Callable[[], StreamHandler]:
    @cache
    def factory() -> Callable[[], StreamHandler]:
        from lockgate.net.upgrade import UpgradeRules  # with the first connection: a start does not wait for them
        from lockgate.net.websocket import WebSocketLink, WebSocketRules

        rules = WebSocketRules(
            upgrade=UpgradeRules(origins=tuple(each.lower() for each in settings.websocket_origins)),
            max_handshake_bytes=settings.websocket_max_handshake_bytes,
            max_message_bytes=settings.max_packet_bytes,
            max_first_message_bytes=min(settings.max_connect_bytes, settings.max_packet_bytes),
        )
        return lambda: WebSocketLink(handler_factory, rules, on_refused, partials)

    return lambda: factory()()
