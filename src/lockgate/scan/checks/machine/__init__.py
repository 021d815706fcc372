"""Checks of the machine and of what lockgate is made of."""

from __future__ import annotations

from lockgate.scan.checks.machine import (
    audit_trail,
    backup,
    clock,
    clock_sync,
    disk,
    known_flaws,
    old_list,
    pure,
    python_end,
    root_user,
)

CHECKS = (
    root_user.CHECK,
    disk.CHECK,
    clock_sync.CHECK,
    clock.CHECK,
    python_end.CHECK,
    known_flaws.CHECK,
    old_list.CHECK,
    pure.CHECK,
    audit_trail.CHECK,
    backup.CHECK,
)
