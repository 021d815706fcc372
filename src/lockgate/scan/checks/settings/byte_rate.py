"""A device may send as many bytes as it can."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-002",
    title="A device may send as many bytes as it can",
    severity=Severity.HIGH,
    meaning="One device that runs wild, or is stolen, can take all of the network and the hub's memory.",
    fix="remove max_bytes_per_second from lockgate.toml: its default holds then",
    look=setting("hub.max_bytes_per_second", lambda settings: not settings.hub.max_bytes_per_second, "no limit"),
)
