"""A door without TLS is open to the network."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Door, Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find doors without TLS beyond loopback."""
    for door in subject.need(subject.doors, "doors"):
        if not door.is_tls and not door.is_dtls and not door.is_loopback and not _takes_oscore_alone(door, subject):
            what = "set coap.nosec_enabled = false" if door.name == "coap" else "close it"
            yield Problem(f"{door} is open without TLS", f"{what} in {quoted(subject.settings_path)}", str(door))


def _takes_oscore_alone(door: Door, subject: Subject) -> bool:
    """Say whether a door takes no message but those that are protected each by itself."""
    return door.name == "coap" and subject.settings is not None and not subject.settings.coap.nosec_enabled


CHECK = Check(
    id="LG-HUB-002",
    title="A door without TLS is open to the network",
    severity=Severity.SEVERE,
    meaning="Everybody on the way reads and changes what goes through it, passwords and tokens included.",
    fix="close it: no door but the lab's is without TLS",
    look=look,
    needs_hub=True,
)
