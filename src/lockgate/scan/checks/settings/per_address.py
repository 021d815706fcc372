"""One address may take all connections."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-015",
    title="One address may take all connections",
    severity=Severity.MEDIUM,
    meaning="Nobody else gets in while one address holds them all.",
    fix="remove max_connections_per_address from lockgate.toml: its default holds then",
    look=setting(
        "net.max_connections_per_address",
        lambda settings: settings.net.max_connections_per_address >= settings.net.max_connections,
        "as many as there are",
    ),
)
