"""All checks, by what they look at. A new one is a file, and a line in its folder's list."""

from __future__ import annotations

from lockgate.scan.checks import certificates, files, keys, machine, rules, running, settings

ALL_CHECKS = (
    *files.CHECKS,
    *certificates.CHECKS,
    *keys.CHECKS,
    *rules.CHECKS,
    *settings.CHECKS,
    *machine.CHECKS,
    *running.CHECKS,
)
