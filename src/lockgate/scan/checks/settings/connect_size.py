"""Strangers may send very large packets."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-005",
    title="Strangers may send very large packets",
    severity=Severity.MEDIUM,
    meaning="A CONNECT comes from somebody who has proven nothing yet: its will is the only large thing in it.",
    fix="remove max_connect_bytes from lockgate.toml: its default holds then",
    look=setting(
        "mqtt.max_connect_bytes", lambda settings: settings.mqtt.max_connect_bytes > 1_048_576, "more than 1 MiB"
    ),
)
