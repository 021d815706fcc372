"""The audit trail of a home: two chains that vouch for each other."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from lockgate.events import Event
from lockgate.registry.trail import ANCHOR_SUBJECT, Trail, Whole, anchor, as_line
from lockgate.store import chain
from lockgate.store.chain import AUDIT, SECURITY
from lockgate.store.messages_db import MessagesDb
from lockgate.store.registry_db import RegistryDb


class TwoFiles:
    """registry.db and messages.db as a hub and its people write them."""

    def __init__(self, folder: Path) -> None:
        self.registry, self.messages = folder / "registry.db", folder / "messages.db"
        self.now = 0.0

    def acts(self, *devices: str) -> None:
        for device in devices:
            self.now += 1
            with RegistryDb(self.registry) as database, database.write() as write:
                write.note_audit(Event.DEVICE_BLOCKED, device, "anna", self.now)

    def sees(self, *devices: str) -> None:
        events = []
        for device in devices:
            self.now += 1
            events.append((self.now, str(Event.SESSION_ENDED), "hub", {"device": device}))
        self._save(events)

    def gate_anchors(self) -> None:
        with RegistryDb(self.registry, read_only=True) as database:
            details = anchor(AUDIT.table, database.audit_head())
        self._save([(self.now, str(Event.AUDIT_ANCHORED), ANCHOR_SUBJECT, details)])

    def people_anchor(self) -> None:
        with self.trail() as trail:
            details = anchor(SECURITY.table, trail.heads()[SECURITY.table])
        with RegistryDb(self.registry) as database, database.write() as write:
            write.note_audit(Event.AUDIT_ANCHORED, ANCHOR_SUBJECT, "anna", self.now, details)

    def forge(self, path: Path, *statements: str) -> None:
        connection = sqlite3.connect(path)
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def cut(self, table: str, head: str, path: Path, last: int) -> None:
        """Cut a tail off as somebody does who knows the chain: the head is set back as well."""
        self.forge(
            path,
            f"DELETE FROM {table} WHERE sequence > {last}",
            f"UPDATE {head} SET record = {last}, hash = (SELECT hash FROM {table} WHERE sequence = {last})",
        )

    def trail(self) -> Trail:
        return Trail(self.registry, self.messages)

    def verify(self, *known: str) -> Whole:
        with self.trail() as trail:
            return trail.verify(known)

    def _save(self, events: list[tuple[float, str, str, dict[str, str]]]) -> None:
        store = MessagesDb(self.messages, "memory")
        store.save_audit(events)
        store.close()


@pytest.fixture
def files(tmp_path: Path) -> TwoFiles:
    files = TwoFiles(tmp_path)
    files.acts("a", "b")
    files.sees("a")
    files.gate_anchors()
    files.people_anchor()
    files.acts("c")
    files.sees("b")
    return files


def test_a_trail_that_nobody_touched_is_whole(files: TwoFiles) -> None:
    whole = files.verify()
    assert whole.problems == ()
    assert [(v.trail, v.records) for v in whole.chains] == [("audit", 4), ("security_event", 3)]


def test_a_home_whose_hub_never_ran_has_one_chain(tmp_path: Path) -> None:
    files = TwoFiles(tmp_path)
    files.acts("a")
    assert files.verify().problems == ()
    with files.trail() as trail:
        assert set(trail.heads()) == {"audit"}


def test_both_chains_are_one_story_in_the_order_of_time(files: TwoFiles) -> None:
    with files.trail() as trail:
        story = [(r.trail, r.at) for r in trail.records()]
        about_a = [(r.trail, r.subject) for r in trail.records(device="a")]
        late = [r.at for r in trail.records(since=4.0, until=5.0)]
    assert story == sorted(story, key=lambda line: line[1])
    assert len(story) == 7
    assert about_a == [("audit", "a"), ("security_event", "hub")]
    assert late == [4.0]


def test_a_tail_cut_off_with_its_head_is_known_to_the_other_chain(files: TwoFiles) -> None:
    files.cut("audit", "audit_chain", files.registry, 1)
    assert "registry.db: record 2 is missing; record 2 in messages.db knew better" in files.verify().problems


def test_the_security_events_are_known_to_the_audit_trail_as_well(files: TwoFiles) -> None:
    files.cut("security_event", "security_chain", files.messages, 1)
    assert any("messages.db: record 2 is missing" in problem for problem in files.verify().problems)


def test_a_chain_written_anew_is_known_to_the_other(files: TwoFiles) -> None:
    files.forge(files.registry, "DELETE FROM audit", "UPDATE audit_chain SET record = 0, hash = ''")
    files.acts("x", "y", "z", "u")
    (problem,) = files.verify().problems
    assert "record 2 is not what was written there" in problem


def test_a_database_put_in_the_place_of_another_is_found_until_somebody_says_so(
    files: TwoFiles, tmp_path: Path
) -> None:
    shutil.move(files.messages, tmp_path / "aside.db")
    assert "messages.db: it is missing" in files.verify().problems[0]
    files.sees("d")
    assert "another file than it was" in files.verify().problems[0]
    files.people_anchor()
    assert files.verify().problems == ()


def test_a_trimmed_record_is_not_missed(files: TwoFiles) -> None:
    files._save([(9.0, "session.ended", "d", {})] * 2000)
    connection = sqlite3.connect(files.messages)
    with connection:
        assert chain.trim(connection, SECURITY, 10, 9.0)
    connection.close()
    assert files.verify().problems == ()


def test_hashes_kept_elsewhere_are_looked_for(files: TwoFiles) -> None:
    with files.trail() as trail:
        heads = [head.hash for head in trail.heads().values()]
    files.acts("later")
    assert files.verify(*heads).problems == ()
    assert files.verify(heads[0].upper() + " ").problems == ()
    (problem,) = files.verify("f" * 64).problems
    assert "no record has the hash ffff" in problem


def test_the_anchors_of_a_broken_part_count_for_nothing(files: TwoFiles) -> None:
    files.forge(files.messages, "UPDATE security_event SET details = '{}' WHERE sequence = 2")
    assert files.verify().problems[0] == "messages.db: record 2 is not what was written there"


def test_a_line_of_the_export_can_be_verified_by_others(files: TwoFiles) -> None:
    with files.trail() as trail:
        lines = [as_line(record) for record in trail.records()]
    for line in lines:
        texts = [line["previous"], *line["hashed"]]
        written = "".join(f"{len(text.encode())}:{text}" for text in texts)
        assert hashlib.sha256(written.encode()).hexdigest() == line["hash"]
    assert lines[0]["details"] == {}
    assert (lines[0]["actor"], lines[0]["event"], lines[0]["subject"]) == ("anna", "device.blocked", "a")
