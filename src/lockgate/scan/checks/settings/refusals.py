"""Few refusals are remembered."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-014",
    title="Few refusals are remembered",
    severity=Severity.LOW,
    meaning="lockgate why can tell nothing of what was pushed out.",
    fix="remove max_remembered_refusals from lockgate.toml: its default holds then",
    look=setting(
        "log.max_remembered_refusals", lambda settings: settings.log.max_remembered_refusals < 100, "fewer than 100"
    ),
)
