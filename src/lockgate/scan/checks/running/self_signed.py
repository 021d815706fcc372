"""A certificate that no CA has signed lets a client in."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE


def look(subject: Subject) -> Iterator[Problem]:
    """Show one, at each MQTT door."""
    for door in subject.mqtt_doors():
        if subject.probe().connect(door, None, None, self_signed=True).is_in:
            yield Problem(f"{door} accepts a self-signed client certificate", UPGRADE, str(door))


CHECK = Check(
    id="LG-HUB-006",
    title="A certificate that no CA has signed lets a client in",
    severity=Severity.SEVERE,
    meaning="Whoever can make a key is in.",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    reference="RFC 5280 section 6; MQTT 5.0 section 4.12",
    needs_hub=True,
)
