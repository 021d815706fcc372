"""Claim tokens in registry.db: what lets a device that nobody has registered register itself, so often and so long.

A token is an identifier and 256 random bits; the file holds the identifier and the SHA-256 of the bits. (A slow hash
would add nothing: nobody can guess 256 bits.) Uses are counted in one statement, so that of two who come for the last
one at the same moment, one gets it, whatever process or thread they come from.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from lockgate.errors import AuthenticationFailed, InvalidSettings, NotFound
from lockgate.events import Event
from lockgate.model.device import check_name
from lockgate.store.registry_db import RegistryDb, RegistryWrite

PREFIX = "lgc"
SECRET_BYTES = 32
IDENTIFIER_BYTES = 5
MAX_USES = 1_000_000
ANY = "*"


class Claim(msgspec.Struct, frozen=True):
    """What one token allows: `pattern` is a name, or one with a * in it for any rest; times are unix seconds."""

    id: str
    pattern: str
    groups: tuple[str, ...]
    created_at: float
    created_by: str
    expires_at: float
    max_uses: int
    uses: int = 0
    is_revoked: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether it is made for one device."""
        return ANY not in self.pattern

    def state(self, now: float) -> str:
        """Give "revoked", "expired", "used up" or "good"."""
        if self.is_revoked:
            return "revoked"
        if self.expires_at <= now:
            return "expired"
        return "used up" if self.uses >= self.max_uses else "good"

    def covers(self, name: str) -> bool:
        """Say whether a device of this name may be made by it."""
        if self.is_exact:
            return name == self.pattern
        head, _, tail = self.pattern.partition(ANY)
        return len(name) > len(head) + len(tail) and name.startswith(head) and name.endswith(tail)


class ClaimUse(msgspec.Struct, frozen=True):
    """One use of a claim."""

    at: float
    device: str
    address: str


def add_claim(
    database: RegistryDb,
    pattern: str,
    *,
    groups: Sequence[str],
    max_uses: int,
    life_seconds: float,
    actor: str,
    now: float,
) -> tuple[Claim, str]:
    """Make a claim; give it with its token, which is told here and never again.

    Raises:
        InvalidSettings: when the pattern, a group, the number of uses or the life cannot be.
    """
    check_pattern(pattern)
    for group in groups:
        check_name(group, "group")
    if not 1 <= max_uses <= MAX_USES:
        raise InvalidSettings(f"a claim has 1 to {MAX_USES} uses, not {max_uses}", fix="--uses 100")
    if life_seconds <= 0:
        raise InvalidSettings("a claim must live for a while", fix="--for 24h")
    identifier, secret = secrets.token_hex(IDENTIFIER_BYTES), secrets.token_bytes(SECRET_BYTES)
    claim = Claim(
        identifier, pattern, tuple(dict.fromkeys(groups)), now, actor, now + life_seconds, max_uses
    )  # fmt: skip
    with database.write() as write:
        write.execute(
            "INSERT INTO claim (id, hash, pattern, groups, created_at, created_by, expires_at, max_uses)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                claim.id, hashlib.sha256(secret).digest(), pattern, msgspec.json.encode(claim.groups).decode(),
                now, actor, claim.expires_at, max_uses,
            ),
        )  # fmt: skip
        details = {"for": pattern, "uses": str(max_uses), "until": _moment(claim.expires_at)}
        if groups:
            details["groups"] = ", ".join(claim.groups)
        write.note_audit(Event.CLAIM_ADDED, f"claim:{claim.id}", actor, now, details)
    return claim, f"{PREFIX}_{identifier}_{secret.hex()}"


def claims(database: RegistryDb) -> list[Claim]:
    """Give all claims, the oldest first."""
    return [_claim(row) for row in database.query(f"{_SELECT} ORDER BY created_at, id")]


def claim_by_id(database: RegistryDb, identifier: str) -> Claim:
    """Find a claim.

    Raises:
        NotFound: when there is none.
    """
    found = next(map(_claim, database.query(f"{_SELECT} WHERE id = ?", (identifier,))), None)
    if found is None:
        raise NotFound(f"there is no claim {identifier}", fix="lockgate claim list shows the claims")
    return found


def uses_of(database: RegistryDb, identifier: str) -> list[ClaimUse]:
    """Give what a claim was used for, the oldest first."""
    query = "SELECT at, device, address FROM claim_use WHERE claim = ? ORDER BY sequence"
    return [ClaimUse(*row) for row in database.query(query, (identifier,))]


def revoke_claim(database: RegistryDb, identifier: str, *, actor: str, now: float) -> bool:
    """Make a claim worthless from now on; say whether it was not so before. The devices that it made stay.

    Raises:
        NotFound: when there is none.
    """
    claim_by_id(database, identifier)
    with database.write() as write:
        query = "UPDATE claim SET is_revoked = 1 WHERE id = ? AND NOT is_revoked"
        is_new = write.execute(query, (identifier,)).rowcount > 0
        if is_new:
            write.note_audit(Event.CLAIM_REVOKED, f"claim:{identifier}", actor, now)
    return is_new


