"""A rule about nobody."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the subjects of rules with devices and groups."""
    devices = subject.need(subject.devices, "registry")
    known = {f"device:{device.name}" for device in devices}
    known |= {f"group:{group}" for device in devices for group in device.groups}
    for rule in subject.need(subject.rules, "registry"):
        if rule.subject.startswith(("device:", "group:")) and rule.subject not in known:
            yield Problem(str(rule), f"lockgate policy remove {rule.id}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-006",
    title="A rule about nobody",
    severity=Severity.LOW,
    meaning=(
        "It is about a device that does not exist, or a group without members. Who takes that name next inherits it."
    ),
    fix="lockgate policy remove NUMBER",
    look=look,
)
