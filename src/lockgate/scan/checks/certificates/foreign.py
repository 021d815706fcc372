"""Foreign authorities are trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import day


def look(subject: Subject) -> Iterator[Problem]:
    """List them; one that has ended is worth more than a note."""
    for each in subject.need(subject.foreign, "foreign authorities"):
        name = each.chain[0].subject.rfc4514_string()
        end = each.chain[0].not_valid_after_utc.timestamp()
        ended = f", which ended on {day(end)}" if end < subject.now else ""
        identifier = PurePosixPath(each.path).stem
        yield Problem(f"{name}{ended}", f"lockgate ca untrust {identifier}", each.path, Severity.LOW if ended else None)


CHECK = Check(
    id="LG-CERT-012",
    title="Foreign authorities are trusted",
    severity=Severity.INFO,
    meaning=(
        "Their certificates open a door for devices whose keys are registered here, and for nobody else. Each"
        " is one more place that can be broken into."
    ),
    fix="lockgate ca untrust ID",
    look=look,
)
