"""A device may send as many messages as it can."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-001",
    title="A device may send as many messages as it can",
    severity=Severity.HIGH,
    meaning="One device that runs wild, or is stolen, can take all of the hub.",
    fix="remove max_messages_per_second from lockgate.toml: its default holds then",
    look=setting("hub.max_messages_per_second", lambda settings: not settings.hub.max_messages_per_second, "no limit"),
)
