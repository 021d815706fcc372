"""Tokens are good long after their end."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-009",
    title="Tokens are good long after their end",
    severity=Severity.MEDIUM,
    meaning="A token that was overheard or copied can be used that much longer.",
    fix="remove jwt_clock_skew_seconds from lockgate.toml: its default holds then",
    look=setting(
        "identity.jwt_clock_skew_seconds",
        lambda settings: settings.identity.jwt_clock_skew_seconds > 600,
        "more than 10 min",
    ),
)
