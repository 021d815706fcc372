"""A client can be talked down to an older TLS."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE


def look(subject: Subject) -> Iterator[Problem]:
    """Say in a TLS 1.2 handshake that it is a fallback."""
    for door in subject.tls_doors():
        if subject.probe().served(door).takes_fallback:
            yield Problem(f"{door} takes a fallback to TLS 1.2 though it speaks 1.3", UPGRADE, str(door))


CHECK = Check(
    id="LG-TLS-008",
    title="A client can be talked down to an older TLS",
    severity=Severity.HIGH,
    meaning=(
        "Who stands between can break handshakes until both sides agree on an older version. The fallback "
        "signal stops that."
    ),
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    reference="RFC 7507; RFC 8446 section 4.1.3",
    needs_hub=True,
)
