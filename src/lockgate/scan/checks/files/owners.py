"""Files of the home that belong to another user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import named, quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find what does not belong to the owner of the home itself; in a home of two users, the gate has files there."""
    files = subject.need(subject.files, "files")
    home = next((f for f in files if f.path == subject.target), None)
    allowed = {home.owner} if home is not None else set()
    if home is not None and home.mode & 0o2070 == 0o2070:
        allowed |= {f.owner for f in files if PurePath(f.path).name == "messages.db"}
    found = [f for f in files if home is not None and f.owner not in allowed]
    if home is not None and found:
        text = f"not owned by the owner of the home (user {home.owner}): {named(f.path for f in found)}"
        yield Problem(text, f"chown -hR {home.owner} {quoted(subject.target)}", found[0].path)


CHECK = Check(
    id="LG-FILE-002",
    title="Files of the home that belong to another user",
    severity=Severity.HIGH,
    meaning=(
        "The home belongs to one user. A file in it that belongs to somebody else can be changed by them, "
        "whatever its mode says, and the hub may not be able to write it."
    ),
    fix="chown -R OWNER HOME",
    look=look,
)
