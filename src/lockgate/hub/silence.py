"""Silence: what ends when a device, or one of its credentials, is no longer welcome.

Theory of operation. Two questions decide, and the registry answers both: does the proof of a session still hold (the
verdict), and can it ever hold again (is it gone)?

    what happened                    live connection   session, queue   will        retained messages
    blocked (itself, its group)      ends, 0x98        wait             dropped     stay
    credential revoked               ends, 0x98        end              dropped     stay
    revoked altogether, removed      ends, 0x98        end              dropped     cleared, if the policy says so
    token, credential expired        ends, 0xA0        wait             goes out    stay

Only sessions that the credential at hand has proven end with it. Nothing here is assumed to have worked: the traces of
the device are counted before and after, and both counts are the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from lockgate.errors import LockgateError, ShutOut
from lockgate.hub.hub import Hub
from lockgate.hub.ports import SessionStore
from lockgate.model.device import Device
from lockgate.model.message import Message
from lockgate.model.outcome import Outcome, Traces
from lockgate.model.principal import Principal
from lockgate.model.session import StoredSession
from lockgate.policy import HUB_DEVICE, LAB_DEVICE

_OURS = frozenset({"", HUB_DEVICE, LAB_DEVICE})
"""Publishers that no registry knows: messages from before publishers were stored, the hub itself, the lab door."""


class Devices(Protocol):
    """What silence needs of the registry."""

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        ...


class KeptStore(SessionStore, Protocol):
    """A store that also knows whose retained messages outlive their publisher, because somebody chose so."""

    def keep_publisher(self, device: str, is_kept: bool, /) -> int:
        """Note, or forget, that the retained messages of a device stay when it is gone."""
        ...


Verdicts = Callable[[Principal, float], LockgateError | None]
"""Says why a principal no longer holds, or None when it does. The time is in unix seconds."""


class Standing:
    """Who is gone for good, by the registry as it is now."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    def is_proof_gone(self, principal: Principal) -> bool:
        """Say whether the credential that proved a principal will never be good again."""
        if principal.device in _OURS:
            return False
        device = self._devices.device(principal.device)
        return device is None or not any(
            c.id == principal.credential_id and not c.is_revoked for c in device.credentials
        )

    def is_device_gone(self, name: str) -> bool:
        """Say whether a device was removed, or all of its credentials revoked."""
        if name in _OURS:
            return False
        device = self._devices.device(name)
        return device is None or all(credential.is_revoked for credential in device.credentials)

    def is_good(self, name: str) -> bool:
        """Say whether nothing at all is wrong with a device: none of its proofs can have ended."""
        device = self._devices.device(name)
        return device is not None and not device.is_shut_out and not any(c.is_revoked for c in device.credentials)

    def ends_at(self, principal: Principal) -> float | None:
        """Give the unix second at which the credential behind a principal ends by now, None for never."""
        device = self._devices.device(principal.device)
        for credential in device.credentials if device is not None else ():
            if credential.id == principal.credential_id:
                return credential.expires_at
        return None


