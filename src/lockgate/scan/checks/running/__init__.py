"""Checks of the running hub: what its doors do with clients that ought to be refused."""

from __future__ import annotations

from lockgate.scan.checks.running import (
    anonymous,
    default_password,
    downgrade,
    early_data,
    lab_door,
    no_staple,
    not_aead,
    old_tls,
    plain_on_tls,
    plaintext,
    renegotiation,
    rsa_transport,
    self_signed,
    served_chain,
    static_dh,
    strangers_hear,
    tls13,
    verifies,
    weak_suites,
    wrong_password,
)

CHECKS = (
    lab_door.CHECK,
    plaintext.CHECK,
    old_tls.CHECK,
    not_aead.CHECK,
    rsa_transport.CHECK,
    static_dh.CHECK,
    weak_suites.CHECK,
    renegotiation.CHECK,
    early_data.CHECK,
    downgrade.CHECK,
    served_chain.CHECK,
    verifies.CHECK,
    tls13.CHECK,
    anonymous.CHECK,
    wrong_password.CHECK,
    default_password.CHECK,
    self_signed.CHECK,
    plain_on_tls.CHECK,
    strangers_hear.CHECK,
    no_staple.CHECK,
)
