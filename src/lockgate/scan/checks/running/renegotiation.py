"""Clients may renegotiate."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE


def look(subject: Subject) -> Iterator[Problem]:
    """Try it at each door with TLS."""
    for door in subject.tls_doors():
        if subject.probe().renegotiates(door):
            yield Problem(f"{door} lets a client renegotiate", UPGRADE, str(door))


CHECK = Check(
    id="LG-TLS-006",
    title="Clients may renegotiate",
    severity=Severity.HIGH,
    meaning=(
        "A second handshake inside the first has been used to inject data, and costs the hub much more than the client."
    ),
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    reference="RFC 9325 section 3.5; RFC 5746",
    needs_hub=True,
)
