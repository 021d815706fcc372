"""Checks of the devices' credentials."""

from __future__ import annotations

from lockgate.scan.checks.keys import (
    expired,
    expiring,
    factors,
    hub_key,
    never_connected,
    no_protection,
    none,
    passwords,
    shared,
    shared_secrets,
    too_many,
    weak,
)

CHECKS = (
    weak.CHECK,
    shared.CHECK,
    factors.CHECK,
    hub_key.CHECK,
    expiring.CHECK,
    expired.CHECK,
    none.CHECK,
    never_connected.CHECK,
    passwords.CHECK,
    too_many.CHECK,
    no_protection.CHECK,
    shared_secrets.CHECK,
)
