"""A library with a known flaw."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.vulnerabilities import VULNERABILITIES
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the versions that run with the list."""
    machine = subject.need(subject.machine, "machine")
    for flaw in VULNERABILITIES.flaws:
        versions = machine.openssl if flaw.package == "openssl" else [machine.packages.get(flaw.package, "")]
        for version in filter(None, versions):
            if flaw.concerns(version):
                text = f"{flaw.package} {version}: {flaw.id}, {flaw.summary} (mended in {flaw.fixed})"
                upgrade = f"{quoted(machine.python_program)} -m pip install --upgrade"
                fix = f"{upgrade} '{flaw.package}>={flaw.fixed}'"
                if flaw.package == "openssl":
                    fix = f"{upgrade} cryptography # and the system's packages"
                yield Problem(text, fix, flaw.package)


CHECK = Check(
    id="LG-HOST-006",
    title="A library with a known flaw",
    severity=Severity.HIGH,
    meaning=(
        "The flaw is public, and so is how to use it. The list comes with lockgate and is as old as its date "
        "says: pip-audit knows more."
    ),
    fix="python -m pip install --upgrade PACKAGE",
    look=look,
)
