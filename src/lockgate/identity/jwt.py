"""Identity by JWT: a token that the device signs with its own key, shown in the password field.

The algorithm is pinned by the registered key, never chosen by the token: `none`, and HS256 keyed with a public key,
fail here. Source: RFC 7519, RFC 8725 (best practice), and the rules of Google's IoT Core for lifetime and skew.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from lockgate.errors import AuthenticationFailed
from lockgate.identity.credentials import DeviceSource
from lockgate.model.device import Credential, CredentialKind
from lockgate.settings import IdentitySettings

if TYPE_CHECKING:
    from lockgate.identity.signatures import Key

MAX_TOKEN_BYTES = 8192
MAX_REMEMBERED_KEYS = 20_000
LAST_SECOND = 253_402_300_799
"""The end of the year 9999; a number beyond it is no time in seconds."""

CLOCK_NEVER_SET = 1_577_836_800.0
"""The beginning of 2020: a clock before it counts from when its board was powered, or its firmware built."""
HALF_HOUR = 1800.0
MAX_ZONE_HALVES = 28
ZONE_TOLERANCE_SECONDS = 120.0
CLOCK_SHIFT = "clock shift, if the token is fresh"
"""The name in the evidence of how far a device's clock is ahead (+) or behind (-), in seconds."""

_ALGORITHMS = {
    CredentialKind.JWT_ES256: ("ES256",),
    CredentialKind.JWT_RS256: ("RS256",),
    # RFC 8037 section 3.1 names the family, RFC 9864 section 2.2 the curve; by a registered Ed25519 key both are one.
    CredentialKind.JWT_EDDSA: ("EdDSA", "Ed25519"),
}


def looks_like_token(secret: bytes) -> bool:
    """Say whether a secret has the shape of a JWT in compact form (RFC 7519 section 3) rather than of a password."""
    return secret.startswith(b"eyJ") and secret.count(b".") == 2


class TokenVerifier:
    """Checks tokens against the keys that the registry holds for a device."""

    def __init__(self, devices: DeviceSource, settings: IdentitySettings) -> None:
        self._devices = devices
        self._settings = settings
        self._keys: dict[str, Key] = {}

    def verify(self, client_id: str, token: bytes, now: float) -> tuple[Credential, float]:
        """Give the credential whose key signed the token, and the unix second at which the session must end.

        Raises:
            AuthenticationFailed: with the check that failed as its reason.
        """
        if len(token) > MAX_TOKEN_BYTES:
            text = f"a token has at most {MAX_TOKEN_BYTES} bytes, this one {len(token)}"
            raise _refused("token too large", text, "leave claims out that this hub does not need")
        algorithm, claimed = _unverified(token)
        # With an empty client id the token's subject says whose keys to try; the signature then decides.
        name = client_id.partition("/")[0] or str(claimed.get("sub", ""))
        device = self._devices.device(name)
        keys = [c for c in device.credentials if c.kind in _ALGORITHMS] if device is not None else []
        if not keys:
            raise _refused(
                "no key for this token",
                f"no device {name!r} with a key for tokens is registered",
                fix="use the device's name as the client id; lockgate device list shows the names and their keys",
            )
        fitting = [c for c in keys if algorithm in _ALGORITHMS[c.kind]]
        if not fitting:
            wanted = " or ".join(sorted({_ALGORITHMS[c.kind][0] for c in keys}))
            raise _refused(
                "token algorithm not allowed",
                f"the key of {name} is for {wanted}, the token says {algorithm!r}",
                fix=f"sign the token with {wanted}",
            )
        credential, claims = self._check_signature(name, fitting, token)
        return credential, self._check_claims(name, claims, now)

    def _check_signature(self, name: str, keys: list[Credential], token: bytes) -> tuple[Credential, dict[str, Any]]:
        from lockgate.identity.signatures import signed_claims  # by the first token: a start does not wait for it

        # A live key is tried before a revoked one, so that an old key's refusal never hides a new key's proof.
        for credential in sorted(keys, key=lambda c: c.is_revoked):
            claims = signed_claims(token, partial(self._key, credential), _ALGORITHMS[credential.kind])
            if claims is not None:
                return credential, claims
        raise _refused(
            "token signature wrong",
            f"no registered key of {name} signed this token",
            fix=f"sign it with the private key in {name}'s folder: lockgate device token DIR",
        )

    def _key(self, credential: Credential) -> Key:
        from lockgate.identity.signatures import read_key

        key = self._keys.get(credential.thumbprint)
        if key is None:
            if len(self._keys) >= MAX_REMEMBERED_KEYS:
                self._keys.clear()
            key = self._keys[credential.thumbprint] = read_key(credential)
        return key

    def _check_claims(self, name: str, claims: dict[str, Any], now: float) -> float:
        settings = self._settings
        skew = settings.jwt_clock_skew_seconds
        issued, expires = _seconds(claims, "iat"), _seconds(claims, "exp")
        begins = _seconds(claims, "nbf") if "nbf" in claims else issued
        if issued is None or expires is None or begins is None:
            text = "a token needs iat and exp, and nbf if any, as numbers of seconds"
            raise _refused("token claims missing", text, "sign tokens with both: see lockgate device token DIR")
        audience = claims.get("aud")
        if audience != settings.jwt_audience and not (isinstance(audience, list) and settings.jwt_audience in audience):
            raise _refused(
                "token audience wrong",
                f"the token is for {audience!r}, this hub is {settings.jwt_audience!r}",
                fix=f"sign tokens with aud={settings.jwt_audience}",
                evidence={"aud": str(audience)[:80]},
            )
        if claims.get("sub", name) != name:
            fix = f"sign tokens with sub={name}, or without sub"
            raise _refused("token subject wrong", f"the token of {name} names another subject", fix)
        if expires + skew <= now:
            raise _outlived(issued, expires, now)
        if max(issued, begins) - skew > now:
            raise _early(issued, begins, now)
        if expires - issued > settings.jwt_max_lifetime_hours * 3600:
            lifetime = f"{(expires - issued) / 3600:.1f} h"
            raise _refused(
                "token lifetime too long",
                f"a token lives at most {settings.jwt_max_lifetime_hours:g} h, this one {lifetime}",
                fix="sign a fresh token for each session",
            )
        return expires + skew


