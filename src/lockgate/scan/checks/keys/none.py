"""Devices that cannot prove who they are."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.credentials import live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import named


def look(subject: Subject) -> Iterator[Problem]:
    """Find devices without a live credential."""
    able = {credential.device for credential in live(subject)}
    lost = [d.name for d in subject.need(subject.devices, "registry") if d.name not in able and not d.is_shut_out]
    if lost:
        text = f"{named(lost)}: no credential is left"
        yield Problem(text, f"lockgate device remove {' '.join(lost)}", lost[0])


CHECK = Check(
    id="LG-KEY-007",
    title="Devices that cannot prove who they are",
    severity=Severity.LOW,
    meaning=(
        "All their credentials are revoked or expired. Either they are gone and should be removed, or they "
        "are waiting for a new key."
    ),
    fix="lockgate device remove NAME",
    look=look,
)
