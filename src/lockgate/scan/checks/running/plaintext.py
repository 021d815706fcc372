"""A door without TLS is open to the network."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find doors without TLS beyond loopback."""
    for door in subject.need(subject.doors, "doors"):
        if not door.is_tls and not door.is_loopback:
            yield Problem(f"{door} is open without TLS", f"close it in {quoted(subject.settings_path)}", str(door))


CHECK = Check(
    id="LG-HUB-002",
    title="A door without TLS is open to the network",
    severity=Severity.SEVERE,
    meaning="Everybody on the way reads and changes what goes through it, passwords and tokens included.",
    fix="close it: no door but the lab's is without TLS",
    look=look,
    needs_hub=True,
)
