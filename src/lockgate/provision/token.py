"""Tokens: what a device with a key shows in the password field, signed with the key in its folder.

Source: RFC 7519 (JWT), RFC 7518 section 3.1 (ES256, RS256). Needs the folder alone: no home, no hub.
"""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from lockgate.errors import InvalidSettings
from lockgate.model.device import CredentialKind
from lockgate.pki.certificates import PrivateKey, private_key_from_pem, private_key_to_pem
from lockgate.provision.folder import DeviceFile, read_file, read_folder

DEFAULT_LIFETIME_SECONDS = 3600
MAX_LIFETIME_SECONDS = 86_400

_WANTED = {
    CredentialKind.JWT_ES256: "a P-256",
    CredentialKind.JWT_RS256: "an RSA",
    CredentialKind.JWT_EDDSA: "an Ed25519",
}
# The name that every library knows; RFC 9864's is newer.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def make_token(folder: Path, lifetime_seconds: float = DEFAULT_LIFETIME_SECONDS, now: float | None = None) -> str:
    """Give a JWT for the device whose folder this is, with the claims iat, exp, aud and sub.

    Args:
        folder: the device's folder.
        lifetime_seconds: until it expires, 1 to 86,400.
        now: unix seconds; the clock's when left out.

    Raises:
        InvalidSettings: when the folder is none, its key is missing or unfit, or the lifetime is out of range.
    """
    _check_lifetime(lifetime_seconds)
    device = read_folder(folder)
    key = _read_key(device, folder)
    issued_at = int(time.time() if now is None else now)
    claims = {
        "iat": issued_at,
        "exp": issued_at + int(lifetime_seconds),
        "aud": device.audience,
        "sub": device.name,
    }
    pem = private_key_to_pem(key)
    if device.auth is CredentialKind.JWT_ES256:
        return jwt.encode({"alg": "ES256", "typ": "JWT"}, claims, ECKey.import_key(pem))
    if device.auth is CredentialKind.JWT_EDDSA:
        header = {"alg": "EdDSA", "typ": "JWT"}
        return jwt.encode(header, claims, OKPKey.import_key(pem), algorithms=["EdDSA"])
    return jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, RSAKey.import_key(pem))


def parse_duration(text: str) -> int:
    """Give the seconds in a duration like 90s, 30m, 12h or 2d.

    Raises:
        InvalidSettings: when it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidSettings(f"{text!r} is no duration", fix="write a number and a unit: 90s, 30m, 12h, 2d")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def _check_lifetime(lifetime_seconds: float) -> None:
    if lifetime_seconds > MAX_LIFETIME_SECONDS:
        raise InvalidSettings(
            f"a token lives at most 24 hours, not {lifetime_seconds / 3600:g}: "
            "who steals it can be the device until it expires",
            fix="make a fresh token for each connection",
        )
    if lifetime_seconds < 1:
        raise InvalidSettings(f"a token must live at least one second, not {lifetime_seconds:g}")


def _read_key(device: DeviceFile, folder: Path) -> PrivateKey:
    if device.auth not in _WANTED or device.key_file is None:
        raise InvalidSettings(
            f"{device.name} proves itself by {device.auth.value}, not by tokens",
            fix="README.md in its folder has the command line that fits",
        )
    path = folder / device.key_file
    pem = read_file(path, "the whole folder of a device with a key")
    try:
        key = private_key_from_pem(pem)
    except InvalidSettings as error:
        raise InvalidSettings(f"{path}: {error}", fix=error.fix) from error
    if not _fits(key, device.auth):
        raise InvalidSettings(f"{path} does not fit {device.auth.value}: it must hold {_WANTED[device.auth]} key")
    return key


def _fits(key: PrivateKey, kind: CredentialKind) -> bool:
    if kind is CredentialKind.JWT_ES256:
        return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    if kind is CredentialKind.JWT_EDDSA:
        return isinstance(key, ed25519.Ed25519PrivateKey)
    return isinstance(key, rsa.RSAPrivateKey)
