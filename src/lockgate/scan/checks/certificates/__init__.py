"""Checks of the hub's own certificates."""

from __future__ import annotations

from lockgate.scan.checks.certificates import (
    ca_expired,
    ca_expiring,
    foreign,
    long_life,
    loopback_only,
    names_missing,
    server_chain,
    server_expired,
    server_expiring,
    server_key,
    server_weak,
    stale_crl,
)

CHECKS = (
    server_expired.CHECK,
    server_expiring.CHECK,
    server_key.CHECK,
    loopback_only.CHECK,
    names_missing.CHECK,
    server_weak.CHECK,
    server_chain.CHECK,
    ca_expired.CHECK,
    ca_expiring.CHECK,
    long_life.CHECK,
    stale_crl.CHECK,
    foreign.CHECK,
)
