"""0-RTT data is taken."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE


def look(subject: Subject) -> Iterator[Problem]:
    """Look at what the tickets allow."""
    for door in subject.tls_doors():
        if subject.need(subject.probe().served(door).early_data_bytes, "early data"):
            yield Problem(f"{door} gives tickets that allow 0-RTT data", UPGRADE, str(door))


CHECK = Check(
    id="LG-TLS-007",
    title="0-RTT data is taken",
    severity=Severity.HIGH,
    meaning="What a client sends with 0-RTT can be sent again by who recorded it: a switch is thrown twice.",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    reference="RFC 8446 section 8 and appendix E.5",
    needs_hub=True,
)
