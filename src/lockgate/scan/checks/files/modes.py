"""Files of the home that others can reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import FileFacts, Subject
from lockgate.scan.words import named, quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find what anybody but the owner may read, write or enter: or, in a home of two users, but their group."""
    files = subject.need(subject.files, "files")
    is_shared = bool(files) and files[0].mode & 0o2070 == 0o2070
    found = [f for f in files if not f.is_link and f.mode & (0o007 if is_shared and not _is_ca_key(f) else 0o077)]
    if found:
        text = f"open to other users: {named(f'{f.path} ({f.mode:04o})' for f in found)}"
        yield Problem(text, f"chmod -R go= {quoted(subject.target)}", found[0].path)


def _is_ca_key(file: FileFacts) -> bool:
    path = PurePath(file.path)
    return path.suffix == ".key" and "ca" in path.parts[-3:-1]


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
