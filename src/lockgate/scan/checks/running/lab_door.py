"""The lab door is open."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find doors without TLS on loopback."""
    for door in subject.need(subject.doors, "doors"):
        if door.name == "mqtt" and not door.is_tls and door.is_loopback:
            yield Problem(
                f"{door} is open, without encryption and without identity",
                "start the hub without --lab-port",
                str(door),
            )


CHECK = Check(
    id="LG-HUB-001",
    title="The lab door is open",
    severity=Severity.SEVERE,
    meaning=(
        "It asks nobody who they are and lets them do everything. On this machine only, but every program of "
        "every user here is in."
    ),
    fix="start the hub without --lab-port",
    look=look,
    needs_hub=True,
)
