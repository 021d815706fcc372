"""The list of known flaws is old."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.vulnerabilities import VULNERABILITIES
from lockgate.scan.words import DAY_SECONDS, day


def look(subject: Subject) -> Iterator[Problem]:
    """Find a list of more than half a year."""
    if subject.now > VULNERABILITIES.made_at + 183 * DAY_SECONDS:
        text = f"it was made on {day(VULNERABILITIES.made_at)}"
        yield Problem(text, "install a newer lockgate, or ask pip-audit")


CHECK = Check(
    id="LG-HOST-007",
    title="The list of known flaws is old",
    severity=Severity.LOW,
    meaning=(
        "It comes with lockgate. Flaws found since are not in it, so that passing LG-HOST-006 says less and less."
    ),
    fix="python -m pip install --upgrade lockgate; pip-audit",
    look=look,
)
