"""Revocation from the outside: told to the registry, waited for, and checked against both databases.

The gate applies a change within some 20 ms, and keeps with it what it counted before and after (an outcome, in the same
commit as all that it dropped). Who revokes waits for that, and then reads registry.db and messages.db again itself: a
report says what the gate did and what is left on the disk, and neither is taken on trust. Where no hub runs, the same
is done to the databases at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from lockgate.errors import Conflict, NotFound, Unavailable
from lockgate.events import Event
from lockgate.home import Home
from lockgate.hub.silence import drop_gone
from lockgate.model.outcome import Outcome, Traces
from lockgate.registry.registrar import Registrar
from lockgate.registry.registry import Registry
from lockgate.registry.upkeep import Upkeep
from lockgate.store.certificates import certificates
from lockgate.store.groups import bindings
from lockgate.store.messages_db import MessagesDb
from lockgate.store.registry_db import ChangeKind, RegistryDb
from lockgate.store.traces import Stored, read_kept_publishers, read_outcomes, stored_traces

Retained = Literal["keep", "clear"]
ANSWER_SECONDS = 10.0
LOOK_SECONDS = 0.005


class Subject(msgspec.Struct, frozen=True):
    """Whom a revocation is about: one of the three is given."""

    device: str = ""
    credential: int = 0
    group: str = ""

    def __str__(self) -> str:
        """Name it, for the audit trail and for people."""
        if self.device:
            return self.device
        return f"the credential {self.credential}" if self.credential else f"the group {self.group}"


class Rights(msgspec.Struct, frozen=True):
    """What a device still is by registry.db, read anew; `devices` are those that it may still speak for."""

    is_registered: bool = False
    is_shut_out: bool = False
    credentials: int = 0
    certificates: int = 0
    devices: int = 0


class Report(msgspec.Struct, frozen=True):
    """What became of one device, as the gate counted it, and as both databases say afterwards.

    `silence_ms` is the time from the command until the gate was done with the device; None where no hub ran, and the
    databases were cleared instead. `keeps_retained` says that its retained messages stay because somebody chose so.
    """

    device: str
    found: Traces
    remaining: Traces
    stored: Stored
    rights: Rights
    silence_ms: float | None = None
    keeps_retained: bool = False

    @property
    def ended(self) -> Traces:
        """Give what was there and is not any longer."""
        return self.found - self.remaining

    @property
    def is_silent(self) -> bool:
        """Say whether nothing is left, neither at the gate nor on the disk; what is kept by choice does not count."""
        left = self.remaining + self.stored.traces
        if self.keeps_retained:
            left = msgspec.structs.replace(left, retained=0)
        return left == Traces()

    @property
    def is_other_credential(self) -> bool:
        """Say whether what is left is another credential's, which is as good as before."""
        return self.rights.credentials > 0 and not self.rights.is_shut_out


def revoke(
    home: Home,
    subject: Subject,
    actor: str,
    *,
    reason: str = "",
    retained: Retained | None = None,
    waits: bool = True,
    on_device: Callable[[int], object] = lambda _: None,
) -> list[Report]:
    """Revoke a device, a credential or all members of a group, and give what became of each device.

    Args:
        home: the hub's folder; the hub may run or not.
        subject: whom.
        actor: who does it, for the audit trail.
        reason: why, for the audit trail.
        retained: what becomes of retained messages, where it shall not be as the settings say.
        waits: whether to wait for a running hub; without, nothing is reported of it.
        on_device: called with how many devices the hub is done with, each time that moves.

    Raises:
        NotFound: there is no such device, credential or group.
        Unavailable: the hub runs and does not answer.
    """
    with home.registry() as registry:
        names = _devices_of(registry, subject)
        before = registry.last_sequence
        commanded_at = time.time()
        _note_begin(registry, subject, names, actor, reason, retained, commanded_at)
        registrar = Registrar(registry, actor)
        if subject.device:
            registrar.revoke(subject.device)
        elif subject.credential:
            registrar.revoke_credential(subject.credential)
        else:
            registrar.revoke_group(subject.group)
        changed = {
            change.name: change.sequence
            for change in registry.changes_since(before)
            if change.kind == ChangeKind.DEVICE and change.name in names
        }
    found = settle_without_hub(home, retained, changed)
    if found is None:
        outcomes = _await(home, changed, commanded_at, on_device) if waits else {}
        return [
            _report(home, name, each.found, each.remaining, (each.at - commanded_at) * 1000)
            if (each := outcomes.get(name)) is not None
            else _report(home, name, Traces(), Traces(), None)
            for name in names
        ]
    on_device(len(names))
    return [_report(home, name, found.get(name, Traces()), Traces(), None) for name in names]


