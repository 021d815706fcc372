"""Devices that never connected."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Seen, Subject
from lockgate.scan.words import DAY_SECONDS, named

NEVER = Seen()
UNUSED_DAYS = 90


def look(subject: Subject) -> Iterator[Problem]:
    """Find devices of more than 90 days that were never seen."""
    seen = subject.need(subject.seen, "seen")
    oldest = subject.now - UNUSED_DAYS * DAY_SECONDS
    devices = [d for d in subject.need(subject.devices, "registry") if d.created_at < oldest and not d.is_shut_out]
    never = [d.name for d in devices if seen.get(d.name, NEVER).connected_at is None]
    if never:
        yield Problem(f"{named(never)}", f"lockgate device block {' '.join(never)}", never[0])


CHECK = Check(
    id="LG-KEY-008",
    title="Devices that never connected",
    severity=Severity.LOW,
    meaning=(
        "Added more than 90 days ago and never seen: a credential that nobody uses is one that nobody misses "
        "when it is stolen."
    ),
    fix="lockgate device remove NAME",
    look=look,
)
