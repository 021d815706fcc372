"""TLS handshakes are not limited."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-003",
    title="TLS handshakes are not limited",
    severity=Severity.MEDIUM,
    meaning="A handshake costs the hub far more than the client: one address can keep it busy with nothing else.",
    fix="remove max_handshakes_per_second_per_address from lockgate.toml: its default holds then",
    look=setting(
        "net.max_handshakes_per_second_per_address",
        lambda settings: not settings.net.max_handshakes_per_second_per_address,
        "no limit",
    ),
)
