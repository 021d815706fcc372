"""The clock is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.vulnerabilities import VULNERABILITIES
from lockgate.scan.words import DAY_SECONDS, day


def look(subject: Subject) -> Iterator[Problem]:
    """Compare now with what is known to have happened."""
    events = {"the list of known flaws was made": VULNERABILITIES.made_at}
    if subject.root is not None:
        events["the root certificate was made"] = subject.root.chain[0].not_valid_before_utc.timestamp()
    for event, at in events.items():
        if subject.now < at - DAY_SECONDS:
            yield Problem(f"it says {day(subject.now)}, but {event} on {day(at)}", "timedatectl set-ntp true")


CHECK = Check(
    id="LG-HOST-004",
    title="The clock is wrong",
    severity=Severity.SEVERE,
    meaning=(
        "Now is before something that has happened already: certificates and tokens cannot be judged by such a clock."
    ),
    fix="timedatectl set-ntp true",
    look=look,
)
