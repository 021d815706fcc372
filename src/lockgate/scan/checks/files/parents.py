"""A folder above the home that others can write."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find folders on the way to the home that others may write."""
    for each in subject.need(subject.parents, "files"):
        if each.mode & 0o022 and not each.mode & stat.S_ISVTX:
            text = f"other users can write {each.path} ({each.mode:04o}), in which the home lies"
            yield Problem(text, f"chmod go-w {quoted(each.path)}", each.path)


CHECK = Check(
    id="LG-FILE-004",
    title="A folder above the home that others can write",
    severity=Severity.HIGH,
    meaning=(
        "Who may write the folder in which the home lies can move the home away and put another in its place."
        " The sticky bit, as on /tmp, prevents that."
    ),
    fix="chmod go-w FOLDER",
    look=look,
)
