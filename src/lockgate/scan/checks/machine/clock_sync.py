"""The clock is not synchronised."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Ask the kernel."""
    if not subject.need(subject.need(subject.machine, "machine").clock_synchronised, "clock"):
        yield Problem("the kernel calls it unsynchronised", "timedatectl set-ntp true")


CHECK = Check(
    id="LG-HOST-003",
    title="The clock is not synchronised",
    severity=Severity.MEDIUM,
    meaning=(
        "Certificates and tokens are judged by this machine's clock: one that drifts refuses good devices and"
        " accepts ended credentials."
    ),
    fix="timedatectl set-ntp true",
    look=look,
    reference="RFC 5280 section 6.1; adjtimex(2)",
)
