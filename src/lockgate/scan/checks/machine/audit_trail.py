"""The audit trail is not whole."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Compute every hash anew."""
    for problem in subject.need(subject.verify_audit, "audit")():
        yield Problem(problem, "lockgate audit verify # then keep the files as evidence, and restore a backup", problem)


CHECK = Check(
    id="LG-AUDIT-001",
    title="The audit trail is not whole",
    severity=Severity.SEVERE,
    meaning=(
        "A record was changed or is missing: somebody wrote to the databases by other means than lockgate, or"
        " they are damaged."
    ),
    fix="keep the files as evidence, restore a backup",
    look=look,
)
