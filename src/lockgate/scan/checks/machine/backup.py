"""There is no recent backup."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import DAY_SECONDS, day

BACKUP_DAYS = 30


def look(subject: Subject) -> Iterator[Problem]:
    """Find a home of more than 30 days that was not backed up in the last 30."""
    if subject.root is None:
        made_at = 0.0
    else:
        made_at = subject.root.chain[0].not_valid_before_utc.timestamp()
    latest = subject.need(subject.backed_up_at, "registry")
    if max(latest, made_at) < subject.now - BACKUP_DAYS * DAY_SECONDS:
        text = f"the last one was made on {day(latest)}" if latest else "none was ever made"
        yield Problem(text, "lockgate backup FILE")


CHECK = Check(
    id="LG-AUDIT-002",
    title="There is no recent backup",
    severity=Severity.LOW,
    meaning=(
        "The home holds the authority that all devices trust: lost with its disk, every device must be "
        "visited. A backup is noted in the audit trail."
    ),
    fix="lockgate backup FILE",
    look=look,
)
