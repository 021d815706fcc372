"""Tokens may live very long."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-010",
    title="Tokens may live very long",
    severity=Severity.MEDIUM,
    meaning="Who steals a token has the device for that long; with short ones, stealing it pays little.",
    fix="remove jwt_max_lifetime_hours from lockgate.toml: its default holds then",
    look=setting(
        "identity.jwt_max_lifetime_hours",
        lambda settings: settings.identity.jwt_max_lifetime_hours > 168,
        "more than a week",
    ),
)
