"""Files of the home that others can reach."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import named, quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find what anybody but the owner may read, write or enter."""
    found = [f for f in subject.need(subject.files, "files") if not f.is_link and f.mode & 0o077]
    if found:
        text = f"open to other users: {named(f'{f.path} ({f.mode:04o})' for f in found)}"
        yield Problem(text, f"chmod -R go= {quoted(subject.target)}", found[0].path)


CHECK = Check(
    id="LG-FILE-001",
    title="Files of the home that others can reach",
    severity=Severity.SEVERE,
    meaning=(
        "The home holds the keys of the certificate authority and of the hub, password hashes and all rules. "
        "Whoever can read it can issue certificates; whoever can write it decides who gets in."
    ),
    fix="chmod -R go= HOME",
    look=look,
)
