"""messages.db: sessions, their queues, retained messages, and what the gate has to tell; written by the gate alone.

Theory of operation. Each write changes the batch that is gathering (a few dictionary entries, no disk) and returns the
number of the commit that will hold it; the committer's thread writes batch after batch. An index in memory knows for
each session which rows are its own, so that dropping never searches, and for each message how many deliveries need it,
so that a message for many sessions is stored once and goes with the last of them.

A message with one receiver, as most have, stands in the row of its delivery, and costs one row less to write and to
drop. When more receivers come before that row was taken, the message gets a row of its own, which all of them name;
when they come later, it gets one for those.

What a `durability` means:
    "fsync"   a commit is on the disk before its number is reported: a power cut takes nothing acknowledged.
    "os"      a commit is with the operating system: a crash or kill -9 of the gate takes nothing; a power cut may take
              the latest seconds, and leaves a sound file.
    "memory"  nobody waits: writes follow some milliseconds behind, and a crash takes those.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from mypy_extensions import mypyc_attr

from lockgate.errors import NotFound
from lockgate.model.message import Message
from lockgate.model.outcome import Outcome
from lockgate.model.refusal import Refusal
from lockgate.model.session import SessionRecord, StoredSession, Subscription
from lockgate.store import chain
from lockgate.store.batch import TAG_BITS, Batch
from lockgate.store.committer import Committer
from lockgate.store.log_file import LogMark
from lockgate.store.messages_reader import LoadedSession, load_sessions, read_retained
from lockgate.store.sqlite import Synchronous, open_database, transaction, translated

Durability = Literal["fsync", "os", "memory"]

ROW_BYTES = 128
MEMORY_GATHER_SECONDS = 0.02


@mypyc_attr(allow_interpreted_subclasses=True)
class MessagesDb:
    """The write side of messages.db, and what it held when it was opened.

    Args:
        path: the file; it is made where it lacks.
        durability: when a write counts as stored; see above.
        on_committed: told the numbers up to which nobody need wait, rising; FROM THE WORKER THREAD or a writer's.
        on_failure: told each error that kept a commit from the disk, from the worker thread; the commit is retried.
        max_waiting_bytes: above this `is_full` is true.
        max_waiting_operations: likewise.
        max_security_events: how many security events stay; the chain notes how many went.

    Raises:
        StoreDamaged: when the file cannot be used, in one sentence.
    """

    def __init__(
        self,
        path: Path,
        durability: Durability = "fsync",
        *,
        on_committed: Callable[[int], None] = lambda _: None,
        on_failure: Callable[[Exception], None] = lambda _: None,
        max_waiting_bytes: int = 33_554_432,
        max_waiting_operations: int = 100_000,
        max_security_events: int = 100_000,
    ) -> None:
        self._path = path
        self._max_security_events = max_security_events
        synchronous = Synchronous.FULL if durability == "fsync" else Synchronous.NORMAL
        self._connection = open_database(path, "messages", check="whole", synchronous=synchronous)
        self._log_mark = LogMark(path)
        self._is_waited = durability != "memory"
        self._sessions: dict[str, _Index] = {}
        self._messages: dict[int, _Kept] = {}
        self._last_session = self._last_message = self._last_sequence = 0
        self._found = self._take_over(load_sessions(self._connection, path))
        self._committer: Committer[Batch] = Committer(
            self._commit,
            Batch,
            on_committed=on_committed,
            on_failure=on_failure,
            gather_seconds=0.0 if self._is_waited else MEMORY_GATHER_SECONDS,
            max_waiting_bytes=max_waiting_bytes,
            max_waiting_operations=max_waiting_operations,
        )
        self._lock = self._committer.lock

    # What was there

    def load(self) -> list[StoredSession]:
        """Hand over, once, the sessions that the file held when it was opened."""
        found, self._found = self._found, []
        return found

    def retained(self) -> list[Message]:
        """Give the retained messages that are on the disk."""
        return read_retained(self._path)

    # Sessions

    def save_session(self, record: SessionRecord, /) -> int:
        """Keep the session itself: who, how long, its will."""
        client_id = record.principal.client_id
        with self._lock:
            index = self._sessions.get(client_id)
            if index is None:
                self._last_session += 1
                index = self._sessions[client_id] = _Index(self._last_session)
            self._committer.batch.sessions[index.id] = record
            return self._wrote(record.will.message.size if record.will is not None else 0)

    def forget_session(self, client_id: str, /) -> int:
        """Drop the session with all that belongs to it."""
        with self._lock:
            index = self._sessions.pop(client_id, None)
            if index is None:
                return 0
            batch = self._committer.batch
            batch.sessions[index.id] = None
            for topic_filter in index.filters:
                batch.subscriptions[index.id, topic_filter] = None
            for tag in index.incoming:
                batch.incoming[index.id << TAG_BITS | tag] = None
            for sequence, kept in index.deliveries.values():
                self._drop_delivery(sequence, kept)
            return self._wrote()

    def save_subscription(self, client_id: str, subscription: Subscription, /) -> int:
        """Keep one subscription, replacing one with the same text."""
        text = subscription.text
        with self._lock:
            index = self._index(client_id)
            index.filters.add(text)
            self._committer.batch.subscriptions[index.id, text] = subscription
            return self._wrote(len(text))

    def forget_subscription(self, client_id: str, text: str, /) -> int:
        """Drop one subscription."""
        with self._lock:
            index = self._sessions.get(client_id)
            if index is None or text not in index.filters:
                return 0
            index.filters.discard(text)
            self._committer.batch.subscriptions[index.id, text] = None
            return self._wrote()

    # Deliveries

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
        """Keep one delivery until it is settled; QoS 0 (tag 0) is not kept.

        The same `message` object given for many sessions is stored once.
        """
        if not tag:
            return 0
        with self._lock:
            index = self._index(client_id)
            before = index.deliveries.pop(tag, None)
            if before is not None:
                self._drop_delivery(*before)
            self._last_sequence += 1
            sequence = self._last_sequence
            kept, size = self._messages.get(id(message)), 2 * ROW_BYTES
            if kept is None:
                kept = self._messages[id(message)] = _Kept(message)
                kept.inside = sequence
                size += ROW_BYTES + message.size + len(message.topic)
                number_of, inside = 0, message
            else:
                self._refer(kept)
                number_of, inside = kept.id, None
            kept.deliveries += 1
            index.deliveries[tag] = (sequence, kept)
            numbers = ",".join(map(str, identifiers)) if identifiers else ""
            self._committer.batch.deliveries[sequence] = (
                index.id, tag, number_of, int(qos), int(is_retained), numbers, share, inside,
            )  # fmt: skip
            number = self._committer.wrote(size + len(share))
            kept.waits_for(number)
            return number if self._is_waited else 0

    def release(self, client_id: str, tag: int, /) -> int:
        """Note that the receiver of a QoS 2 delivery has it."""
        with self._lock:
            index = self._sessions.get(client_id)
            delivery = index.deliveries.get(tag) if index is not None else None
            if delivery is None:
                return 0
            self._committer.batch.released.add(delivery[0])
            return self._wrote()

    def settle(self, client_id: str, tag: int, /) -> int:
        """Drop one delivery: it arrived, or it was given up.

        Its commit does not hurry: a crash that comes before it lets the delivery be repeated, as one before this call.
        A message that no session needs any more keeps nobody waiting for the disk.
        """
        with self._lock:
            index = self._sessions.get(client_id)
            delivery = index.deliveries.pop(tag, None) if index is not None else None
            if delivery is None:
                return 0
            sequence, kept = delivery
            self._drop_delivery(sequence, kept)
            if not kept.deliveries and kept.commit:
                self._committer.spare(kept.commit, kept.urgent)
            return self._wrote(is_urgent=False)

    def remember_incoming(self, client_id: str, tag: int, /) -> int:
        """Note that a QoS 2 message with this tag was received, so that its repetition is not published again."""
        with self._lock:
            index = self._index(client_id)
            index.incoming.add(tag)
            self._committer.batch.incoming[index.id << TAG_BITS | tag] = True
            return self._wrote()

    def forget_incoming(self, client_id: str, tag: int, /) -> int:
        """Note that the sender released the tag."""
        with self._lock:
            index = self._sessions.get(client_id)
            if index is None or tag not in index.incoming:
                return 0
            index.incoming.discard(tag)
            self._committer.batch.incoming[index.id << TAG_BITS | tag] = None
            return self._wrote()

    # Retained messages

    def keep_retained(self, message: Message, /) -> int:
        """Keep the retained message of its topic."""
        with self._lock:
            self._committer.batch.retained[message.topic] = message
            return self._wrote(ROW_BYTES + message.size + len(message.topic))

    def clear_retained(self, topic: str, /) -> int:
        """Drop the retained message of a topic."""
        with self._lock:
            self._committer.batch.retained[topic] = None
            return self._wrote(len(topic))

    def keep_publisher(self, device: str, is_kept: bool, /) -> int:
        """Note, or forget, that the retained messages of a device stay when it is gone."""
        return self._report(lambda batch: batch.kept_publishers.update({device: True if is_kept else None}))

    # What the gate has to tell

    def save_outcomes(self, outcomes: Iterable[Outcome], /) -> int:
        """Keep what became of changes, with what they dropped in one commit; the newest 20,000 stay, about."""
        made = {(outcome.sequence, outcome.device): outcome for outcome in outcomes}
        return self._report(lambda batch: batch.outcomes.update(made))

    def save_refusals(self, refusals: Iterable[Refusal], /) -> int:
        """Keep refusals; one with a known reference replaces it. The newest 10,000 stay."""
        return self._report(lambda batch: batch.refusals.update((refusal.reference, refusal) for refusal in refusals))

    def save_seen(self, seen: Iterable[tuple[str, str, float, str]], /) -> int:
        """Keep when each device was last seen: (device, kind, unix second, text)."""
        return self._report(
            lambda batch: batch.seen.update(((name, kind), (at, text)) for name, kind, at, text in seen)
        )

    def forget_seen(self, devices: Iterable[str], rows: Iterable[tuple[str, str]] = (), /) -> int:
        """Drop when some devices were seen, and single rows of others: (device, kind)."""
        gone, single = set(devices), set(rows)

        def forget(batch: Batch) -> None:
            for key in [key for key in batch.seen if key[0] in gone]:
                del batch.seen[key]
            batch.unseen |= gone
            batch.seen.update(dict.fromkeys(single))

        return self._report(forget)

    def forget_rehashed(self, credentials: Iterable[int], /) -> int:
        """Drop the better hashes of some credentials: the registry has them."""
        return self._report(lambda batch: batch.rehashed.update(dict.fromkeys(credentials)))

    def save_rehashed(self, hashes: Mapping[int, str], /) -> int:
        """Leave better hashes of passwords, by credential, for the office, which writes the registry."""
        return self._report(lambda batch: batch.rehashed.update(hashes))

    def save_audit(self, events: Iterable[tuple[float, str, str, dict[str, str]]], /) -> int:
        """Keep security events for good: (unix second, event, subject, details)."""
        return self._report(lambda batch: batch.security_events.extend(events))

    # The disk

    def together(self) -> AbstractContextManager[object]:
        """Make the writes in a `with` block land in one commit: after a crash all of them are there, or none."""
        return self._lock

    @property
    def committed(self) -> int:
        """Give the number of the last commit that is durable, or need not be: all of its messages were settled."""
        return self._committer.committed

    @property
    def is_full(self) -> bool:
        """Say whether so much waits for the disk that publishers of durable messages must wait as well."""
        return self._committer.is_full

    def flush(self, timeout_seconds: float = 30.0) -> None:
        """Come back when everything written so far is durable; raises Unavailable when that takes too long."""
        self._committer.flush(timeout_seconds)

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Write everything and close the file; raises Unavailable when not everything could be written in time."""
        try:
            self._committer.close(timeout_seconds)
        finally:
            self._log_mark.close()
            self._connection.close()

    def _commit(self, batch: Batch) -> None:
        with translated(self._path):
            with transaction(self._connection) as connection:
                self._log_mark.renew(connection)
                batch.write(connection)
                if batch.security_events:
                    now = batch.security_events[-1][0]
                    chain.trim(connection, chain.SECURITY, self._max_security_events, now)
            self._log_mark.committed()

    def _wrote(self, size_bytes: int = 0, is_urgent: bool = True) -> int:
        number = self._committer.wrote(ROW_BYTES + size_bytes, is_urgent)
        return number if self._is_waited else 0

    def _report(self, change: Callable[[Batch], None]) -> int:
        with self._lock:
            change(self._committer.batch)
            return self._wrote()

    def _index(self, client_id: str) -> _Index:
        index = self._sessions.get(client_id)
        if index is None:
            raise NotFound(f"no session {client_id!r} is stored: save_session comes first")
        return index

    def _drop_delivery(self, sequence: int, kept: _Kept) -> None:
        batch = self._committer.batch
        if batch.released:
            batch.released.discard(sequence)
        # A row that no commit has taken yet is simply not written.
        if batch.deliveries.pop(sequence, None) is None:
            batch.deliveries[sequence] = None
        kept.deliveries -= 1
        if not kept.deliveries:
            del self._messages[id(kept.message)]
        if sequence == kept.inside:
            kept.inside = 0
            return
        kept.references -= 1
        if not kept.references and batch.messages.pop(kept.id, None) is None:
            batch.messages[kept.id] = None

    def _refer(self, kept: _Kept) -> None:
        """Have a message in a row of its own, for one more delivery that names it."""
        batch = self._committer.batch
        if not kept.references:
            self._last_message += 1
            kept.id = self._last_message
            batch.messages[kept.id] = kept.message
            first = batch.deliveries.get(kept.inside)
            if first is not None:  # not taken yet: it names it as well
                session, tag, _, qos, is_retained, identifiers, share, _ = first
                batch.deliveries[kept.inside] = (
                    session, tag, kept.id, qos, is_retained, identifiers, share, None,
                )  # fmt: skip
                kept.inside = 0
                kept.references = 1
        kept.references += 1

    def _take_over(self, loaded: list[LoadedSession]) -> list[StoredSession]:
        """Build the index of what the file holds."""
        for session in loaded:
            index = _Index(session.id)
            index.filters.update(subscription.text for subscription in session.stored.subscriptions)
            index.incoming.update(session.stored.incoming)
            for delivery, (sequence, message_id) in zip(session.stored.deliveries, session.rows, strict=True):
                message = delivery.message
                kept = self._messages.setdefault(id(message), _Kept(message))
                kept.commit = 0
                kept.deliveries += 1
                if message_id:
                    kept.id = message_id
                    kept.references += 1
                else:
                    kept.inside = sequence
                index.deliveries[delivery.tag] = (sequence, kept)
            self._sessions[session.stored.record.principal.client_id] = index
        self._last_session = _highest(self._connection, "session", "id")
        self._last_message = _highest(self._connection, "message", "id")
        self._last_sequence = _highest(self._connection, "delivery", "sequence")
        return [session.stored for session in loaded]


class _Kept:
    """A stored message, the number of deliveries that need it, and which commit its publisher waits for.

    `inside` is the delivery whose row holds it (0: none does), `references` is how many name its own row by `id`.
    `commit` is 0 where that is more than one, or none.
    """

    __slots__ = ("commit", "deliveries", "id", "inside", "message", "references", "urgent")

    def __init__(self, message: Message) -> None:
        self.id = 0
        self.message = message
        self.deliveries = self.references = self.inside = 0
        self.commit = -1
        self.urgent = 0

    def waits_for(self, commit: int) -> None:
        """Count one operation for it in a commit."""
        if self.commit == -1:
            self.commit = commit
        elif self.commit != commit:
            self.commit = 0
        self.urgent += 1


class _Index:
    """Which rows belong to a session."""

    __slots__ = ("deliveries", "filters", "id", "incoming")

    def __init__(self, id: int) -> None:
        self.id = id
        self.filters: set[str] = set()
        self.deliveries: dict[int, tuple[int, _Kept]] = {}
        self.incoming: set[int] = set()


def _highest(connection: sqlite3.Connection, table: str, column: str) -> int:
    (number,) = connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()  # noqa: S608
    return int(number)
