"""Clients without credentials are let in."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE


def look(subject: Subject) -> Iterator[Problem]:
    """Connect without user name, password and certificate."""
    for door in subject.mqtt_doors():
        if subject.probe().connect(door, None, None).is_in:
            yield Problem(f"{door} lets clients in without credentials", UPGRADE, str(door))


CHECK = Check(
    id="LG-HUB-003",
    title="Clients without credentials are let in",
    severity=Severity.SEVERE,
    meaning="Whoever reaches the port is in.",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    needs_hub=True,
)
