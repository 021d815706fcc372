"""Identity by password: argon2id, bound to the client id.

The user name is the device's name. An unknown device costs as much time as a wrong password, and gets the same answer.
Wrong ones are counted (`lockout`), so that nobody guesses for long.
Source: RFC 9106 (argon2).
"""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from lockgate.errors import AuthenticationFailed
from lockgate.identity.credentials import Credentials, DeviceSource, shown_name
from lockgate.identity.lockout import MAX_NAME, Lockout
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.mosquitto_hash import MosquittoHash, is_mosquitto_hash

MAX_PASSWORD_BYTES = 1024
MAX_REHASHED = 10_000


class PasswordVerifier:
    """Checks passwords against the hashes that the registry holds."""

    def __init__(self, devices: DeviceSource, lockout: Lockout) -> None:
        self._devices = devices
        self._lockout = lockout
        self._hasher = PasswordHasher()
        self._nobody: str | None = None
        self._rehashed: dict[int, str] = {}

    def verify(self, credentials: Credentials, now: float) -> Credential:
        """Give the credential whose password was shown. Takes tens of milliseconds.

        Raises:
            AuthenticationFailed: wrong password, or unknown device.
            RateExceeded: too many wrong passwords from this address for this device.
        """
        name = (credentials.user_name or "")[:MAX_NAME]
        secret = credentials.secret or b""
        host = credentials.host
        self._lockout.check(host, name, now)
        device = self._devices.device(name)
        known = [c for c in device.credentials if c.kind is CredentialKind.PASSWORD] if device is not None else []
        nobodys = self._nobodys_hash()  # made by the first of all checks, whoever it is about
        if len(secret) <= MAX_PASSWORD_BYTES:
            # A live password is tried before a revoked one; somebody unknown is checked against nobody's.
            for credential in sorted(known, key=lambda c: c.is_revoked):
                if self._matches(credential.public, secret):
                    self._lockout.forget(host, name)
                    if is_mosquitto_hash(credential.public) and len(self._rehashed) < MAX_REHASHED:
                        self._rehashed[credential.id] = self._hasher.hash(secret)
                    return credential
            if not known:
                self._matches(nobodys, secret)
        self._lockout.count_wrong(host, name, now)
        shown = shown_name(name, self._devices)
        raise AuthenticationFailed(
            f"wrong password for {shown!r}" if known else f"no device {shown!r} with a password is registered",
            reason="bad user name or password",
            fix="the user name is the device's name, the password stands in the file `password` of its folder",
            evidence={"user_name": shown},
        )

    def take_rehashed(self) -> dict[int, str]:
        """Give the argon2id hashes of passwords that were shown since the last call and are kept in an older form.

        By the numbers of their credentials. What a thread adds to them at this very moment may be lost: the next login
        of that device makes it again.
        """
        taken, self._rehashed = self._rehashed, {}
        return taken

    def _matches(self, phc: str, secret: bytes) -> bool:
        if is_mosquitto_hash(phc):
            self._matches(self._nobodys_hash(), secret)  # so that it takes as long as any other
            return MosquittoHash.from_text(phc).matches(secret)
        try:
            return self._hasher.verify(phc, secret)
        except (Argon2Error, InvalidHashError):
            return False

    def _nobodys_hash(self) -> str:
        if self._nobody is None:
            self._nobody = self._hasher.hash(b"nobody")
        return self._nobody
