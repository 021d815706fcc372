"""Devices that prove themselves by a password."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.device import CredentialKind
from lockgate.scan.credentials import live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import named


def look(subject: Subject) -> Iterator[Problem]:
    """Find devices with passwords."""
    kinds = (CredentialKind.PASSWORD, CredentialKind.SCRAM_SHA_256)
    found = dict.fromkeys(c.device for c in live(subject) if c.kind in kinds)
    if found:
        text = f"{len(found)} of them: {named(found)}"
        yield Problem(text, "give them keys: lockgate device add NAME --auth x509 --out DIR", next(iter(found)))


CHECK = Check(
    id="LG-KEY-009",
    title="Devices that prove themselves by a password",
    severity=Severity.LOW,
    meaning=(
        "A password goes to the hub at each connect (not with SCRAM) and can be guessed or shared; a key "
        "never leaves the device."
    ),
    fix="lockgate device add NAME --auth x509",
    look=look,
)
