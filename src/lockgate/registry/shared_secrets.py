"""Secrets that a device shares with the hub: pre-shared keys and OSCORE contexts, as they come in and go out.

How they come in (`Offered.public`): a pre-shared key as `IDENTITY:HEX`, an OSCORE context as `ID:SECRET:SALT`, each in
hexadecimal. The text is a secret: it is never repeated, and the registry keeps it sealed.

Source: RFC 4279 section 5.2 (identities), RFC 7252 section 9.1.3.1 (PreSharedKey), RFC 8613 section 3.2.
"""

from __future__ import annotations

import string
from itertools import pairwise

from lockgate.errors import InvalidSettings
from lockgate.model.device import Credential, CredentialKind, owns_client_id
from lockgate.model.handles import oscore_handle, psk_handle
from lockgate.registry.passwords import MIN_BITS, guess_bits

MIN_PSK_BYTES = 16
MAX_PSK_BYTES = 64
"""RFC 4279 section 5.3: what every implementation takes."""
MIN_DIFFERENT_BYTES = 8
SHOWN_CHARACTERS = 8
MAX_IDENTITY = 128
OSCORE_SECRET_BYTES = 16
OSCORE_SALT_BYTES = 8
MAX_OSCORE_ID_BYTES = 7
"""RFC 8613 section 3.3: the nonce of AES-CCM-16-64-128 has 13 bytes, six of which are taken."""
_FIX = "let the hub make one: lockgate device add NAME --auth psk --out DIR"
_IDENTITY = frozenset(string.ascii_letters + string.digits + "._-/")
_PRINTABLE = frozenset(string.printable.encode())


def read_psk(device: str, public: str) -> tuple[bytes, str]:
    """Give a pre-shared key that is handed in, and the handle of its identity.

    Raises:
        InvalidSettings: when it is no key in hexadecimal, is too short or easily guessed, or is another device's.
    """
    identity, _, text = public.rpartition(":")
    if not owns_client_id(device, identity) or len(identity) > MAX_IDENTITY or not _IDENTITY.issuperset(identity):
        raise InvalidSettings(
            f"the identity of a pre-shared key is the device's name, {device}, or that and a suffix: {device}/2",
            fix=_FIX,
        )
    key = _bytes(text, "a pre-shared key")
    check_psk(device, key)
    return key, psk_handle(identity)


def check_psk(device: str, key: bytes) -> None:
    """Come back when nobody can guess a pre-shared key.

    One handshake that somebody overhears is enough to try keys at home, as many as a computer can. The key itself is
    never repeated.

    Raises:
        InvalidSettings: when it is too short or too long, or easily guessed.
    """
    if not MIN_PSK_BYTES <= len(key) <= MAX_PSK_BYTES:
        raise InvalidSettings(
            f"a pre-shared key has {MIN_PSK_BYTES} to {MAX_PSK_BYTES} bytes; the one of {device} has {len(key)}",
            fix=_FIX,
        )
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    is_text = _PRINTABLE.issuperset(key)
    if (
        len(set(key)) < MIN_DIFFERENT_BYTES
        or len(steps) < MIN_DIFFERENT_BYTES // 2
        or (is_text and guess_bits(key.decode("ascii"), [device]) < MIN_BITS)
    ):
        raise InvalidSettings(f"the pre-shared key of {device} would be guessed: it follows a pattern", fix=_FIX)


def read_oscore(device: str, public: str) -> tuple[bytes, str]:
    """Give an OSCORE context that is handed in (secret, then salt), and the handle of its id.

    Raises:
        InvalidSettings: when it has another form.
    """
    parts = [_bytes(text, "an OSCORE context") for text in public.split(":")]
    if len(parts) != 3 or [len(part) for part in parts[1:]] != [OSCORE_SECRET_BYTES, OSCORE_SALT_BYTES]:
        raise InvalidSettings(
            f"an OSCORE context of {device} is an id, a master secret of {OSCORE_SECRET_BYTES} bytes and a salt of "
            f"{OSCORE_SALT_BYTES}, in hexadecimal, with : between",
            fix="let the hub make one: lockgate device add NAME --auth oscore --out DIR",
        )
    device_id, secret, salt = parts
    if not 2 <= len(device_id) <= MAX_OSCORE_ID_BYTES:
        raise InvalidSettings(f"the OSCORE id of {device} has 2 to {MAX_OSCORE_ID_BYTES} bytes")
    return secret + salt, oscore_handle(device_id)


def shown_identity(identity: str) -> str:
    """Give an identity that no device has as it may be logged: cut short, when it may be a key in the wrong field."""
    return identity if len(identity) < MIN_PSK_BYTES else f"{identity[:SHOWN_CHARACTERS]}…"


def bound_to(credential: Credential) -> str:
    """Give what the sealed secret of a credential is bound to: its device, its kind, and what it is found by."""
    return binding(credential.device, credential.kind, credential.thumbprint)


def binding(device: str, kind: CredentialKind, handle: str) -> str:
    """Give the same before there is a credential."""
    return f"{kind.value} {device} {handle}"


def _bytes(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        # Without the cause: its text may repeat what was typed.
        raise InvalidSettings(f"{what} is written in hexadecimal", fix="xxd -p -c 64 KEY writes it so") from None