def _unverified(token: bytes) -> tuple[str, dict[str, Any]]:
    """Read the algorithm and the claims without believing them: they only choose which key is tried."""
    try:
        head, body, _signature = token.split(b".")
        header = msgspec.json.decode(_unpadded(head), type=dict[str, Any])
        claims = msgspec.json.decode(_unpadded(body), type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        fix = "look at how the device makes its token: three parts of base64url, the first two of them JSON objects"
        raise _refused("token malformed", "the password begins like a token, but is none", fix) from error
    if "crit" in header:  # RFC 7515 section 4.1.11: what must be understood and is not; we know no extension
        text = "the token's header asks for an extension (crit)"
        raise _refused("token extension not known", text, "sign tokens without crit in their header")
    return str(header.get("alg", "")), claims


def _unpadded(part: bytes) -> bytes:
    return urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LAST_SECOND:
        return None
    return float(value)


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _outlived(issued: float, expires: float, now: float) -> AuthenticationFailed:
    """Say that a token is over: it is old, or it is fresh and its device's clock is behind by the time since iat."""
    message = f"the token was signed at {_at(issued)} and expired at {_at(expires)}, {span(now - expires)} ago"
    if issued < CLOCK_NEVER_SET:
        message += f": the device's clock was never set, it says {_at(issued)[:4]}"
        fix = "have the device ask a time server (NTP) before it signs"
    else:
        fix = (
            f"sign a fresh token; if it is fresh, the device's clock is {span(now - issued)} behind "
            f"(or this hub's is ahead){_local_time(now - issued)}: set it"
        )
    return _refused("token expired", message, fix, _clocks(issued, expires, now))


def _early(issued: float, begins: float, now: float) -> AuthenticationFailed:
    """Say that a token begins later: signed at a time that is yet to come, its device's clock is ahead."""
    if issued <= begins and issued - now < begins - issued:  # it was made now, more or less, for later
        message = f"the token begins (nbf) at {_at(begins)}, {span(begins - now)} from now"
        return _refused(
            "token not yet valid", message, "sign a token that begins at once", _clocks(issued, begins, now)
        )
    message = (
        f"the token was signed at {_at(issued)}, {span(issued - now)} from now: "
        f"the device's clock is {span(issued - now)} ahead (or this hub's is behind)"
    )
    fix = f"set the device's clock by a time server (NTP){_local_time(issued - now)}; or this hub's, if many are off"
    return _refused("token not yet valid", message, fix, _clocks(issued, begins, now))


def _local_time(off: float) -> str:
    """Tell a clock that is off by a time zone: those are of half hours."""
    halves = round(off / HALF_HOUR)
    is_zone = 0 < halves <= MAX_ZONE_HALVES and abs(off - halves * HALF_HOUR) <= ZONE_TOLERANCE_SECONDS
    return " (so exact a number of hours: does it take its local time for UTC?)" if is_zone else ""


def _clocks(issued: float, bound: float, now: float) -> dict[str, str]:
    return {
        "signed at (iat)": _at(issued),
        "expires or begins at": _at(bound),
        "this hub's clock": _at(now),
        CLOCK_SHIFT: f"{issued - now:+.0f} s",
    }


def span(seconds: float) -> str:
    """Spell a time in the unit that a person would use, rounded: "3 h", "45 min"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _refused(reason: str, message: str, fix: str = "", evidence: dict[str, str] | None = None) -> AuthenticationFailed:
    return AuthenticationFailed(message, reason=reason, fix=fix, evidence=evidence)
