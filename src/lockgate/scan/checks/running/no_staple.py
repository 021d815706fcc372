"""No OCSP answer is stapled."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Ask for one, where an office runs to make it."""
    for door in subject.tls_doors():
        if subject.office_user is not None and not subject.probe().served(door).has_staple:
            yield Problem(f"{door} staples none", "lockgate server-cert rotate # makes an answer as well", str(door))


CHECK = Check(
    id="LG-TLS-012",
    title="No OCSP answer is stapled",
    severity=Severity.LOW,
    meaning=(
        "A client that asks whether the hub's certificate was revoked has to ask somebody else, or goes "
        "without. The office makes the answer where it runs."
    ),
    fix="lockgate server-cert rotate makes an answer as well",
    look=look,
    reference="RFC 6066 section 8",
    needs_hub=True,
)
