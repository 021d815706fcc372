"""Two devices have the same key."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.credentials import live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import named


def look(subject: Subject) -> Iterator[Problem]:
    """Find keys that stand under two names."""
    owners: dict[str, set[str]] = {}
    for credential in live(subject):
        if credential.thumbprint:
            owners.setdefault(credential.thumbprint, set()).add(credential.device)
    for thumbprint, devices in sorted(owners.items()):
        if len(devices) > 1:
            names = sorted(devices)
            text = f"{named(names)} have the key {thumbprint[:16]}"
            yield Problem(text, f"lockgate device revoke {' '.join(names)}", names[0])


CHECK = Check(
    id="LG-KEY-002",
    title="Two devices have the same key",
    severity=Severity.SEVERE,
    meaning=("Each can be the other, and one stolen device is two. It happens when an image is copied with its key."),
    fix="lockgate device revoke NAME, and a new key for each",
    look=look,
)
