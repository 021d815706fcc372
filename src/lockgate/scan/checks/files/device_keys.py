"""Private keys of devices in the home."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find folders of devices, as `device add` makes them, that were left in the home."""
    for each in subject.need(subject.files, "files"):
        folder, _, name = each.path.rpartition("/")
        if name == "device.json":
            fix = f"mv {quoted(folder)} SOMEWHERE_ELSE"
            yield Problem(f"{folder} holds a device's credentials", fix, folder)


CHECK = Check(
    id="LG-FILE-005",
    title="Private keys of devices in the home",
    severity=Severity.MEDIUM,
    meaning=(
        "The private key of a device belongs into the device. The hub never needs it; a copy in the home is a"
        " second place to steal it from, and ends up in backups."
    ),
    fix="move the device's folder to the device",
    look=look,
)
