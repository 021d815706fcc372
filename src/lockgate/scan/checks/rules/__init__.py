"""Checks of the rules: what reaches further than it should."""

from __future__ import annotations

from lockgate.scan.checks.rules import (
    beyond,
    blocked,
    everyone_publishes,
    everyone_receives,
    hears_all,
    nobody,
    retain,
    shadowed,
    sys,
    unheld,
)

CHECKS = (
    everyone_publishes.CHECK,
    everyone_receives.CHECK,
    beyond.CHECK,
    hears_all.CHECK,
    shadowed.CHECK,
    nobody.CHECK,
    retain.CHECK,
    sys.CHECK,
    blocked.CHECK,
    unheld.CHECK,
)
