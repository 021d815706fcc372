"""Symbolic links in the home."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find symbolic links."""
    for each in subject.need(subject.files, "files"):
        if each.is_link:
            path = quoted(each.path)
            fix = f'cp -a --remove-destination "$(readlink -f {path})" {path}'
            yield Problem(f"{each.path} is a symbolic link", fix, each.path)


CHECK = Check(
    id="LG-FILE-003",
    title="Symbolic links in the home",
    severity=Severity.MEDIUM,
    meaning=(
        "A link leads out of the folder whose rights protect the keys; what it points to may be read, swapped"
        " or missing."
    ),
    fix="put the file itself in place of the link",
    look=look,
)
