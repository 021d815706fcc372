"""A lock-out is over at once."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-008",
    title="A lock-out is over at once",
    severity=Severity.MEDIUM,
    meaning="Where devices have passwords, guessing them must be slow.",
    fix="remove lockout_seconds from lockgate.toml: its default holds then",
    look=setting("identity.lockout_seconds", lambda settings: settings.identity.lockout_seconds < 10, "less than 10 s"),
)