class Silence:
    """Brings changes of the registry to live sessions, and what those left behind.

    Args:
        hub: the topic space.
        store: where sessions and retained messages rest.
        devices: the registry, already as it is after the change.
        verdict: says why a principal no longer holds.
        clears_retained: whether retained messages of devices that are gone are cleared (`hub.retained_of_revoked`).
        kept: devices whose retained messages stay all the same.
    """

    def __init__(
        self,
        hub: Hub,
        store: KeptStore,
        devices: Devices,
        verdict: Verdicts,
        clears_retained: bool,
        kept: Iterable[str] = (),
    ) -> None:
        self._hub = hub
        self._store = store
        self._standing = Standing(devices)
        self._verdict = verdict
        self._clears_retained = clears_retained
        self._kept = set(kept)
        self._chosen: dict[str, bool] = {}

    def choose(self, device: str, clears: bool) -> None:
        """Know what somebody chose for a device's retained messages; it counts when the device is next gone."""
        self._chosen[device] = clears

    def apply(self, sequence: int, name: str, now: float) -> Outcome | None:
        """Bring one change to the sessions of a device; give what became of it, None when nothing is wrong with it.

        Args:
            sequence: the change's number.
            name: the device.
            now: unix seconds.
        """
        if self._standing.is_good(name):
            self._chosen.pop(name, None)
            if name in self._kept:
                self._keep(name, False)
            for session in self._hub.sessions_of(name):  # another of its name may have had it: removed, and added again
                self._check(session.client_id, now)
            return None
        found = self.traces(name)
        reason = ""
        for session in self._hub.sessions_of(name):
            reason = self._check(session.client_id, now) or reason
        if self._standing.is_device_gone(name):
            self._clear(name)
        return Outcome(sequence, name, now, reason, found, self.traces(name))

    def traces(self, name: str) -> Traces:
        """Count what a device has here now."""
        sessions = self._hub.sessions_of(name)
        return Traces(
            connections=sum(session.outlet is not None for session in sessions),
            sessions=len(sessions),
            subscriptions=sum(len(session.subscriptions) for session in sessions),
            queued=sum(len(session.queue) for session in sessions),
            unsettled=sum(len(session.unsettled) for session in sessions),
            wills=sum(session.will is not None for session in sessions),
            retained=len(self._hub.retained.published_by(name)),
        )

    def _check(self, client_id: str, now: float) -> str:
        """End one session, or its connection, if its proof no longer holds; give the reason, "" when it does."""
        session = self._hub.sessions.get(client_id)
        if session is None:
            return ""  # it ended meanwhile
        verdict = self._verdict(session.principal, now)
        if verdict is None:
            self._shorten(client_id)
            return ""
        if isinstance(verdict, ShutOut):
            session.will = None  # whoever was shut out says nothing more, not even by its last word
        if self._standing.is_proof_gone(session.principal):
            self._hub.end_session(session, now, verdict)
        elif session.outlet is not None:
            self._hub.disconnect(session, verdict, now)
        else:
            self._store.save_session(session.record())
        return verdict.reason

    def _shorten(self, client_id: str) -> None:
        """Let a live session end earlier when its credential now does: keys that overlap while they rotate."""
        session = self._hub.sessions[client_id]
        ends_at = self._standing.ends_at(session.principal)
        until = session.principal.expires_at
        if ends_at is not None and (until is None or ends_at < until) and session.outlet is not None:
            self._hub.prolong(session, session.principal.until(ends_at))

    def _clear(self, name: str) -> None:
        clears = self._chosen.pop(name, self._clears_retained if name not in self._kept else False)
        topics = self._hub.retained.published_by(name)
        if clears:
            for topic in topics:
                self._hub.retained.clear(topic)
                self._store.clear_retained(topic)
        if topics and clears == (name in self._kept):
            self._keep(name, not clears)

    def _keep(self, name: str, is_kept: bool) -> None:
        (self._kept.add if is_kept else self._kept.discard)(name)
        self._store.keep_publisher(name, is_kept)


class Found(msgspec.Struct, frozen=True):
    """What a store held that may come back, and the traces of those that are gone and may not."""

    sessions: tuple[StoredSession, ...]
    retained: tuple[Message, ...]
    dropped: dict[str, Traces]


def drop_gone(
    store: KeptStore,
    sessions: Iterable[StoredSession],
    retained: Iterable[Message],
    devices: Devices,
    clears_retained: bool,
    kept: Iterable[str] = (),
) -> Found:
    """Drop what the store holds of devices and credentials that were revoked or removed while no hub ran.

    It comes before anything is restored: a will of somebody who is gone must not go out when the hub starts.
    """
    standing, spared = Standing(devices), set(kept)
    good: list[StoredSession] = []
    dropped: dict[str, Traces] = {}
    for session in sessions:
        principal = session.record.principal
        if standing.is_proof_gone(principal):
            store.forget_session(principal.client_id)
            dropped[principal.device] = dropped.get(principal.device, Traces()) + traces_of(session)
        else:
            good.append(session)
    standing_messages: list[Message] = []
    for message in retained:
        name = message.publisher
        if clears_retained and name not in spared and standing.is_device_gone(name):
            store.clear_retained(message.topic)
            dropped[name] = dropped.get(name, Traces()) + Traces(retained=1)
        else:
            standing_messages.append(message)
    return Found(tuple(good), tuple(standing_messages), dropped)


def traces_of(session: StoredSession) -> Traces:
    """Count what a stored session holds."""
    return Traces(
        sessions=1,
        subscriptions=len(session.subscriptions),
        queued=len(session.deliveries),
        wills=int(session.record.will is not None),
    )
