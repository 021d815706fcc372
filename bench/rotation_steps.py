"""The steps of the bench of rotation: one thing at a time changes under a running hub, and is watched from outside.

A watch connects over and over, in a thread of its own, and notes what it sees; meanwhile the change is made. It is in
force when the first connection has seen the new, and from then on none may see the old again.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.revocation_beside import Pass, Peer
from lockgate.adapters.mqtt.packets import ReasonCode
from lockgate.ca import rotation
from lockgate.ca.desk import Desk
from lockgate.client.enrolment import EST, Office
from lockgate.home import Home
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.pki.certificates import (
    certificates_to_pem,
    generate_key,
    private_key_to_pem,
    spki_thumbprint,
)
from lockgate.provision import est
from lockgate.provision.bundle import NewCredential
from lockgate.registry.registrar import Registrar
from lockgate.registry.rules import RoleBook
from lockgate.store.registry_db import RegistryDb
from lockgate.store.rules import PolicyChange, rules
from tests.support.fleet import Fleet, enlist
from tests.support.hub import Announcement, RunningHub, eventually

SERVER, AUTHORITY, RETIRED, TICKETS = "server certificate", "issuing CA", "retired CA", "ticket keys"
REVOKED, LIST = "revocation", "revocation list"
RULE, POLICY = "one rule", "policy of 200 rules"
NEW_KEY, OVERLAP, OLD_KEY = "a device's new key", "the end of its overlap", "its old key revoked"
RENEWAL = "a device's renewal by EST"
KINDS = (SERVER, AUTHORITY, RETIRED, TICKETS, REVOKED, LIST, RULE, POLICY, NEW_KEY, OVERLAP, OLD_KEY, RENEWAL)

PROBE, VOICE = "probe", "voice"
IN, REFUSED, ENDED = "in", "refused by MQTT", "refused by TLS"
TAKEN, DENIED = f"{ReasonCode.NO_MATCHING_SUBSCRIBERS:d}", f"{ReasonCode.NOT_AUTHORIZED:d}"
PATIENCE_SECONDS = 20.0
BREATH_SECONDS = 0.002
SETTLED_SECONDS = 0.2
OVERLAP_SECONDS = 1.5
WEEK = 604_800.0
SPOKEN = "devices/voice/x"
CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


class Seen(msgspec.Struct, frozen=True):
    """One change, as seen from outside; seconds."""

    kind: str
    began_at: float
    from_begin: float
    from_end: float
    stale: int
    """Connections that began after the change was seen, and saw the old all the same."""


class Attempt(msgspec.Struct, frozen=True):
    """One attempt that must fail: who, what with, the reason that `lockgate why` must know, and what came of it."""

    device: str
    shown: str
    reason: str
    outcome: str


class Stage:
    """A running hub, a fleet on it, and who changes what.

    Args:
        hub: running.
        folder: for keys.
        registry: the home's, open for writing.
        fleet: connected; `probe` and `voice` are enlisted and not of it.
        passes: the PEM file of everybody.
    """

    def __init__(
        self, hub: RunningHub, folder: Path, registry: RegistryDb, fleet: Fleet, passes: dict[str, Path]
    ) -> None:
        self.port, self.ca = hub.port, hub.ca_path
        self.home = Home.open(hub.home)
        self.seen: list[Seen] = []
        self.attempts: list[Attempt] = []
        self.turned_away = 0
        """How often somebody was refused who may enter."""
        self._folder = folder
        self._registry = registry
        self._desk = Desk(self.home, registry, "bench")
        self._desk.publish_crls(time.time())  # the first list also records a fleet that `enlist` made
        self._registrar = Registrar(registry, "bench")
        self._fleet = fleet
        self._passes = passes
        self._contexts: dict[Path, ssl.SSLContext] = {}
        self._voice = self._come(VOICE, passes[VOICE])
        assert self._voice.is_in, self._voice.connack

    def close(self) -> None:
        """Hang up."""
        self._voice.is_cut()

    def take_turn(self, number: int, victim: str, changers: tuple[str, str]) -> None:
        """Change everything once.

        Args:
            number: of this turn.
            victim: a device of the fleet to be revoked.
            changers: two devices of the fleet that get new keys.
        """
        self._change_ticket_keys()
        self._change_server_certificate()
        self._change_authority(f"visitor{number}")
        self._change_policy()
        self._change_keys(*changers)
        self._revoke(victim)

    def renew_by_est(self, names: Iterable[str]) -> None:
        """Have devices of the fleet renew their certificates at the office, which runs for that long, and come again.

        It runs for these steps alone, because it would publish revocation lists when the others do not expect them.
        """
        with _running_office(self.home) as port:
            for name in names:
                self._renew(name, port)

    # The changes

    def _change_ticket_keys(self) -> None:
        session: ssl.SSLSession | None = None

        def look() -> str:
            peer = self._come(PROBE, self._passes[PROBE], session)
            self.turned_away += not peer.is_in
            is_resumed = peer.socket.session_reused
            peer.is_cut()
            return "resumed" if is_resumed else "full"

        def has_ticket() -> bool:
            # The change before this one may still be coming into force: it ends the tickets that came before it.
            nonlocal session
            first = self._come(PROBE, self._passes[PROBE])
            session = first.socket.session
            first.is_cut()
            time.sleep(SETTLED_SECONDS)
            return look() == "resumed"

        eventually(has_ticket, PATIENCE_SECONDS, "a ticket that resumes")
        now = time.time()
        self._watch(TICKETS, look, lambda: rotation.rotate_tickets(self._registry, "bench", now), "resumed", "full")

    def _change_server_certificate(self) -> None:
        act = self._desk.issue_server
        self._watch(SERVER, self._look_at_chain, lambda: act(self.home.server_names(), time.time()))

    def _change_authority(self, visitor: str) -> None:
        """Rotate twice; the CA in between is retired, with a certificate whose key goes on under the next one."""
        self._watch(AUTHORITY, lambda: self._look_at_chain("issuer"), self._rotate)
        old = self._desk.issuing.thumbprint
        pem = enlist(self.home, self._folder, [visitor])[visitor]
        self._watch(AUTHORITY, lambda: self._look_at_chain("issuer"), self._rotate)
        credential, renewed = self._renewed(visitor, pem)
        self._registrar.rotate(visitor, credential, 0.0)
        shown = lambda: self._look_in(visitor, pem)  # noqa: E731
        self._watch(RETIRED, shown, lambda: rotation.retire(self._desk, old, time.time()), IN, ENDED)
        self._desk = Desk(self.home, self._registry, "bench")
        self._attempt(visitor, pem, "a certificate of a retired CA, its key still registered", "unknown issuer")
        self._may_enter(visitor, renewed)

    def _rotate(self) -> None:
        self._desk = rotation.rotate_issuing(self._desk, rotation.read_root(self.home), time.time())

    def _change_policy(self) -> None:
        deny = Rule(f"device:{VOICE}", Operation.PUBLISH, SPOKEN, Effect.DENY)
        made: list[Rule] = []
        self._watch(RULE, self._speak, lambda: made.append(self._registrar.add_rule(deny)), TAKEN, DENIED)
        self._watch(RULE, self._speak, lambda: self._registrar.remove_rule(made[0].id), DENIED, TAKEN)
        names = sorted(self._fleet.members)[:199]
        many = [Rule(f"device:{name}", Operation.RECEIVE, f"places/{name}/#") for name in names]
        book = RoleBook(self._registry, "bench")
        self._watch(POLICY, self._speak, lambda: book.change(PolicyChange((*many, deny))), TAKEN, DENIED)
        wanted = {(rule.subject, rule.filter) for rule in (*many, deny)}
        stored = tuple(rule for rule in rules(self._registry) if (rule.subject, rule.filter) in wanted)
        self._watch(POLICY, self._speak, lambda: book.change(PolicyChange(remove_rules=stored)), DENIED, TAKEN)

    def _change_keys(self, patient: str, hasty: str) -> None:
        """Give one device a new key beside the old until an overlap is over; of another the old one is revoked."""
        old = self._change_key(patient, OVERLAP_SECONDS)
        end = max(each.expires_at or 0.0 for each in self._live(patient)[:-1])
        self._watch(OVERLAP, lambda: self._look_in(patient, old), lambda: _sleep_until(end), IN, REFUSED)
        self._attempt(patient, old, "an old key after its overlap", "credential expired")
        old = self._change_key(hasty, WEEK)
        number = self._live(hasty)[0].id
        act = self._registrar.revoke_credential
        self._watch(OLD_KEY, lambda: self._look_in(hasty, old), lambda: act(number), IN, REFUSED)
        self._attempt(hasty, old, "an old key that was revoked", "credential revoked")

    def _change_key(self, name: str, overlap_seconds: float) -> Path:
        """Give a device a new key, which it uses from then on; give the old one's file."""
        old = self._passes[name]
        credential, pem = self._renewed(name)
        act = self._registrar.rotate
        look = lambda: self._look_in(name, pem)  # noqa: E731
        self._watch(NEW_KEY, look, lambda: act(name, credential, overlap_seconds), REFUSED, IN)
        self._may_enter(name, old)
        assert self._fleet.are_alive([name]) == [name]
        answer = self._fleet.renew(name, pem)
        self.turned_away += answer is None or answer.code != 0
        self._passes[name] = pem
        return old

    def _renew(self, name: str, port: int) -> None:
        """A device that has the answer comes with the new certificate at once, and must be let in."""
        old, key = self._passes[name], generate_key("ec")
        request = est.encode_request(est.make_request(name, key))
        office = Office(f"https://localhost:{port}", self._context(old))
        begin = time.monotonic()
        answer, _ = office.post(f"{EST}/simplereenroll", request)
        end = time.monotonic()
        pem = self._folder / f"{name}-renewed.pem"
        pem.write_bytes(private_key_to_pem(key) + self._desk.chain_pem(est.decode_certificates(answer)[0]))
        self._context(pem)
        refused = 0
        while self._look_in(name, pem) != IN:
            refused += 1
            assert time.monotonic() < end + PATIENCE_SECONDS
        seen_at = time.monotonic()
        self.turned_away += refused
        self.seen.append(Seen(RENEWAL, begin, seen_at - begin, seen_at - end, 0))
        self._may_enter(name, old)
        assert self._fleet.are_alive([name]) == [name]

    def _revoke(self, victim: str) -> None:
        pem = self._passes[victim]
        first = self._come(victim, pem)
        assert first.is_in, first.connack
        ticket = first.socket.session
        first.is_cut()
        look = lambda: self._look_in(victim, pem)  # noqa: E731
        self._watch(REVOKED, look, lambda: self._registrar.revoke(victim), IN, REFUSED)
        self._attempt(victim, pem, "a revoked certificate, before the list", "credential revoked")
        self._attempt(victim, pem, "its ticket, before the list", "certificate revoked", ticket)
        self._watch(LIST, look, lambda: self._desk.publish_crls(time.time()), REFUSED, ENDED)
        self._attempt(victim, pem, "a revoked certificate, with the list", "certificate revoked")
        self._attempt(victim, pem, "its ticket, with the list", "certificate revoked", ticket)

    # Looking

    def _watch(
        self, kind: str, look: Callable[[], str], act: Callable[[], object], old: str = "", new: str = ""
    ) -> None:
        """Make a change and note when it was seen; `old` and `new` are what a look gives before and after."""
        looks: list[tuple[float, float, str]] = []
        is_over = threading.Event()

        def look_on() -> None:
            while not is_over.is_set():
                began_at = time.monotonic()
                found = look()
                looks.append((began_at, time.monotonic(), found))
                time.sleep(BREATH_SECONDS)

        watcher = threading.Thread(target=look_on, name=f"watch of the {kind}", daemon=True)
        watcher.start()
        eventually(lambda: len(looks) > 0, PATIENCE_SECONDS, f"the first look at the {kind}")
        before = old or looks[0][2]
        begin = time.monotonic()
        due_at = act()
        end = time.monotonic()
        if isinstance(due_at, float):  # it was due by itself
            begin = end = due_at
        first = eventually(
            lambda: next((each for each in looks if each[2] == new or (not new and each[2] != before)), None),
            PATIENCE_SECONDS,
            f"the change of the {kind}",
        )
        count = len(looks)
        eventually(lambda: len(looks) >= count + 3, PATIENCE_SECONDS, "three more looks")
        is_over.set()
        watcher.join()
        assert looks[0][2] == before, (kind, looks[0])
        stale = sum(each[2] == before for each in looks if each[0] > first[1])
        self.seen.append(Seen(kind, begin, first[1] - begin, max(0.0, first[1] - end), stale))

    def _look_at_chain(self, what: str = "certificate") -> str:
        peer = self._come(PROBE, self._passes[PROBE])
        self.turned_away += not peer.is_in
        leaf = x509.load_der_x509_certificate(peer.socket.getpeercert(True) or b"")
        peer.is_cut()
        return leaf.issuer.rfc4514_string() if what == "issuer" else f"{leaf.serial_number:x}"

    def _look_in(self, name: str, pem: Path, session: ssl.SSLSession | None = None) -> str:
        peer = self._come(name, pem, session)
        if not peer.is_closed:
            peer.is_cut()
        if peer.connack is None:
            return ENDED
        return IN if peer.is_in else REFUSED

    def _speak(self) -> str:
        return str(self._voice.publish(SPOKEN, b"x"))

    def _attempt(self, name: str, pem: Path, shown: str, reason: str, session: ssl.SSLSession | None = None) -> None:
        self.attempts.append(Attempt(name, shown, reason, self._look_in(name, pem, session)))

    def _may_enter(self, name: str, pem: Path) -> None:
        self.turned_away += self._look_in(name, pem) != IN

    def _come(self, name: str, pem: Path, session: ssl.SSLSession | None = None) -> Peer:
        return Peer(self, Pass(pem), f"{name}/aside", context=self._context(pem), session=session)

    def _context(self, pem: Path) -> ssl.SSLContext:
        context = self._contexts.get(pem)
        if context is None:
            context = self._contexts[pem] = ssl.create_default_context(cafile=str(self.ca))
            context.load_cert_chain(pem)
        return context

    # Keys and certificates

    def _renewed(self, name: str, old: Path | None = None) -> tuple[NewCredential, Path]:
        """Give a credential for a new certificate, and its file; with `old`, over the same key."""
        now = time.time()
        key = private_key_to_pem(generate_key("ec")) if old is None else old.read_bytes().partition(CERTIFICATE)[0]
        public_key = load_pem_private_key(key, None).public_key()
        assert isinstance(public_key, EllipticCurvePublicKey)
        leaf = self._desk.issue_device(name, public_key, now=now)
        pem = self._folder / f"{name}-{leaf.serial_number:x}.pem"
        pem.write_bytes(key + self._desk.chain_pem(leaf))
        ends_at = leaf.not_valid_after_utc.timestamp()
        public = certificates_to_pem(leaf).decode()
        return NewCredential(CredentialKind.X509, public, ends_at, spki_thumbprint(public_key)), pem

    def _live(self, name: str) -> list[Credential]:
        """Give the credentials of a device, the newest last."""
        return sorted(self._registrar.device(name).credentials, key=lambda each: each.id)


@contextmanager
def _running_office(home: Home) -> Iterator[int]:
    """Run the office of a home for a `with` block; give its port."""
    command = [sys.executable, "-m", "lockgate", "office", "--home", str(home.path), "--json", "--until-eof"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield msgspec.json.decode(line, type=Announcement).doors[0].port
        finally:
            process.stdin.close()  # it stops


def _sleep_until(unix_seconds: float) -> float:
    """Come back at a time; give it as a monotonic one."""
    left = unix_seconds - time.time()
    due_at = time.monotonic() + left
    time.sleep(max(0.0, left))
    return due_at
