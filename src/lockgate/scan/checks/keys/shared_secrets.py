"""A secret that a device shares with the hub is weak, or not its own, or lost."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.credentials import live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Open every one of them, as the gate does for a handshake."""
    examine = subject.need(subject.examine_secrets, "shared secrets")
    for device, text in examine(tuple(live(subject))):
        yield Problem(text, f"lockgate device revoke {device}", device)


CHECK = Check(
    id="LG-KEY-012",
    title="A secret that a device shares with the hub is weak, not its own, or lost",
    severity=Severity.SEVERE,
    meaning=(
        "Who overhears one handshake can try keys at home: a short one, or one that follows a pattern, is found. A key "
        "that two devices have makes them one. A secret that cannot be opened lets nobody in. The registry refuses "
        "such keys when they come; one that is there was put there by other means."
    ),
    fix="lockgate device revoke NAME, then lockgate device rotate NAME --auth psk --out DIR",
    look=look,
    reference="RFC 4279 section 7.2",
)
