"""What the registry keeps of a SCRAM-SHA-256 device: enough to check its password, not enough to be it.

Source: RFC 5802 section 5.1 (StoredKey and ServerKey), RFC 7677 (SHA-256). The text form is the one that PostgreSQL
made common: `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`, the last three in base64.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode

import msgspec

from lockgate.errors import InvalidSettings

SCRAM_SHA_256 = "SCRAM-SHA-256"
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 10_000_000
MIN_SALT_BYTES = 12
KEY_BYTES = 32

_BASE64 = "[A-Za-z0-9+/]{1,344}={0,2}"
_FORM = re.compile(rf"SCRAM-SHA-256\$([1-9][0-9]{{3,7}}):({_BASE64})\$({_BASE64}):({_BASE64})\Z")


class ScramVerifier(msgspec.Struct, frozen=True):
    """Salt, iterations, StoredKey and ServerKey of one password. Who steals it must still guess the password."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def to_text(self) -> str:
        """Give the text that the registry keeps."""
        salt, stored, server = (b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key))
        return f"{SCRAM_SHA_256}${self.iterations}:{salt}${stored}:{server}"

    @classmethod
    def from_text(cls, text: str) -> ScramVerifier:
        """Give the verifier that a text holds.

        Raises:
            InvalidSettings: when it holds none, or a weaker one than RFC 7677 allows. The text is never repeated: it
                may be a password by mistake.
        """
        match = _FORM.match(text)
        if match is None:
            raise InvalidSettings("a SCRAM verifier has the form SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY")
        iterations = int(match[1])
        try:
            salt, stored_key, server_key = (b64decode(part, validate=True) for part in match.group(2, 3, 4))
        except binascii.Error as error:
            raise InvalidSettings("a SCRAM verifier has its salt and its keys in base64") from error
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise InvalidSettings(f"a SCRAM verifier has {MIN_ITERATIONS} iterations at least, not {iterations}")
        if len(salt) < MIN_SALT_BYTES or len(stored_key) != KEY_BYTES or len(server_key) != KEY_BYTES:
            raise InvalidSettings(
                f"a SCRAM verifier has a salt of {MIN_SALT_BYTES} bytes at least and two keys of {KEY_BYTES}"
            )
        return cls(salt, iterations, stored_key, server_key)
