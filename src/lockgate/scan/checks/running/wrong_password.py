"""A made-up password is accepted."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE


def look(subject: Subject) -> Iterator[Problem]:
    """Connect with a name and a password that nobody has."""
    for door in subject.mqtt_doors():
        if subject.probe().connect(door, "lockgate-scan-nobody", secrets.token_urlsafe(16)).is_in:
            yield Problem(f"{door} accepts a made-up name and password", UPGRADE, str(door))


CHECK = Check(
    id="LG-HUB-004",
    title="A made-up password is accepted",
    severity=Severity.SEVERE,
    meaning="Names and passwords are not checked: whoever reaches the port is in.",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    needs_hub=True,
)
