"""The server certificate ends soon."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import DAY_SECONDS, SOON_DAYS, day


def look(subject: Subject) -> Iterator[Problem]:
    """Find an end within the next 30 days."""
    end = subject.need(subject.server, "server").chain[0].not_valid_after_utc.timestamp()
    if subject.now <= end < subject.now + SOON_DAYS * DAY_SECONDS:
        yield Problem(f"it ends on {day(end)}", "lockgate server-cert rotate")


CHECK = Check(
    id="LG-CERT-002",
    title="The server certificate ends soon",
    severity=Severity.MEDIUM,
    meaning="It ends within 30 days. A running hub takes up a new one by itself, so there is no reason to wait.",
    fix="lockgate server-cert rotate",
    look=look,
)
