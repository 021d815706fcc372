"""Python is no longer maintained."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.vulnerabilities import NEWEST_PYTHON, PYTHON_ENDS


def look(subject: Subject) -> Iterator[Problem]:
    """Compare with the ends that Python's developers published."""
    version = subject.need(subject.machine, "machine").python
    end = PYTHON_ENDS.get(version)
    if version < min(PYTHON_ENDS) or (end is not None and subject.now > end):
        words = ".".join(map(str, version))
        yield Problem(
            f"this is Python {words}", f"install Python {NEWEST_PYTHON}, make a new environment, and lockgate in it"
        )


CHECK = Check(
    id="LG-HOST-005",
    title="Python is no longer maintained",
    severity=Severity.HIGH,
    meaning="Flaws found in this version are not mended any more.",
    fix="install a maintained Python, and lockgate with it",
    look=look,
    reference="https://devguide.python.org/versions/",
)
