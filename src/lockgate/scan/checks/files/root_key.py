"""The root's private key is on this machine."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find the root's key in the home."""
    for each in subject.need(subject.files, "files"):
        if each.path == f"{subject.target}/ca/root.key":
            fix = "lockgate ca export-root-key FILE # on a medium that you take away, and copy it to a second"
            yield Problem(f"{each.path} is here; only renewing the issuing CA needs it", fix, each.path)


CHECK = Check(
    id="LG-CA-001",
    title="The root's private key is on this machine",
    severity=Severity.MEDIUM,
    meaning=(
        "The root signs nothing in daily use: the issuing CA does. Who gets the root's key can make a hub "
        "that every device believes, and devices cannot be told otherwise. Offline, it cannot be stolen from "
        "here."
    ),
    fix="lockgate ca export-root-key FILE",
    look=look,
    reference="NIST SP 800-57 part 2, section 2.2; CA/Browser Forum Baseline Requirements 6.1.1",
)
