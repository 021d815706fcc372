"""The certificates that our CA issued, as registry.db keeps them: nothing is handed out that is not written here.

Revoking or removing a credential or a device revokes its certificates in the same transaction: triggers of the database
see to it, whoever writes. Who knows a better reason than theirs revokes first, by `revoke_of_device`.

Source: RFC 5280 section 5.3.1 (reasons), 5.2.3 (the number of a list).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgspec

from lockgate.errors import Conflict
from lockgate.store.registry_db import RegistryDb, RegistryWrite

SERVER = "server"
AUTHORITY = "authority"


class Reason(IntEnum):
    """Why a certificate was revoked (CRLReason)."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    PRIVILEGE_WITHDRAWN = 9


class IssuedCertificate(msgspec.Struct, frozen=True):
    """One certificate of our CA.

    `issuer` and `thumbprint` are the SHA-256 of the issuer's and of the own SubjectPublicKeyInfo, in hex; `subject` is
    "device:NAME", "server" or "authority"; times are unix seconds; `reason` means something once `revoked_at` is set.
    """

    issuer: str
    serial: int
    subject: str
    thumbprint: str
    pem: str
    issued_at: float
    expires_at: float
    revoked_at: float | None = None
    reason: int = 0

    def state(self, now: float) -> str:
        """Give "revoked", "expired" or "valid"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= now else "valid"


class ListFacts(msgspec.Struct, frozen=True):
    """The latest revocation list of one issuer: its number, when it was made and when the next one is due."""

    number: int
    made_at: float
    next_update: float


# Reading


def certificates(database: RegistryDb, subject: str | None = None) -> list[IssuedCertificate]:
    """Give all certificates, or those of one subject, the oldest first."""
    if subject is None:
        rows = database.query(f"{_SELECT} ORDER BY issued_at, serial")
    else:
        rows = database.query(f"{_SELECT} WHERE subject = ? ORDER BY issued_at, serial", (subject,))
    return [_issued(row) for row in rows]


def certificate(database: RegistryDb, issuer: str, serial: int) -> IssuedCertificate | None:
    """Find a certificate by its issuer's key and its number."""
    rows = database.query(f"{_SELECT} WHERE issuer = ? AND serial = ?", (issuer, _hex(serial)))
    return next(map(_issued, rows), None)


def revoked_by(database: RegistryDb, issuer: str, expires_after: float) -> list[IssuedCertificate]:
    """Give the revoked certificates of an issuer that end after a moment."""
    query = f"{_SELECT} WHERE issuer = ? AND revoked_at IS NOT NULL AND expires_at > ? ORDER BY revoked_at, serial"
    return [_issued(row) for row in database.query(query, (issuer, expires_after))]


def counts(database: RegistryDb, now: float) -> dict[tuple[str, str], int]:
    """Count the certificates of devices by issuer and state ("valid", "expired", "revoked")."""
    query = (
        "SELECT issuer, CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= ? THEN 'expired' "
        "ELSE 'valid' END, count(*) FROM certificate WHERE subject LIKE 'device:%' GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return {(issuer, state): number for issuer, state, number in database.query(query, (now,))}


def latest_list(database: RegistryDb, issuer: str) -> ListFacts | None:
    """Tell of the latest revocation list of an issuer, None before the first."""
    query = "SELECT number, made_at, next_update FROM revocation_list WHERE issuer = ?"
    return next((ListFacts(*row) for row in database.query(query, (issuer,))), None)


def has_unlisted(database: RegistryDb, issuer: str | None = None) -> bool:
    """Say whether certificates (of one issuer) were revoked that no written list names."""
    query = "SELECT 1 FROM certificate WHERE issuer = coalesce(?, issuer) AND revoked_at IS NOT NULL AND NOT is_listed"
    return next(database.query(f"{query} LIMIT 1", (issuer,)), None) is not None


# Writing: in the caller's transaction


def record(write: RegistryWrite, issued: IssuedCertificate) -> None:
    """Write down a certificate before it is handed out.

    Raises:
        Conflict: its issuer gave that number to another one.
    """
    known = write.execute(
        "SELECT pem FROM certificate WHERE issuer = ? AND serial = ?", (issued.issuer, _hex(issued.serial))
    ).fetchone()
    if known is not None:
        if known[0] != issued.pem:
            raise Conflict("two certificates of one issuer have the same number", fix="issue it again")
        return
    write.execute(
        "INSERT INTO certificate (issuer, serial, subject, thumbprint, pem, issued_at, expires_at, revoked_at, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            issued.issuer, _hex(issued.serial), issued.subject, issued.thumbprint, issued.pem,
            issued.issued_at, issued.expires_at, issued.revoked_at, int(issued.reason),
        ),
    )  # fmt: skip


def revoke_of_device(
    write: RegistryWrite, device: str, reason: Reason, now: float, thumbprints: Sequence[str] | None = None
) -> int:
    """Revoke a device's certificates, or those over the keys `thumbprints`; give how many were good before."""
    query = "UPDATE certificate SET revoked_at = ?, reason = ? WHERE subject = ? AND revoked_at IS NULL"
    values: tuple[Any, ...] = (now, int(reason), f"device:{device}")
    if thumbprints is not None:
        query += " AND thumbprint IN (SELECT value FROM json_each(?))"
        values = (*values, msgspec.json.encode(thumbprints).decode())
    return write.execute(query, values).rowcount


def revoke_certificate(write: RegistryWrite, issuer: str, serial: int, reason: Reason, now: float) -> bool:
    """Revoke one certificate; say whether it was good before."""
    query = "UPDATE certificate SET revoked_at = ?, reason = ? WHERE issuer = ? AND serial = ? AND revoked_at IS NULL"
    return write.execute(query, (now, int(reason), issuer, _hex(serial))).rowcount > 0


def begin_list(write: RegistryWrite, issuer: str, now: float, next_update: float) -> int:
    """Give the number of the issuer's next revocation list; all that is revoked now counts as named in it."""
    write.execute(
        "INSERT INTO revocation_list VALUES (?, 1, ?, ?) ON CONFLICT (issuer) DO UPDATE"
        " SET number = number + 1, made_at = excluded.made_at, next_update = excluded.next_update",
        (issuer, now, next_update),
    )
    write.execute(
        "UPDATE certificate SET is_listed = 1 WHERE issuer = ? AND revoked_at IS NOT NULL AND NOT is_listed", (issuer,)
    )
    row = write.execute("SELECT number FROM revocation_list WHERE issuer = ?", (issuer,)).fetchone()
    return int(row[0])


_SELECT = "SELECT issuer, serial, subject, thumbprint, pem, issued_at, expires_at, revoked_at, reason FROM certificate"


def _issued(row: Sequence[Any]) -> IssuedCertificate:
    return IssuedCertificate(row[0], int(row[1], 16), *row[2:])


def _hex(serial: int) -> str:
    return f"{serial:x}"
