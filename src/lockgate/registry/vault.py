"""The vault: secrets that the registry must keep as they are, sealed under keys that lie in a file of the home.

A pre-shared key is the same on both sides: the hub cannot keep a hash of it. So registry.db holds it sealed by
AES-256-GCM (NIST SP 800-38D) under `secrets.key`, and whoever has the database alone has nothing. Each seal is bound to
what it is for: put into another device's row, it does not open.

The file has a line for each key, its name and 32 bytes in base64. The first one seals. The one after it was first
before the last rotation, and is kept until the next: a command that began before it may still be writing.
"""

from __future__ import annotations

import binascii
import os
import secrets
import stat
import tempfile
from base64 import b64decode, b64encode
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lockgate.errors import InvalidSettings

SECRETS_FILE = "secrets.key"
KEY_BYTES = 32
NONCE_BYTES = 12
MAX_KEYS = 2
_MARK = "sealed"
_HEAD = (
    "# The keys that seal what devices share with this hub. Whoever has this file and registry.db is each of them.\n"
)
_RESTORE = "restore secrets.key from a backup, or give the device a new key: lockgate device rotate NAME --out DIR"


class Vault:
    """Seals and opens. Makes its file when it seals for the first time.

    Args:
        path: the file, `secrets.key` of a home.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        """Show where it is, and no key."""
        return f"Vault({str(self.path)!r})"

    def seal(self, secret: bytes, bound_to: str) -> str:
        """Give a secret sealed, as text, so that it opens for `bound_to` alone.

        Raises:
            InvalidSettings: when the file cannot be read, or made.
        """
        keys = self._read()
        if not keys:
            _write(self.path, _lines({_new_name(): secrets.token_bytes(KEY_BYTES)}), is_first=True)
            keys = self._read()
        name, key = next(iter(keys.items()))
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, secret, bound_to.encode())
        return f"{_MARK}:{name}:{b64encode(sealed).decode()}"

    def open(self, sealed: str, bound_to: str) -> bytes:
        """Give the secret that was sealed for `bound_to`.

        Raises:
            InvalidSettings: when its key is not there, or it was sealed for something else, or is damaged.
        """
        mark, _, rest = sealed.partition(":")
        name, _, text = rest.partition(":")
        if mark != _MARK:
            raise InvalidSettings("a sealed secret was expected, and something else is there", fix=_RESTORE)
        if name not in self._keys:
            self._read()
        key = self._keys.get(name)
        if key is None:
            raise InvalidSettings(f"{self.path} does not hold the key {name} that a secret is sealed by", fix=_RESTORE)
        try:
            raw = b64decode(text, validate=True)
            return AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], bound_to.encode())
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise InvalidSettings(
                "a sealed secret is damaged, or was sealed for another device", fix=_RESTORE
            ) from error

    def is_newest(self, sealed: str) -> bool:
        """Say whether a secret is sealed by the key that seals now."""
        return sealed.split(":")[1:2] == list(self._read())[:1]

    def begin_rotation(self) -> None:
        """Put a new key first, and forget all but the one that was; what is sealed is to be sealed anew by it.

        Call it twice, and what was not sealed anew in between opens no more.
        """
        keys = self._read()
        newest = dict(list(keys.items())[: MAX_KEYS - 1])
        _write(self.path, _lines({_new_name(): secrets.token_bytes(KEY_BYTES), **newest}))

    def _read(self) -> dict[str, bytes]:
        """Give the keys of the file, the one that seals first; none when there is no file. Keeps what it has seen."""
        try:
            text = self.path.read_text(encoding="ascii")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettings(
                f"{self.path} cannot be read", fix="run this as the user who owns the home"
            ) from error
        found: dict[str, bytes] = {}
        for line in text.splitlines():
            name, _, key = line.partition(" ")
            if line.startswith("#"):
                continue
            try:
                found[name] = b64decode(key, validate=True)
            except binascii.Error:
                found[name] = b""
            if not name or len(found[name]) != KEY_BYTES:
                raise InvalidSettings(f"{self.path} is damaged", fix="restore it from a backup")
        if not found:
            raise InvalidSettings(f"{self.path} is empty", fix="restore it from a backup")
        self._keys.update(found)
        return found


def _new_name() -> str:
    return secrets.token_hex(4)


def _lines(keys: dict[str, bytes]) -> bytes:
    return (_HEAD + "".join(f"{name} {b64encode(key).decode()}\n" for name, key in keys.items())).encode()


def _write(path: Path, content: bytes, is_first: bool = False) -> None:
    """Write the file whole or not at all; the first to come makes it, whoever else may be about to.

    0600; in a home of two users their group may read it, and so the gate, but not change it.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
        with os.fdopen(descriptor, "wb") as file:
            folder = path.parent.stat().st_mode
            if folder & stat.S_ISGID:
                os.fchmod(file.fileno(), 0o600 | (folder & 0o040))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            if is_first:
                os.link(temporary, path)
            else:
                os.replace(temporary, path)
        except FileExistsError:
            pass  # somebody else was quicker: theirs is the one
        finally:
            Path(temporary).unlink(missing_ok=True)
        folder_descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder_descriptor)
        finally:
            os.close(folder_descriptor)
    except OSError as error:
        raise InvalidSettings(
            f"{path} cannot be written: {error.strerror}", fix="run this as the user who owns the home"
        ) from error
