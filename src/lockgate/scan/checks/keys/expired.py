"""Expired credentials are still registered."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import named


def look(subject: Subject) -> Iterator[Problem]:
    """Find credentials that ended and were not revoked."""
    found = [
        c.device
        for device in subject.need(subject.devices, "registry")
        for c in device.credentials
        if not c.is_revoked and c.expires_at is not None and c.expires_at <= subject.now
    ]
    if found:
        text = f"{len(found)} have ended: of {named(dict.fromkeys(found))}"
        yield Problem(text, f"lockgate device show {found[0]}", found[0])


CHECK = Check(
    id="LG-KEY-006",
    title="Expired credentials are still registered",
    severity=Severity.INFO,
    meaning="They open nothing, but they hide in a list what counts.",
    fix="lockgate device show NAME",
    look=look,
)
