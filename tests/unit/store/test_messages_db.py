"""messages.db: what is written comes back, once, in order; also after a crash at any moment."""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lockgate.errors import NotFound
from lockgate.model.message import Message, MessageProperties
from lockgate.model.principal import Principal
from lockgate.model.session import Delivery, SessionRecord, StoredSession, Subscription, Will
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.store import chain
from lockgate.store import sqlite as sqlite_files
from lockgate.store.batch import row_checksum
from lockgate.store.messages_db import MessagesDb
from lockgate.store.packing import pack
from lockgate.store.sqlite import open_database

PROPERTIES = MessageProperties(True, "text/plain", "answers", b"\x00\xff", (("a", "1"), ("a", "2")))


def message(payload: bytes = b"21.5", topic: str = "a/b", qos: int = 1) -> Message:
    return Message(TopicName(topic), payload, qos, False, PROPERTIES, 1e9, "sensor")


def record(client_id: str, expiry_seconds: float = math.inf) -> SessionRecord:
    principal = Principal("device", client_id, "jwt-es256", 7, 2e9)
    return SessionRecord(principal, expiry_seconds, 123.5, Will(message(b"gone"), 5.0))


def deliveries_of(session: StoredSession) -> list[tuple[int, bytes]]:
    return [(delivery.tag, delivery.message.payload) for delivery in session.deliveries]


