"""The process that speaks to devices can read the issuing CA's key."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the owner of the key with the user of the running gate."""
    files = subject.need(subject.files, "files")
    gate = subject.need(subject.hub_user, "doors")
    key = next((f for f in files if f.path == f"{subject.target}/ca/issuing.key"), None)
    if key is None or (key.owner != gate and gate != 0):
        return
    apart = subject.office_user is not None and subject.office_user != gate
    fix = f"chown {subject.office_user} {quoted(key.path)}" if apart else "run gate and office as two users"
    text = f"the gate (user {gate}) can read {key.path}"
    yield Problem(text, fix, key.path, None if apart else Severity.INFO)


CHECK = Check(
    id="LG-CA-002",
    title="The process that speaks to devices can read the issuing CA's key",
    severity=Severity.HIGH,
    meaning=(
        "The gate parses what strangers send. If it is broken into, a key that it can read is gone, and with "
        "it the meaning of every certificate. Run gate and office as two users. Where one user runs both, "
        "this is only noted."
    ),
    fix="chown OFFICE_USER HOME/ca/issuing.key",
    look=look,
    needs_hub=True,
)
