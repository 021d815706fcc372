"""Refusals are not logged."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-012",
    title="Refusals are not logged",
    severity=Severity.MEDIUM,
    meaning=("An attack is a series of refusals. What is not told to the journal is seen by nobody while it goes on."),
    fix="remove level from lockgate.toml: its default holds then",
    look=setting("log.level", lambda settings: settings.log.level == "error", "refusals are warnings"),
)
