"""The hot rooms are not compiled."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Look at how the rooms were loaded."""
    if not subject.need(subject.machine, "machine").is_compiled:
        yield Problem(
            "the hub runs as pure Python",
            "install a C compiler (gcc), then lockgate again; pip install -v says why it was not compiled",
        )


CHECK = Check(
    id="LG-HOST-008",
    title="The hot rooms are not compiled",
    severity=Severity.INFO,
    meaning="Pure Python works, and does about half as much. It is no danger, but a flood is felt earlier.",
    fix="install a C compiler, then lockgate again; with pip install -v it says why it was not compiled",
    look=look,
)