def settle_without_hub(
    home: Home, retained: Retained | None = None, chosen: Iterable[str] = ()
) -> dict[str, Traces] | None:
    """Drop what messages.db holds of all who are gone, where no hub runs that would; give what it was, by device.

    Args:
        home: the hub's folder.
        retained: what was chosen for the retained messages of the devices `chosen`; None: as the settings say.
        chosen: the devices that the choice is about.

    Returns:
        None when a hub runs, or is about to: it does it itself.
    """
    if not home.messages_path.exists():
        return {}
    try:
        descriptor = home.lock()
    except Conflict:
        return None
    try:
        with home.registry(read_only=True) as database:
            return _settle(home, database, retained, set(chosen))
    finally:
        os.close(descriptor)


def _settle(home: Home, database: RegistryDb, retained: Retained | None, chosen: set[str]) -> dict[str, Traces]:
    registry = Registry(database)
    clears = home.settings().hub.retained_of_revoked == "clear"
    store = MessagesDb(home.messages_path)
    try:
        kept = read_kept_publishers(home.messages_path)
        if retained is not None:
            for name in chosen:
                store.keep_publisher(name, retained == "keep")
            kept = kept | chosen if retained == "keep" else kept - chosen
        spared = kept if clears or retained != "clear" else _publishers(store) - chosen
        found = drop_gone(store, store.load(), store.retained(), registry, clears or retained == "clear", spared)
        Upkeep(registry, database, store).begin(home.messages_path)
        store.save_outcomes([Outcome(registry.sequence, "", time.time(), "", sum(found.dropped.values(), Traces()))])
        return found.dropped
    finally:
        store.close()


def _publishers(store: MessagesDb) -> set[str]:
    return {message.publisher for message in store.retained()}


def _devices_of(registry: RegistryDb, subject: Subject) -> list[str]:
    if subject.device:
        if registry.device(subject.device) is None:
            raise NotFound(f"there is no device {subject.device}", fix="lockgate device list shows the devices")
        return [subject.device]
    if subject.credential:
        query, value = "SELECT device FROM credential WHERE id = ?", str(subject.credential)
    else:
        query, value = "SELECT device FROM membership WHERE group_name = ? ORDER BY device", subject.group
    names = [str(name) for (name,) in registry.query(query, (value,))]
    if subject.credential and not names:
        raise NotFound(
            f"there is no credential {subject.credential}", fix="lockgate credential list shows them with their numbers"
        )
    return names


def _note_begin(
    registry: RegistryDb, subject: Subject, names: Sequence[str], actor: str, reason: str,
    retained: Retained | None, now: float,
) -> None:  # fmt: skip
    """Tell the gate the choice before the act, and the audit trail the reason."""
    if not reason and retained is None:
        return
    with registry.write() as write:
        for name in names if retained is not None else ():
            kind = ChangeKind.KEEP_RETAINED if retained == "keep" else ChangeKind.CLEAR_RETAINED
            write.note_change(kind, name)
        details = {"reason": reason, "retained": retained or ""}
        told = {name: text for name, text in details.items() if text}
        write.note_audit(Event.REVOCATION_BEGUN, str(subject), actor, now, told)


def _await(
    home: Home, changed: dict[str, int], commanded_at: float, on_device: Callable[[int], object]
) -> dict[str, Outcome]:
    """Wait until the gate has said what became of each device."""
    first = min(changed.values(), default=0)
    deadline = time.monotonic() + ANSWER_SECONDS
    told = 0
    while True:
        outcomes: dict[str, Outcome] = {}
        for outcome in read_outcomes(home.messages_path, first):
            if outcome.at < commanded_at:
                continue  # of a registry that was replaced by an older one since
            for name in [outcome.device] if outcome.device else list(changed):
                if changed.get(name, outcome.sequence + 1) <= outcome.sequence:
                    outcomes[name] = outcome
        if len(outcomes) > told:
            told = len(outcomes)
            on_device(told)
        if told == len(changed):
            return outcomes
        if time.monotonic() > deadline:
            raise Unavailable(
                f"it is revoked, but the hub has not said within {ANSWER_SECONDS:g} s what became of "
                f"{len(changed) - told} of {len(changed)} devices",
                fix="see in the hub's log whether it can write messages.db, and run the command again",
            )
        time.sleep(LOOK_SECONDS)


def _report(home: Home, name: str, found: Traces, remaining: Traces, silence_ms: float | None) -> Report:
    """Join what the gate said with what both databases say now."""
    now = time.time()
    with home.registry(read_only=True) as registry:
        device = registry.device(name)
        good = [each for each in certificates(registry, f"device:{name}") if each.state(now) == "valid"]
        bound = len(bindings(registry, name))
    live = [
        credential
        for credential in (device.credentials if device is not None else ())
        if not credential.is_revoked and (credential.expires_at is None or credential.expires_at > now)
    ]
    rights = Rights(
        is_registered=device is not None,
        is_shut_out=device is not None and device.is_shut_out,
        credentials=len(live),
        certificates=len(good),
        devices=bound if live else 0,
    )
    kept = name in read_kept_publishers(home.messages_path)
    return Report(name, found, remaining, stored_traces(home.messages_path, name), rights, silence_ms, kept)
