"""The hub tells nothing of itself."""

from __future__ import annotations

from lockgate.scan.finding import Check, Severity
from lockgate.scan.words import setting

CHECK = Check(
    id="LG-SET-016",
    title="The hub tells nothing of itself",
    severity=Severity.INFO,
    meaning="Nobody who watches sees a hub that fills up.",
    fix="remove sys_interval_seconds from lockgate.toml: its default holds then",
    look=setting("hub.sys_interval_seconds", lambda settings: not settings.hub.sys_interval_seconds, "$SYS is silent"),
)
