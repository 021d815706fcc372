"""The server certificate is not valid now."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import day


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the certificate's times with now."""
    leaf = subject.need(subject.server, "server").chain[0]
    if not leaf.not_valid_before_utc.timestamp() <= subject.now <= leaf.not_valid_after_utc.timestamp():
        start, end = day(leaf.not_valid_before_utc.timestamp()), day(leaf.not_valid_after_utc.timestamp())
        yield Problem(f"it is valid from {start} to {end}, now is {day(subject.now)}", "lockgate server-cert rotate")


CHECK = Check(
    id="LG-CERT-001",
    title="The server certificate is not valid now",
    severity=Severity.SEVERE,
    meaning=(
        "No device that checks whom it speaks to can connect, and people will be tempted to switch the check off."
    ),
    fix="lockgate server-cert rotate",
    look=look,
    reference="RFC 5280 section 4.1.2.5",
)