def prove(database: RegistryDb, token: str) -> Claim:
    """Give the claim that a token proves, whatever its state.

    Raises:
        AuthenticationFailed: the token proves none. What was wrong with it is not told.
    """
    kind, _, rest = token.strip().partition("_")
    identifier, _, secret_hex = rest.partition("_")
    try:
        secret = bytes.fromhex(secret_hex)
    except ValueError:
        secret = b""
    rows = list(database.query("SELECT hash FROM claim WHERE id = ?", (identifier,)))
    known = rows[0][0] if rows else bytes(SECRET_BYTES)
    is_same = hmac.compare_digest(hashlib.sha256(secret).digest(), known)
    if kind != PREFIX or not rows or not is_same:
        raise AuthenticationFailed(
            "the claim token is none of this hub's",
            reason="wrong claim token",
            fix="make one with: lockgate claim add --name-pattern NAME",
        )
    return claim_by_id(database, identifier)


def spend(database: RegistryDb, identifier: str, device: str, address: str, now: float) -> int:
    """Take one use of a claim for a device; give its number, by which `give_back` undoes it.

    Raises:
        AuthenticationFailed: it is revoked, expired or used up: also when somebody else was faster.
    """
    with database.write() as write:
        taken = write.execute(
            "UPDATE claim SET uses = uses + 1 WHERE id = ? AND uses < max_uses AND expires_at > ? AND NOT is_revoked",
            (identifier, now),
        ).rowcount
        if taken:
            done = write.execute(
                "INSERT INTO claim_use (claim, at, device, address) VALUES (?, ?, ?, ?)",
                (identifier, now, device, address),
            )
            details = {"claim": identifier, "address": address}
            write.note_audit(Event.CLAIM_USED, device, f"claim {identifier}", now, details)
            return int(done.lastrowid or 0)
    raise refusal(claim_by_id(database, identifier), now)


def check_stands(write: RegistryWrite, identifier: str) -> None:
    """Come back unless a claim was revoked since it was spent: with its device, or by itself.

    Raises:
        AuthenticationFailed: it was.
    """
    if write.execute("SELECT 1 FROM claim WHERE id = ? AND NOT is_revoked", (identifier,)).fetchone() is None:
        raise AuthenticationFailed(
            f"the claim {identifier} was revoked while it was used", reason="claim token revoked",
            fix="make another with: lockgate claim add --name-pattern NAME", evidence={"claim": identifier},
        )  # fmt: skip


def give_back(database: RegistryDb, identifier: str, number: int) -> None:
    """Undo a use from which nothing came."""
    with database.write() as write:
        if write.execute("DELETE FROM claim_use WHERE sequence = ? AND claim = ?", (number, identifier)).rowcount:
            write.execute("UPDATE claim SET uses = uses - 1 WHERE id = ?", (identifier,))


def has_made(database: RegistryDb, identifier: str, device: str) -> bool:
    """Say whether a claim was used for this device."""
    query = "SELECT 1 FROM claim_use WHERE claim = ? AND device = ? LIMIT 1"
    return next(database.query(query, (identifier, device)), None) is not None


def refusal(claim: Claim, now: float) -> AuthenticationFailed:
    """Give the error that says why a claim allows nothing more."""
    state = claim.state(now)
    state = "used up" if state == "good" else state  # it was good a moment ago
    words = {
        "revoked": "was revoked",
        "expired": f"expired on {_moment(claim.expires_at)}",
        "used up": f"was used {claim.max_uses} times, and may be no more",
    }
    return AuthenticationFailed(
        f"the claim {claim.id} {words[state]}",
        reason=f"claim token {state}",
        fix=f"make another: lockgate claim add --name-pattern '{claim.pattern}'",
        evidence={"claim": claim.id, "until": _moment(claim.expires_at), "uses": f"{claim.uses} of {claim.max_uses}"},
    )


def check_pattern(text: str) -> str:
    """Give back `text` when it may say which devices a claim makes: a name, or one with one * in it.

    Raises:
        InvalidSettings: when it may not.
    """
    fix = "write a name like gateway-7, or a pattern like 'sensor-*'"
    if text.count(ANY) > 1:
        raise InvalidSettings(f"the pattern {text!r} has more than one *", fix=fix)
    try:
        check_name(text.replace(ANY, "x"))
    except InvalidSettings as error:
        raise InvalidSettings(f"{text!r} is no pattern for names: {error}", fix=fix) from error
    return text


_SELECT = "SELECT id, pattern, groups, created_at, created_by, expires_at, max_uses, uses, is_revoked FROM claim"


def _claim(row: Sequence[Any]) -> Claim:
    identifier, pattern, groups, created_at, created_by, expires_at, max_uses, uses, is_revoked = row
    names = tuple(msgspec.json.decode(groups, type=list[str]))
    return Claim(
        identifier, pattern, names, created_at, created_by, expires_at, max_uses, uses, bool(is_revoked)
    )  # fmt: skip


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
