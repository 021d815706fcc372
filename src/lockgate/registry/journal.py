"""The gate's journal: what happened to whom, for the log, for `lockgate why`, and for the audit trail.

Everything is noted in memory on the loop and written to the store in batches. Refusals go to a bounded log that
aggregates floods; a flood also writes few lines: the first, and then one for each power of two.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from lockgate.errors import LockgateError, NotAuthorized, SessionTakenOver, Step
from lockgate.events import Event
from lockgate.model.principal import Principal
from lockgate.model.refusal import Refusal
from lockgate.net.failures import TlsFailure, TlsRefused, add_name_fix, certificate_facts
from lockgate.net.link import Address, Link
from lockgate.net.tls import Protection
from lockgate.pki.certificates import device_name_of
from lockgate.registry.refusals import RefusalLog

if TYPE_CHECKING:
    from lockgate.net.dtls import DtlsFailure
    from lockgate.registry.dtls_refusals import Devices

log = structlog.get_logger()

SeenKind = str
"""What a device was seen doing: "connect", "message", "error", or `CREDENTIAL_SEEN` and the number of a credential."""
CREDENTIAL_SEEN = "credential "
MAX_WAITING_EVENTS = 10_000
MAX_WAITING_SEEN = 50_000
SEEN_PER_TURN = 1000
"""How many rows on who was seen one call of `write` hands over: a commit of ten thousand would hold up those behind it,
who wait for their messages. Four calls a second write what 10,000 devices do that publish all the time, with half of
the turns to spare for those who come and go."""
REPORT_IT = "this is an error of lockgate's own: report it with the lines that the hub logged under this reference"
DROP_FIXES = {
    "its queue was full": "have the client connect and read, or raise hub.max_queued_messages and hub.max_queued_bytes",
    "the queues of all sessions together were full": (
        "look for clients that do not read, or raise hub.max_queued_bytes_total"
    ),
    "larger than the client takes": "send smaller messages, or have the client take larger ones (Maximum Packet Size)",
    "its session ended, and no other member of the share could take it": "have a member of the share stay connected",
    "no longer allowed to receive it": "a rule was changed since it subscribed: lockgate policy list",
}
"""What mends that messages are dropped, by the hub's own words for why."""
MAX_AUDITED_TEXT = 256
MAX_REASONS = 200
"""Reasons are our own words; should one ever hold a name, the counters stay bounded all the same."""


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end, as far as the door knows: its address, what it calls itself, how it is protected."""

    door: str
    address: Address
    client_id: str = ""
    protection: Protection | None = None


def cited(error: LockgateError, reference: str) -> str:
    """Give a refusal in the words that the peer may hear."""
    return f"{error.reason} (reference {reference})"


class _Repeats:
    """How often a refusal came again since it was noted."""

    __slots__ = ("count", "reference")

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.count = 0


class JournalStore(Protocol):
    """Where the journal is written."""

    def save_refusals(self, refusals: Iterable[Refusal], /) -> int:
        """Keep refusals, replacing those with the same reference."""
        ...

    def save_seen(self, seen: Iterable[tuple[str, SeenKind, float, str]], /) -> int:
        """Keep when a device was last seen, and how."""
        ...

    def save_audit(self, events: Iterable[tuple[float, str, str, dict[str, str]]], /) -> int:
        """Append security events to the audit trail."""
        ...


class Journal:
    """What the doors and the hub tell about their peers.

    Args:
        max_refusals: how many refusals are remembered.
        clock: unix seconds.
        devices: the registry, to tell more about who did not get in.
    """

    def __init__(
        self, max_refusals: int, clock: Callable[[], float] = time.time, devices: Devices | None = None
    ) -> None:
        self._refusals = RefusalLog(max_refusals)
        self._clock = clock
        self._devices = devices
        self._seen: dict[tuple[str, SeenKind], tuple[float, str]] = {}
        self._events: list[tuple[float, str, str, dict[str, str]]] = []
        self._told: dict[LockgateError, _Repeats] = {}
        self._dropped: dict[tuple[str, str], int] = {}
        self.refused_by_reason: Counter[str] = Counter()
        self.dropped_by_reason: Counter[str] = Counter()
        self.lost_events = 0
        """How many security events found the journal full before it was written."""

    # Refusals

    def refused(self, error: LockgateError, peer: Peer, device: str, is_verified: bool) -> str:
        """Note that somebody was refused something; give the reference to tell the peer."""
        known = self._told.get(error)
        if known is not None:  # the hub remembers what it refused: the same error comes again, and often
            known.count += 1
            _count(self.refused_by_reason, error.reason)
            return known.reference
        reference = self._refuse(Event.CLIENT_REFUSED, error, peer, device, is_verified)
        if isinstance(error, NotAuthorized) and len(self._told) < MAX_WAITING_EVENTS:
            self._told[error] = _Repeats(reference)
        return reference

    def refused_client(self, error: LockgateError, peer: Peer, user_name: str, principal: Principal | None) -> str:
        """Note that a client of a door was refused, whoever it is as far as is known; give the reference."""
        # Identity says NotAuthorized only of somebody who has proven who it is: its evidence names the device.
        proven = error.evidence.get("device", "") if isinstance(error, NotAuthorized) else ""
        device = principal.device if principal is not None else proven
        claimed = user_name or peer.client_id.partition("/")[0]
        return self.refused(error, peer, device or claimed, is_verified=bool(device))

    def tls_refused(self, door: str, address: Address, failure: TlsFailure) -> None:
        """Note a peer that did not get through TLS. What its certificate says about itself is unverified."""
        evidence: dict[str, str] = {}
        device = ""
        if failure.certificate is not None:
            facts = certificate_facts(failure.certificate)
            evidence.update({f"{name} (unverified)": text for name, text in facts.items()})
            device = device_name_of(failure.certificate) or ""
        if failure.server_name is not None:
            evidence["server name asked for"] = failure.server_name
        self._refuse(Event.CLIENT_REFUSED, TlsRefused(failure), Peer(door, address), device, False, evidence)

    def dtls_refused(self, door: str, address: Address, failure: DtlsFailure) -> None:
        """Note a peer that did not get through DTLS. Whom it claims to be is unverified."""
        from lockgate.registry.dtls_refusals import explain  # here: a hub without CoAP has no use for it

        error, device = explain(failure, self._devices)
        self._refuse(Event.CLIENT_REFUSED, error, Peer(door, address), device, False)

    def websocket_refused(self, door: str, link: Link, error: LockgateError) -> str:
        """Note a peer that did not get through the WebSocket before the door; its certificate, if any, is verified.

        Gives the reference to tell the peer.
        """
        certificate = link.peer_certificate
        evidence = {} if certificate is None else certificate_facts(certificate)
        device = "" if certificate is None else device_name_of(certificate) or ""
        peer = Peer(door, link.peer, "", link.protection)
        return self._refuse(Event.CLIENT_REFUSED, error, peer, device, False, {**error.evidence, **evidence})

    def uncovered_name(self, name: str, peer: Peer) -> None:
        """Note that a client asked for a host name that the server certificate lacks: it will not trust the hub."""
        error = LockgateError(
            f"a client asked for the host name {name!r}, which the hub's certificate does not hold",
            reason="host name not in the certificate",
            fix=add_name_fix(name),
            evidence={"server name asked for": name},
        )
        self._refuse(Event.CLIENT_NAME_UNKNOWN, error, peer, "", False)

    def left_unheard(self, peer: Peer) -> None:
        """Note a client that left after the handshake, without a CONNECT."""
        error = LockgateError(
            "the client finished the TLS handshake and left without a CONNECT: a port check, or it does not trust the "
            "hub's certificate and says so to its user alone (as node and browsers do)",
            reason="client left before CONNECT",
            fix="give the client this hub's ca.pem as its CA file, and connect by a name that the certificate holds",
            step=Step.TLS,
        )
        self._refuse(Event.CLIENT_REFUSED, error, peer, "", False)

    def slowed(self, error: LockgateError, peer: Peer, device: str) -> None:
        """Note that a device sends faster than it may, and is read more slowly; nothing is lost, and nobody told."""
        self._refuse(Event.CLIENT_SLOWED, error, peer, device, True)

    def will_refused(self, error: LockgateError, principal: Principal) -> None:
        """Note a will that may no longer go out; nobody waits for the answer."""
        peer = Peer("hub", Address("", 0), principal.client_id)
        self._refuse(Event.WILL_REFUSED, error, peer, principal.device, True)

    # Comings and goings

    def connected(self, principal: Principal, peer: Peer) -> None:
        """Note that a device opened a session."""
        protection = peer.protection
        how = f"{protection.version} {protection.cipher}" if protection is not None else "plaintext"
        log.info(
            Event.CLIENT_CONNECTED, device=principal.device, client_id=principal.client_id, auth=principal.auth,
            protection=how, address=peer.address.host, door=peer.door,
        )  # fmt: skip
        self._see(principal.device, "connect", f"{principal.client_id} by {principal.auth} over {how}")
        if principal.credential_id:
            self._see(principal.device, f"{CREDENTIAL_SEEN}{principal.credential_id}", "")

    def reauthenticated(self, principal: Principal, peer: Peer) -> None:
        """Note that a device proved anew who it is, and that its session goes on."""
        self._see(principal.device, f"{CREDENTIAL_SEEN}{principal.credential_id}", "")
        log.info(
            Event.CLIENT_REAUTHENTICATED, device=principal.device, client_id=principal.client_id, auth=principal.auth,
            until=principal.expires_at, address=peer.address.host, door=peer.door,
        )  # fmt: skip

    def spoke(self, devices: Iterable[str]) -> None:
        """Note that devices have published since the last call."""
        now, seen = self._clock(), self._seen
        for device in devices:
            if len(seen) >= MAX_WAITING_SEEN:
                return
            seen[(device, "message")] = now, ""

    def disconnected(self, principal: Principal, peer: Peer, is_clean: bool, error: Exception | None) -> None:
        """Note that a connection with a session is gone."""
        log.info(
            Event.CLIENT_DISCONNECTED, device=principal.device, client_id=principal.client_id,
            address=peer.address.host, is_clean=is_clean, error=str(error) if error else "",
        )  # fmt: skip

    def ended(self, error: LockgateError, principal: Principal, peer: Peer) -> str:
        """Note that the hub ended a connection: revoked, expired, taken over, stopping. Gives the reference."""
        reference = self._refuse(Event.SESSION_ENDED, error, peer, principal.device, True)
        count = self._refusals.refusal(reference).count
        is_routine = isinstance(error, SessionTakenOver) or error.reason == "token expired"
        if is_routine and count & (count - 1):
            return reference  # the trail is for good: a device that comes and goes all day must not fill it
        if len(self._events) < MAX_WAITING_EVENTS:
            details = {"client_id": principal.client_id, "reason": error.reason, "reference": reference}
            self._events.append((self._clock(), Event.SESSION_ENDED, principal.device, details))
        else:
            self.lost_events += 1
        return reference

    def dropped(self, client_id: str, topic: str, reason: str, count: int = 1) -> None:
        """Note messages that were dropped on the way to a session."""
        _count(self.dropped_by_reason, reason, count)
        key = (client_id, reason)
        if key not in self._dropped:
            if len(self._dropped) >= MAX_WAITING_EVENTS:
                self.lost_events += 1
                return
            log.warning(Event.MESSAGE_DROPPED, client_id=client_id, topic=topic, reason=reason)
        self._dropped[key] = self._dropped.get(key, 0) + count

    # Writing

    def write(self, store: JournalStore, is_last: bool = False) -> None:
        """Write what was noted since the last call; of who was seen, a slice: the rest waits for the next.

        The last call before the end writes everything.
        """
        told, self._told = self._told, {}
        for error, repeats in told.items():
            if repeats.count:
                self._repeat(error, repeats)
        if self._dropped:
            dropped, self._dropped = self._dropped, {}
            for (client_id, reason), count in dropped.items():
                self._remember_dropped(client_id, reason, count)
                if count > 1:
                    log.warning(Event.MESSAGE_DROPPED, client_id=client_id, reason=reason, count=count)
        refusals = self._refusals.drain()
        if refusals:
            store.save_refusals(refusals)
        if self._seen:
            store.save_seen(self._take_seen(len(self._seen) if is_last else SEEN_PER_TURN))
        if self._events:
            events, self._events = self._events, []
            store.save_audit(events)

    def _take_seen(self, most: int) -> list[tuple[str, SeenKind, float, str]]:
        """Take out who was seen, those first who have waited longest."""
        if len(self._seen) <= most:
            taken, self._seen = self._seen, {}
        else:
            taken = {key: self._seen.pop(key) for key in list(islice(self._seen, most))}
        return [(device, kind, at, text) for (device, kind), (at, text) in taken.items()]

    def _remember_dropped(self, client_id: str, reason: str, count: int) -> None:
        """Have `lockgate why` tell of messages that were dropped; nobody is told at once, so they are counted alone."""
        error = LockgateError(
            f"messages for {client_id} were dropped: {reason}",
            reason=f"message dropped: {reason}",
            fix=DROP_FIXES.get(reason, ""),
            step=Step.POLICY if "allowed" in reason else Step.LIMIT,
        )
        device = client_id.partition("/")[0]
        reference = self._refusals.note(
            error, door="hub", address="", now=self._clock(), device=device, client_id=client_id, is_verified=True
        )
        self._refusals.repeat(reference, count - 1, self._clock())

    def _refuse(
        self,
        event: Event,
        error: LockgateError,
        peer: Peer,
        device: str,
        is_verified: bool,
        evidence: dict[str, str] | None = None,
    ) -> str:
        _count(self.refused_by_reason, error.reason)
        reference = self._refusals.note(
            error,
            door=peer.door,
            address=peer.address.host,
            now=self._clock(),
            device=device,
            client_id=peer.client_id,
            is_verified=is_verified,
            evidence=evidence,
        )
        count = self._refusals.refusal(reference).count
        if count & (count - 1) == 0:
            log.warning(
                event, reference=reference, step=error.step.value, reason=error.reason, message=str(error),
                device=device, is_verified=is_verified, client_id=peer.client_id, address=peer.address.host,
                count=count,
            )  # fmt: skip
        if is_verified:
            self._see(device, "error", f"{error.reason} ({reference})")
        if event is Event.CLIENT_REFUSED:
            self._audit_refusal(self._refusals.refusal(reference))
        return reference

    def _audit_refusal(self, refusal: Refusal) -> None:
        """Put a refusal into the audit trail when its reason has come 1, 2, 4, 8 ... times: a flood fills no trail."""
        total = self.refused_by_reason[refusal.reason]
        if not total or total & (total - 1) or len(self._events) >= MAX_WAITING_EVENTS:
            return
        details = {
            "reason": refusal.reason, "times": str(total), "reference": refusal.reference, "address": refusal.address,
            "client_id": refusal.client_id[:MAX_AUDITED_TEXT], "is_verified": "yes" if refusal.is_verified else "no",
        }  # fmt: skip
        self._events.append((self._clock(), Event.CLIENT_REFUSED, refusal.device[:MAX_AUDITED_TEXT], details))

    def _repeat(self, error: LockgateError, repeats: _Repeats) -> None:
        refusal = self._refusals.repeat(repeats.reference, repeats.count, self._clock())
        # A line for each power of two, as for those that come one by one.
        if refusal is not None and refusal.count.bit_length() > (refusal.count - repeats.count).bit_length():
            log.warning(
                Event.CLIENT_REFUSED, reference=refusal.reference, step=error.step.value, reason=error.reason,
                message=str(error), device=refusal.device, client_id=refusal.client_id, address=refusal.address,
                count=refusal.count,
            )  # fmt: skip

    def _see(self, device: str, kind: SeenKind, text: str) -> None:
        if len(self._seen) < MAX_WAITING_SEEN or (device, kind) in self._seen:
            self._seen[(device, kind)] = (self._clock(), text)


def _count(counter: Counter[str], reason: str, count: int = 1) -> None:
    counter[reason if reason in counter or len(counter) < MAX_REASONS else "other"] += count
