"""The audit trail of a home: administrative acts and security events as one story, and whether it is whole.

Two chains hold it: `audit` in registry.db (the command line and the office write it) and `security_event` in
messages.db (the gate writes it). Each now and then notes where the other stood (an anchor), so that whoever cuts or
rewrites one of them has to rewrite the other as well, and to do it before somebody outside knows a later hash.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec

from lockgate.events import Event
from lockgate.store import chain
from lockgate.store.chain import AUDIT, SECURITY, Head, Ledger, Record, Verdict
from lockgate.store.sqlite import open_database, translated

ANCHOR_SUBJECT = "audit trail"


class Whole(msgspec.Struct, frozen=True):
    """What looking the whole trail over gave; `problems` is empty when nothing is wrong."""

    chains: tuple[Verdict, ...]
    problems: tuple[str, ...]


class Trail:
    """Both chains of a home, open for reading; use it in a `with` block.

    Args:
        registry_path: registry.db.
        messages_path: messages.db; it may be missing, when a hub never ran.
    """

    def __init__(self, registry_path: Path, messages_path: Path) -> None:
        self._open = ExitStack()
        self._chains: dict[str, tuple[sqlite3.Connection, Ledger]] = {}
        self._paths = {AUDIT.table: registry_path, SECURITY.table: messages_path}
        for family, path, ledger in (("registry", registry_path, AUDIT), ("messages", messages_path, SECURITY)):
            if path.exists() or ledger is AUDIT:
                connection = open_database(path, family, read_only=True, check="none")
                self._open.enter_context(closing(connection))
                self._chains[ledger.table] = connection, ledger

    def __enter__(self) -> Trail:
        """Give itself; leaving the block closes both files."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close both files."""
        self._open.close()

    def heads(self) -> dict[str, Head]:
        """Give where each chain ends, by its name."""
        found = {}
        for name, (connection, ledger) in self._chains.items():
            with translated(self._paths[name]):
                found[name] = chain.read_head(connection, ledger)
        return found

    def records(self, since: float = 0.0, until: float = float("inf"), device: str | None = None) -> Iterator[Record]:
        """Give the records of both chains between two moments (unix seconds) in the order of time, or one device's."""
        stories = [chain.records(connection, ledger, since, until) for connection, ledger in self._chains.values()]
        merged = heapq.merge(*stories, key=lambda record: record.at)
        return merged if device is None else (record for record in merged if is_about(record, device))

    def verify(self, known: Sequence[str] = ()) -> Whole:
        """Compute every hash anew, and compare what the chains know of each other.

        Args:
            known: hashes that somebody kept elsewhere: each must be the hash of a record that is still there.
        """
        verdicts, problems = [], []
        with ExitStack() as both:
            for name, (connection, _) in self._chains.items():  # one moment for each, while others write
                both.enter_context(translated(self._paths[name]))
                connection.execute("BEGIN")
            for connection, ledger in self._chains.values():
                verdict = chain.check(connection, ledger)
                verdicts.append(verdict)
                if verdict.problem:
                    problems.append(f"{self._paths[ledger.table].name}: {verdict.problem}")
            problems += [problem for verdict in verdicts for problem in self._check_anchors(verdict)]
            problems += [problem for text in known for problem in self._check_known(text.strip().lower())]
            for connection, _ in self._chains.values():
                connection.execute("COMMIT")
        return Whole(tuple(verdicts), tuple(problems))

    def _check_anchors(self, verdict: Verdict) -> Iterator[str]:
        """Compare what the sound part of a chain noted of the other with what that holds now."""
        connection, ledger = self._chains[verdict.trail]
        end = float("inf") if verdict.bad_record is None else verdict.bad_record
        anchors = [
            record
            for record in chain.records(connection, ledger)
            if record.event == Event.AUDIT_ANCHORED and record.sequence < end
        ]
        here = self._paths[verdict.trail].name
        for record in anchors:
            facts = record.details
            other = facts.get("chain", "")
            file = self._paths[other].name if other in self._paths else "a file that lockgate does not know"
            problem = self._differs(facts, is_last=record is anchors[-1])
            if problem:
                yield f"{file}: {problem}; record {record.sequence} in {here} knew better"
                return

    def _differs(self, facts: dict[str, str], is_last: bool) -> str:
        found = self._chains.get(facts.get("chain", ""))
        number = int(facts.get("record", "0"))
        if found is None:
            return "it is missing"
        connection, ledger = found
        head = chain.read_head(connection, ledger)
        if head.origin != facts.get("origin"):
            # Whoever set a file aside says so by an anchor to the new one: `lockgate audit anchor`.
            return "it is another file than it was (if you put it there: lockgate audit anchor)" if is_last else ""
        if number <= head.trimmed:
            return ""
        stands = chain.hash_of(connection, ledger, number) if number else chain.first_hash(ledger.table, head.origin)
        if stands is None:
            return f"record {number} is missing"
        return "" if stands == facts.get("hash") else f"record {number} is not what was written there"

    def _check_known(self, text: str) -> Iterator[str]:
        heads = {chain.first_hash(ledger.table, chain.read_head(c, ledger).origin) for c, ledger in self._found()}
        bases = {chain.read_head(c, ledger).base for c, ledger in self._found()}
        if text not in heads | bases and all(chain.number_of(c, ledger, text) is None for c, ledger in self._found()):
            yield f"no record has the hash {text}: what was there when you noted it was rewritten, cut off or trimmed"

    def _found(self) -> Iterable[tuple[sqlite3.Connection, Ledger]]:
        return self._chains.values()


def anchor(name: str, head: Head) -> dict[str, str]:
    """Give the details of an anchor: where the chain `name` stands."""
    return {"chain": name, "origin": head.origin, "record": str(head.record), "hash": head.hash}


def is_about(record: Record, device: str) -> bool:
    """Say whether a record is about a device: its subject, or named in its details."""
    if record.subject in (device, f"device:{device}"):
        return True
    return device in record.details.values()


def as_line(record: Record) -> dict[str, Any]:
    """Give a record for an incident report: readable, with all that somebody needs to compute its hash anew."""
    return {
        "chain": record.trail,
        "record": record.sequence,
        "at": record.at,
        "actor": record.actor,
        "event": record.event,
        "subject": record.subject,
        "details": record.details,
        "hashed": record.texts,
        "previous": record.previous,
        "hash": record.hash,
    }
