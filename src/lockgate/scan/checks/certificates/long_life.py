"""The server certificate lives very long."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject

MAX_DAYS = 825


def look(subject: Subject) -> Iterator[Problem]:
    """Find a life of more than 825 days."""
    leaf = subject.need(subject.server, "server").chain[0]
    days = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days
    if days > MAX_DAYS:
        yield Problem(f"it lives {days} days", "lockgate server-cert rotate")


CHECK = Check(
    id="LG-CERT-010",
    title="The server certificate lives very long",
    severity=Severity.LOW,
    meaning=(
        "A stolen key is good as long as its certificate is: 825 days are the most that clients of the web "
        "ever accepted, and renewing costs nothing here."
    ),
    fix="lockgate server-cert rotate",
    look=look,
)
