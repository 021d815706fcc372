"""Strangers hear what the hub tells of itself."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE


def look(subject: Subject) -> Iterator[Problem]:
    """Subscribe without credentials, at each MQTT door."""
    for door in subject.mqtt_doors():
        if subject.probe().hears_sys(door):
            yield Problem(f"{door} lets strangers subscribe to $SYS", UPGRADE, str(door))


CHECK = Check(
    id="LG-HUB-008",
    title="Strangers hear what the hub tells of itself",
    severity=Severity.MEDIUM,
    meaning="$SYS names versions, loads and numbers of clients.",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    needs_hub=True,
)
