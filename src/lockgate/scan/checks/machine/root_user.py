"""The hub runs as root."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Look at the user of the running hub, or else of the home's owner."""
    files = subject.need(subject.files, "files")
    owner = next((f.owner for f in files if f.path == subject.target), None)
    if subject.hub_user == 0 or (subject.hub_user is None and owner == 0):
        who = "the hub runs as root" if subject.hub_user == 0 else "the home belongs to root"
        fix = f"useradd --system lockgate; chown -R lockgate {quoted(subject.target)}"
        fix += "; lockgate service install --user lockgate"
        yield Problem(who, fix)


CHECK = Check(
    id="LG-HOST-001",
    title="The hub runs as root",
    severity=Severity.HIGH,
    meaning=("A flaw in the hub is then a flaw in the whole machine. It needs no right that an ordinary user lacks."),
    fix="lockgate service install --user USER",
    look=look,
)
