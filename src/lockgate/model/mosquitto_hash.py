"""A password's hash as mosquitto keeps it, for devices that move in with the passwords that they have.

Source: mosquitto_passwd(1) and mosquitto's password_mosq.c. Two forms, the salt and the hash in base64:

    $6$SALT$HASH               SHA-512 of password and salt, once
    $7$ITERATIONS$SALT$HASH    PBKDF2 with HMAC-SHA-512 (RFC 8018), 101 iterations unless asked otherwise

Both are guessed fast by whoever steals them. They are checked as they are, and replaced by argon2id when the device has
shown its password. The registry keeps them with `$mosquitto` before them, so that they pass for nothing else.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode

import msgspec

from lockgate.errors import InvalidSettings

PREFIX = "$mosquitto"
MAX_ITERATIONS = 1_000_000
HASH_BYTES = 64

_BASE64 = "[A-Za-z0-9+/]{1,344}={0,2}"
_FORM = re.compile(rf"\$(?:6|7\$([1-9][0-9]{{0,9}}))\$({_BASE64})\$({_BASE64})\Z")


class MosquittoHash(msgspec.Struct, frozen=True):
    """One hash; `iterations` is 0 for a single SHA-512. Its text is never shown."""

    text: str
    iterations: int
    salt: bytes
    digest: bytes

    def __repr__(self) -> str:
        """Say what it is, and nothing that helps to guess."""
        return f"MosquittoHash({self.iterations} iterations)"

    @classmethod
    def from_text(cls, text: str) -> MosquittoHash:
        """Give the hash that a text holds, as mosquitto writes it or as the registry keeps it.

        Raises:
            InvalidSettings: when it holds none. The text is never repeated: it may be a password by mistake.
        """
        bare = text.removeprefix(PREFIX)
        match = _FORM.match(bare)
        if match is None:
            raise InvalidSettings(
                "a password's hash has mosquitto's form $6$SALT$HASH or $7$ITERATIONS$SALT$HASH",
                fix="mosquitto_passwd -U FILE hashes a file of plain passwords",
            )
        try:
            salt, digest = (b64decode(part, validate=True) for part in match.group(2, 3))
        except binascii.Error as error:
            raise InvalidSettings("a hash of mosquitto has its salt and its value in base64") from error
        iterations = int(match[1] or 0)
        if iterations > MAX_ITERATIONS:
            raise InvalidSettings(f"a hash of mosquitto has at most {MAX_ITERATIONS} iterations, not {iterations}")
        if len(digest) != HASH_BYTES:
            raise InvalidSettings(f"a hash of mosquitto has {HASH_BYTES} bytes, not {len(digest)}")
        return cls(PREFIX + bare, iterations, salt, digest)

    def matches(self, secret: bytes) -> bool:
        """Say whether this is the hash of a password."""
        if self.iterations:
            found = hashlib.pbkdf2_hmac("sha512", secret, self.salt, self.iterations)
        else:
            found = hashlib.sha512(secret + self.salt).digest()
        return hmac.compare_digest(found, self.digest)


def is_mosquitto_hash(public: str) -> bool:
    """Say whether what the registry keeps of a password is a hash of mosquitto."""
    return public.startswith(PREFIX)
