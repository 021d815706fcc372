"""The disk is nearly full."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find less than 5 % or 200 MB free."""
    machine = subject.need(subject.machine, "machine")
    free, whole = subject.need(machine.free_bytes, "disk"), subject.need(machine.disk_bytes, "disk")
    if free < max(200_000_000, min(whole // 20, 5_000_000_000)):
        text = f"{free / 1e6:,.0f} MB of {whole / 1e6:,.0f} MB are free"
        yield Problem(text, f"du -xh {quoted(subject.target)} | sort -h | tail # and make room", subject.target)


CHECK = Check(
    id="LG-HOST-002",
    title="The disk is nearly full",
    severity=Severity.HIGH,
    meaning=(
        "A hub that cannot store acknowledges nothing: devices fill their own memory, then lose messages. The"
        " audit trail stops, too."
    ),
    fix="make room on the disk of the home",
    look=look,
)
