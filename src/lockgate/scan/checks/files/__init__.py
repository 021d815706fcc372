"""Checks of the home's files: who can reach the keys."""

from __future__ import annotations

from lockgate.scan.checks.files import (
    device_keys,
    issuing_key,
    links,
    modes,
    owners,
    parents,
    root_key,
)

CHECKS = (
    modes.CHECK,
    owners.CHECK,
    links.CHECK,
    parents.CHECK,
    device_keys.CHECK,
    root_key.CHECK,
    issuing_key.CHECK,
)
