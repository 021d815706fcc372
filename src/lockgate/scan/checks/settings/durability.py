"""What is acknowledged is not stored."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-006",
    title="What is acknowledged is not stored",
    severity=Severity.MEDIUM,
    meaning="A device that got its acknowledgement has forgotten the message; the hub may lose it, too.",
    fix="remove durability from lockgate.toml: its default holds then",
    look=setting(
        "store.durability",
        lambda settings: settings.store.durability == "memory",
        "messages and sessions are lost with the power",
    ),
)
