"""Passwords may be guessed often."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-007",
    title="Passwords may be guessed often",
    severity=Severity.MEDIUM,
    meaning="Where devices have passwords, guessing them must be slow.",
    fix="remove wrong_passwords_before_lockout from lockgate.toml: its default holds then",
    look=setting(
        "identity.wrong_passwords_before_lockout",
        lambda settings: settings.identity.wrong_passwords_before_lockout > 100,
        "more than 100 tries before a lock-out",
    ),
)
