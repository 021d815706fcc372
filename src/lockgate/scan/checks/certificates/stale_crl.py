"""The revocation list is out of date."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import day


def look(subject: Subject) -> Iterator[Problem]:
    """Compare each list's next update with now."""
    for each in subject.need(subject.revocation_lists, "revocation lists"):
        end = each.next_update_utc
        if end is not None and end.timestamp() < subject.now:
            issuer = each.issuer.rfc4514_string()
            yield Problem(f"the list of {issuer} ended on {day(end.timestamp())}", "lockgate ca crl", issuer)


CHECK = Check(
    id="LG-CERT-011",
    title="The revocation list is out of date",
    severity=Severity.HIGH,
    meaning=(
        "A list past its next update says nothing of what was revoked since; strict clients refuse everybody "
        "then. The office makes a new one in time, where it runs."
    ),
    fix="lockgate ca crl",
    look=look,
    reference="RFC 5280 section 5.1.2.5",
)