class HeldDb(MessagesDb):
    """A MessagesDb whose disk can be stopped."""

    def __init__(self, path: Path, on_committed: Callable[[int], None] = lambda _: None) -> None:
        self.has_taken = threading.Event()
        self.may_commit = threading.Event()
        self.may_commit.set()
        super().__init__(path, "os", on_committed=on_committed)

    def _commit(self, batch: object) -> None:
        self.has_taken.set()
        assert self.may_commit.wait(30)
        super()._commit(batch)  # type: ignore[arg-type]

    def close(self, timeout_seconds: float = 10.0) -> None:
        self.may_commit.set()
        super().close(timeout_seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages.db"


@pytest.fixture
def db(path: Path) -> Iterator[HeldDb]:
    db = HeldDb(path)
    yield db
    db.close()


def reopened(db: MessagesDb, path: Path) -> list[StoredSession]:
    db.close()
    again = MessagesDb(path)
    found = again.load()
    again.close()
    return found


def rows(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def test_a_session_comes_back_with_all_that_belongs_to_it(db: HeldDb, path: Path) -> None:
    one = message()
    subscription = Subscription(TopicFilter("a/+"), 2, True, True, 1, 99)
    db.save_session(record("c"))
    shared = Subscription(TopicFilter("a/+"), 1, share="team")
    db.save_subscription("c", subscription)
    db.save_subscription("c", shared)
    db.enqueue("c", 5, one, 2, True, (3, 99))
    db.enqueue("c", 4, message(b"next"), 1, False, (), "$share/team/a/+")
    db.release("c", 5)
    db.remember_incoming("c", 65_535)
    (found,) = reopened(db, path)
    assert found == StoredSession(
        record("c"),
        (shared, subscription),
        (
            Delivery(one, 2, True, (3, 99), 5, is_repeated=True),
            Delivery(message(b"next"), 1, False, (), 4, is_repeated=True, share="$share/team/a/+"),
        ),
        frozenset({5}),
        frozenset({65_535}),
    )


def test_a_message_for_many_sessions_is_stored_once_and_goes_with_its_last_delivery(db: HeldDb, path: Path) -> None:
    one = message()
    for client_id in ("c1", "c2", "c3"):
        db.save_session(record(client_id))
        db.enqueue(client_id, 1, one, 1, False, ())
    db.flush()
    assert (rows(path, "message"), rows(path, "delivery")) == (1, 3)
    db.settle("c1", 1)
    db.forget_session("c2")
    db.flush()
    assert (rows(path, "message"), rows(path, "delivery")) == (1, 1)
    db.settle("c3", 1)
    db.flush()
    assert (rows(path, "message"), rows(path, "delivery")) == (0, 0)


def test_a_message_for_one_session_stands_in_its_delivery(db: HeldDb, path: Path) -> None:
    db.save_session(record("c"))
    db.enqueue("c", 1, message(), 1, False, ())
    db.flush()
    assert (rows(path, "message"), rows(path, "delivery")) == (0, 1)
    (found,) = reopened(db, path)
    assert found.deliveries[0].message == message()


@pytest.mark.parametrize("first_leaves", [True, False])
@pytest.mark.parametrize("is_restarted", [True, False])
def test_receivers_who_come_later_share_a_row_of_their_own(path: Path, first_leaves: bool, is_restarted: bool) -> None:
    one, db = message(), MessagesDb(path)
    for client_id in ("c1", "c2", "c3"):
        db.save_session(record(client_id))
    db.enqueue("c1", 1, one, 1, False, ())
    db.flush()
    if is_restarted:
        db.close()
        db = MessagesDb(path)
        one = db.load()[0].deliveries[0].message
    for client_id in ("c2", "c3"):
        db.enqueue(client_id, 1, one, 1, False, ())
    db.flush()
    assert (rows(path, "message"), rows(path, "delivery")) == (1, 3)
    for client_id in ("c1", "c2", "c3") if first_leaves else ("c3", "c2", "c1"):
        db.settle(client_id, 1)
        db.close()
        db = MessagesDb(path)  # what is left belongs together
        left = [each for session in db.load() for each in session.deliveries]
        assert all(each.message == one for each in left)
    assert (left, rows(path, "message"), rows(path, "delivery")) == ([], 0, 0)
    db.close()


def test_a_file_of_the_layout_before_keeps_its_messages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        steps = {number: step for number, step in sqlite_files._migrations("messages").items() if number <= 6}
        before.setattr(sqlite_files, "_migrations", lambda _: steps)
        old = open_database(path, "messages")
    one, who = message(), record("c")
    values = (1, one.topic, one.payload, 1, 0, pack(PROPERTIES), 1e9, "sensor")
    waiting = (7, 1, 5, 1, 1, 0, "", "")
    old.execute("INSERT INTO session VALUES (1, 'c', ?, ?)", (pack(who), row_checksum((1, "c", pack(who)))))
    old.execute(f"INSERT INTO message VALUES ({'?, ' * 8}?)", (*values, row_checksum(values)))
    columns = "sequence, session, tag, message, qos, is_retained, identifiers, share, checksum"
    old.execute(f"INSERT INTO delivery ({columns}) VALUES ({'?, ' * 8}?)", (*waiting, row_checksum(waiting)))
    old.close()
    db = MessagesDb(path)
    assert db.load() == [StoredSession(who, (), (Delivery(one, 1, False, (), 5, is_repeated=True),))]
    db.settle("c", 5)
    db.close()
    assert (rows(path, "message"), rows(path, "delivery")) == (0, 0)


def test_sharing_survives_a_restart(db: HeldDb, path: Path) -> None:
    one = message()
    for client_id in ("c1", "c2"):
        db.save_session(record(client_id))
        db.enqueue(client_id, 1, one, 1, False, ())
    db.close()
    again = MessagesDb(path)
    first, second = again.load()
    assert first.deliveries[0].message is second.deliveries[0].message
    again.settle("c1", 1)
    again.flush()
    assert (rows(path, "message"), rows(path, "delivery")) == (1, 1)
    again.settle("c2", 1)
    again.flush()
    assert (rows(path, "message"), rows(path, "delivery")) == (0, 0)
    again.close()


def test_equal_messages_that_are_not_the_same_are_two(db: HeldDb, path: Path) -> None:
    db.save_session(record("c"))
    db.enqueue("c", 1, message(), 1, False, ())
    db.enqueue("c", 2, message(), 1, False, ())
    db.settle("c", 1)
    (found,) = reopened(db, path)
    assert deliveries_of(found) == [(2, b"21.5")]


def test_what_is_settled_before_the_commit_never_reaches_the_disk(db: HeldDb, path: Path) -> None:
    db.save_session(record("c"))
    db.flush()
    db.may_commit.clear()
    db.has_taken.clear()
    db.remember_incoming("c", 1)
    assert db.has_taken.wait(10)
    db.enqueue("c", 1, message(), 1, False, ())
    assert db._committer.batch.deliveries
    db.settle("c", 1)
    assert (db._committer.batch.messages, db._committer.batch.deliveries) == ({}, {})
    (found,) = reopened(db, path)
    assert found.deliveries == ()


def held(path: Path) -> tuple[HeldDb, list[int]]:
    """Give a store with the sessions c1 and c2 whose worker stands before the disk, and the commits that it reports."""
    reported: list[int] = []
    db = HeldDb(path, on_committed=reported.append)
    for client_id in ("c1", "c2"):
        db.save_session(record(client_id))
    db.flush()
    reported.clear()
    db.may_commit.clear()
    return db, reported


def test_a_message_that_all_its_receivers_have_is_acknowledged_without_the_disk(path: Path) -> None:
    db, reported = held(path)
    one = message()
    numbers = {db.enqueue(client_id, 1, one, 1, False, ()) for client_id in ("c1", "c2")}
    db.settle("c1", 1)
    assert reported == []
    db.settle("c2", 1)
    assert set(reported) == numbers
    db.close()


def test_a_message_that_one_receiver_lacks_waits_for_the_disk(path: Path) -> None:
    db, reported = held(path)
    number = db.enqueue("c1", 1, message(), 1, False, ())
    db.enqueue("c2", 1, message(), 1, False, ())
    db.settle("c2", 1)
    assert (reported, db.committed < number) == ([], True)
    db.close()
    assert number in reported


def test_a_message_that_moves_to_another_session_still_waits_for_the_disk(path: Path) -> None:
    db, reported = held(path)
    one = message()
    db.has_taken.clear()
    db.enqueue("c1", 1, one, 1, False, ())
    assert db.has_taken.wait(10)
    db.enqueue("c2", 1, one, 1, False, ())  # as a share hands it over, in a later commit
    db.settle("c1", 1)
    db.settle("c2", 1)
    assert reported == []
    db.close()
    assert len(reported) == 2


def test_the_end_of_a_session_spares_no_commit(path: Path) -> None:
    db, reported = held(path)
    db.has_taken.clear()
    db.enqueue("c1", 1, message(), 1, False, ())
    assert db.has_taken.wait(10)
    db.forget_session("c1")
    assert reported == []
    db.close()


def test_a_tag_used_again_takes_its_new_place_in_line(db: HeldDb, path: Path) -> None:
    db.save_session(record("c"))
    for tag, payload in ((1, b"old"), (2, b"two"), (1, b"new")):
        db.enqueue("c", tag, message(payload), 1, False, ())
    (found,) = reopened(db, path)
    assert deliveries_of(found) == [(2, b"two"), (1, b"new")]


def test_order_goes_on_after_a_restart(db: HeldDb, path: Path) -> None:
    db.save_session(record("c"))
    db.enqueue("c", 9, message(b"first"), 1, False, ())
    db.close()
    again = MessagesDb(path)
    again.enqueue("c", 3, message(b"second"), 1, False, ())
    (found,) = reopened(again, path)
    assert deliveries_of(found) == [(9, b"first"), (3, b"second")]


def test_a_forgotten_session_made_anew_has_nothing_of_the_old(db: HeldDb, path: Path) -> None:
    db.save_session(record("c"))
    db.save_subscription("c", Subscription(TopicFilter("a")))
    db.enqueue("c", 1, message(), 2, False, ())
    db.remember_incoming("c", 1)
    db.forget_session("c")
    db.save_session(record("c", 60.0))
    (found,) = reopened(db, path)
    assert found == StoredSession(record("c", 60.0))


def test_qos_0_is_not_kept(db: HeldDb) -> None:
    db.save_session(record("c"))
    assert db.enqueue("c", 0, message(), 0, False, ()) == 0


def test_writing_for_a_session_that_is_not_stored_is_an_error(db: HeldDb) -> None:
    with pytest.raises(NotFound, match="'c'"):
        db.enqueue("c", 1, message(), 1, False, ())
    with pytest.raises(NotFound):
        db.save_subscription("c", Subscription(TopicFilter("a")))
    with pytest.raises(NotFound):
        db.remember_incoming("c", 1)


def test_dropping_what_is_not_there_needs_no_commit(db: HeldDb) -> None:
    assert [db.settle("c", 1), db.release("c", 1), db.forget_session("c"), db.forget_incoming("c", 1)] == [0] * 4
    assert db.forget_subscription("c", "a") == 0


def test_retained_messages_are_kept_replaced_and_cleared(db: HeldDb) -> None:
    db.keep_retained(message(b"1", "a"))
    db.keep_retained(message(b"2", "b"))
    db.flush()
    db.keep_retained(message(b"3", "a"))
    db.clear_retained("b")
    db.clear_retained("never there")
    db.flush()
    assert db.retained() == [message(b"3", "a")]


def test_a_commit_number_is_reported_when_it_is_durable(path: Path) -> None:
    reported: list[int] = []
    db = MessagesDb(path, on_committed=reported.append)
    number = db.save_session(record("c"))
    db.flush()
    assert db.committed == number == 1
    db.close()
    assert reported == [1]


def test_in_memory_durability_nobody_waits_and_all_is_still_written(path: Path) -> None:
    db = MessagesDb(path, "memory")
    assert db.save_session(record("c")) == 0
    assert db.enqueue("c", 1, message(), 1, False, ()) == 0
    (found,) = reopened(db, path)
    assert deliveries_of(found) == [(1, b"21.5")]


def test_security_events_are_bounded_and_the_trail_stays_sound(path: Path) -> None:
    db = MessagesDb(path, "memory", max_security_events=1000)
    for round in range(4):
        db.save_audit([(float(round), "session.ended", "d", {})] * 1000)
        db.flush()
    db.close()
    connection = open_database(path, "messages", read_only=True)
    verdict = chain.check(connection, chain.SECURITY)
    connection.close()
    assert (verdict.problem, verdict.head.record) == ("", 4002)  # two trims are noted
    assert verdict.records < 3000


def test_what_waits_for_the_disk_is_bounded(path: Path) -> None:
    db = HeldDb(path)
    db.may_commit.clear()
    db.save_session(record("c"))
    assert not db.is_full
    db.enqueue("c", 1, message(b"x" * 34_000_000), 1, False, ())
    assert db.is_full
    db.may_commit.set()
    db.flush()
    assert not db.is_full
    db.close()


@pytest.mark.parametrize(("durability", "level"), [("fsync", 2), ("os", 1), ("memory", 1)])
def test_each_durability_syncs_as_it_says(path: Path, durability: str, level: int) -> None:
    db = MessagesDb(path, durability)  # type: ignore[arg-type]
    assert db._connection.execute("PRAGMA synchronous").fetchone() == (level,)
    db.close()


class Kept:
    """The model: what a store should hold."""

    def __init__(self) -> None:
        self.records: dict[str, SessionRecord] = {}
        self.subscriptions: dict[str, dict[str, Subscription]] = {}
        self.queues: dict[str, dict[int, Delivery]] = {}
        self.released: dict[str, set[int]] = {}
        self.incoming: dict[str, set[int]] = {}
        self.retained: dict[str, Message] = {}

    def copied(self) -> Kept:
        copy = Kept()
        copy.records, copy.retained = dict(self.records), dict(self.retained)
        copy.subscriptions = {name: dict(each) for name, each in self.subscriptions.items()}
        copy.queues = {name: dict(each) for name, each in self.queues.items()}
        copy.released = {name: set(each) for name, each in self.released.items()}
        copy.incoming = {name: set(each) for name, each in self.incoming.items()}
        return copy

    def as_found(self) -> tuple[dict[str, StoredSession], dict[str, Message]]:
        sessions = {
            name: StoredSession(
                record,
                tuple(sorted(self.subscriptions[name].values(), key=lambda one: one.filter)),
                tuple(self.queues[name].values()),
                frozenset(self.released[name]),
                frozenset(self.incoming[name]),
            )
            for name, record in self.records.items()
        }
        return sessions, dict(self.retained)


CLIENTS = st.sampled_from(["c1", "c2", "c3"])
TAGS = st.integers(1, 3)
TOPICS = st.sampled_from(["t", "t/u"])
MESSAGES = st.sampled_from([message(b"1", "t", 1), message(b"2", "t", 2), message(b"3", "t/u", 2)])


class CrashingStore(RuleBasedStateMachine):
    """Random writes, and crashes at random moments: what is found is what some whole commit held, none too old."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        self.kept = Kept()
        self.db = HeldDb(self.folder / "0.db")
        self.history = {0: self.kept.copied()}
        self.save_session("c1", math.inf)
        self.save_session("c2", 1.0)

    def teardown(self) -> None:
        self.crash()
        self.db.close()
        shutil.rmtree(self.folder)

    def note(self, number: int) -> None:
        if number:
            self.history[number] = self.kept.copied()

    @rule(client=CLIENTS, expiry_seconds=st.sampled_from([1.0, math.inf]))
    def save_session(self, client: str, expiry_seconds: float) -> None:
        self.kept.records[client] = record(client, expiry_seconds)
        self.kept.subscriptions.setdefault(client, {})
        self.kept.queues.setdefault(client, {})
        self.kept.released.setdefault(client, set())
        self.kept.incoming.setdefault(client, set())
        self.note(self.db.save_session(record(client, expiry_seconds)))

    @rule(client=CLIENTS)
    def forget_session(self, client: str) -> None:
        self.kept.records.pop(client, None)
        for part in (self.kept.subscriptions, self.kept.queues, self.kept.released, self.kept.incoming):
            part.pop(client, None)
        self.note(self.db.forget_session(client))

    @rule(client=CLIENTS, topic=TOPICS, qos=st.integers(0, 2))
    def subscribe(self, client: str, topic: str, qos: int) -> None:
        if client in self.kept.records:
            subscription = Subscription(TopicFilter(topic), qos)
            self.kept.subscriptions[client][topic] = subscription
            self.note(self.db.save_subscription(client, subscription))

    @rule(client=CLIENTS, topic=TOPICS)
    def unsubscribe(self, client: str, topic: str) -> None:
        self.kept.subscriptions.get(client, {}).pop(topic, None)
        self.note(self.db.forget_subscription(client, topic))

    @rule(one=MESSAGES, tag=TAGS, clients=st.sets(CLIENTS, min_size=1))
    def enqueue(self, one: Message, tag: int, clients: set[str]) -> None:
        for client in sorted(clients & self.kept.records.keys()):
            self.kept.queues[client].pop(tag, None)
            self.kept.released[client].discard(tag)
            self.kept.queues[client][tag] = Delivery(one, one.qos, False, (tag,), tag, is_repeated=True)
            self.note(self.db.enqueue(client, tag, one, one.qos, False, (tag,)))

    @rule(client=CLIENTS, tag=TAGS)
    def release(self, client: str, tag: int) -> None:
        if tag in self.kept.queues.get(client, {}):
            self.kept.released[client].add(tag)
        self.note(self.db.release(client, tag))

    @rule(client=CLIENTS, tag=TAGS)
    def settle(self, client: str, tag: int) -> None:
        self.kept.queues.get(client, {}).pop(tag, None)
        self.kept.released.get(client, set()).discard(tag)
        self.note(self.db.settle(client, tag))

    @rule(client=CLIENTS, tag=TAGS)
    def receive(self, client: str, tag: int) -> None:
        if client in self.kept.records:
            self.kept.incoming[client].add(tag)
            self.note(self.db.remember_incoming(client, tag))

    @rule(client=CLIENTS, tag=TAGS)
    def receive_release(self, client: str, tag: int) -> None:
        self.kept.incoming.get(client, set()).discard(tag)
        self.note(self.db.forget_incoming(client, tag))

    @rule(one=MESSAGES)
    def retain(self, one: Message) -> None:
        self.kept.retained[one.topic] = one
        self.note(self.db.keep_retained(one))

    @rule(topic=TOPICS)
    def clear(self, topic: str) -> None:
        self.kept.retained.pop(topic, None)
        self.note(self.db.clear_retained(topic))

    @rule()
    def stop_or_start_the_disk(self) -> None:
        if self.db.may_commit.is_set():
            self.db.may_commit.clear()
        else:
            self.db.may_commit.set()

    @rule()
    def flush(self) -> None:
        self.db.may_commit.set()
        self.db.flush()
        assert self.db.committed == max(self.history)

    @rule()
    def crash(self) -> None:
        acknowledged = self.db.committed
        self.generation += 1
        path = self.folder / f"{self.generation}.db"
        for suffix in ("", "-wal"):  # as a kill -9 leaves them
            source = self.folder / f"{self.generation - 1}.db{suffix}"
            if source.exists():
                shutil.copy(source, f"{path}{suffix}")
        self.db.close()
        self.db = HeldDb(path)
        found = self._found()
        number = next(
            (number for number in range(acknowledged, max(self.history) + 1) if self._held(number) == found), None
        )
        assert number is not None, f"found {found}, which no commit since {acknowledged} held"
        self.kept = self.history[number]
        self.history = {0: self.kept.copied()}
        assert self._orphans() == 0

    def _held(self, number: int) -> tuple[dict[str, StoredSession], dict[str, Message]]:
        return self.history[number].as_found()

    def _found(self) -> tuple[dict[str, StoredSession], dict[str, Message]]:
        sessions = {session.record.principal.client_id: session for session in self.db.load()}
        return sessions, {one.topic: one for one in self.db.retained()}

    def _orphans(self) -> int:
        queries = (
            "SELECT id FROM message WHERE id NOT IN (SELECT message FROM delivery)",
            "SELECT tag FROM delivery WHERE session NOT IN (SELECT id FROM session)",
            "SELECT filter FROM subscription WHERE session NOT IN (SELECT id FROM session)",
            "SELECT key FROM incoming WHERE key >> 16 NOT IN (SELECT id FROM session)",
        )
        return sum(len(self.db._connection.execute(query).fetchall()) for query in queries)


TestCrashingStore = CrashingStore.TestCase
TestCrashingStore.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
