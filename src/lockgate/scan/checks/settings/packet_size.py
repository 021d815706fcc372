"""Very large packets are taken."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-004",
    title="Very large packets are taken",
    severity=Severity.MEDIUM,
    meaning="Each client can make the hub hold such a packet while it comes in.",
    fix="remove max_packet_bytes from lockgate.toml: its default holds then",
    look=setting(
        "mqtt.max_packet_bytes", lambda settings: settings.mqtt.max_packet_bytes > 16_777_216, "more than 16 MiB"
    ),
)
