"""Checks of lockgate.toml: what was switched off or opened wide."""

from __future__ import annotations

from lockgate.scan.checks.settings import (
    audience,
    byte_rate,
    connect_size,
    durability,
    handshake_rate,
    jwt_lifetime,
    jwt_skew,
    lockout,
    lockout_time,
    log_level,
    message_rate,
    origins,
    packet_size,
    per_address,
    refusals,
    sys_interval,
)

CHECKS = (
    message_rate.CHECK,
    byte_rate.CHECK,
    handshake_rate.CHECK,
    packet_size.CHECK,
    connect_size.CHECK,
    durability.CHECK,
    lockout.CHECK,
    lockout_time.CHECK,
    jwt_skew.CHECK,
    jwt_lifetime.CHECK,
    log_level.CHECK,
    origins.CHECK,
    refusals.CHECK,
    per_address.CHECK,
    sys_interval.CHECK,
    audience.CHECK,
)
