"""A backup: one file with all of a home, made while the hub runs; and a home made from it.

    manifest.json        what is in it: path, mode, size and SHA-256 of each file, and how the passphrase is stretched
    manifest.mac         HMAC-SHA-256 of manifest.json under a key from the passphrase
    home/...             the files; private keys encrypted (PKCS#8), the keys of shared secrets likewise (AES-256-GCM),
                         databases as they were at one moment

Theory of operation. Both databases are copied by SQLite's own backup within one reading transaction each: writers go
on meanwhile. messages.db comes first, so that what its security events know of the audit trail is in the registry's
copy for sure. The file is written under another name, and gets its own when it is whole and on the disk.

A restore unpacks beside the new home, compares every file with the manifest, opens the keys, looks both databases and
the audit trail over, and only then gives the folder its name. Whatever is wrong, nothing stays behind.

The passphrase is stretched by scrypt (RFC 7914), since PKCS#8's own derivation has few rounds: a third of the outcome
opens the keys, one proves the manifest, one opens what is no private key and a secret all the same. Nobody without it
can put other files into a backup unseen.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from lockgate import __version__
from lockgate.errors import Conflict, InvalidSettings, LockgateError, StoreDamaged
from lockgate.events import Event
from lockgate.home import Home, write_private
from lockgate.registry.trail import ANCHOR_SUBJECT, Trail, anchor
from lockgate.registry.vault import NONCE_BYTES, SECRETS_FILE
from lockgate.store.chain import SECURITY
from lockgate.store.messages_db import MessagesDb
from lockgate.store.registry_db import RegistryDb
from lockgate.store.sqlite import open_database, translated

FORMAT = 2
"""1 had no shared secrets; a backup of a home without them is still one."""
MIN_PASSPHRASE = 12
DATABASES = ("messages", "registry")
"""In the order in which they are copied."""

PAGES_PER_STEP = 1000
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_KEY_BYTES = 64 * 1024
CHUNK_BYTES = 1024 * 1024
SCRYPT_N = 1 << 15
SCRYPT_MEMORY_BYTES = 64 * 1024 * 1024
_KEY_MARK = b"PRIVATE KEY-----"
_MANIFEST, _MAC, _HOME = "manifest.json", "manifest.mac", "home/"

Progress = Callable[[str, int, int], None]
"""Told the name of a file, how much of it is done, and how much there is."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup; `sha256` is of what lies in the backup: for a key, of its encrypted form."""

    path: str
    mode: int
    size: int
    sha256: str
    is_key: bool = False


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup says of itself; `salt` is for the stretching of the passphrase, in hex."""

    format: int
    lockgate: str
    made_at: float
    salt: str
    with_ca_keys: bool
    files: tuple[Entry, ...]


class _Secrets:
    """What a passphrase becomes: the password of the keys, the key of the manifest's code, and that of the secrets."""

    def __init__(self, passphrase: str, salt: bytes) -> None:
        stretched = hashlib.scrypt(
            passphrase.encode(), salt=salt, n=SCRYPT_N, r=8, p=1, maxmem=SCRYPT_MEMORY_BYTES, dklen=96
        )
        self.password = stretched[:32].hex().encode()
        self._key = stretched[32:64]
        self._cipher = AESGCM(stretched[64:])

    def code(self, manifest: bytes) -> bytes:
        return hmac.new(self._key, manifest, hashlib.sha256).digest()

    def seal(self, content: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, SECRETS_FILE.encode())

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], SECRETS_FILE.encode())


def make_backup(
    home: Home,
    target: Path,
    passphrase: str,
    *,
    actor: str,
    with_ca_keys: bool = True,
    on_progress: Progress = lambda *_: None,
) -> Manifest:
    """Write a backup of a home, whether its hub runs or not; give its manifest.

    Args:
        home: the hub's folder.
        target: the file to make, 0600; its folder must be there.
        passphrase: at least `MIN_PASSPHRASE` characters.
        actor: who does it, for the audit trail.
        with_ca_keys: without them the restored hub serves its devices, but issues no certificates.
        on_progress: for whoever watches.

    Raises:
        Conflict: there is a file at `target` already.
        InvalidSettings: the passphrase is too short, or a file cannot be read.
        StoreDamaged: a database is damaged.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise InvalidSettings(
            f"a passphrase of {len(passphrase)} characters is too short",
            fix=f"take one of at least {MIN_PASSPHRASE}: it keeps the private keys of this hub",
        )
    if target.exists():
        raise Conflict(f"{target} is there already", fix="name another file, or remove that one first")
    if target.resolve().is_relative_to(home.path.resolve()):
        raise InvalidSettings(f"{target} is inside the home", fix="name a file elsewhere, best on another disk")
    _note_backup(home, target, actor, with_ca_keys)
    salt = secrets.token_bytes(16)
    held = _Secrets(passphrase, salt)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:  # 0700
        folder = Path(name)
        files = dict(_copies(home, folder, on_progress))
        files.update(_others(home, folder, held, with_ca_keys))
        entries = tuple(_entry(path, source, is_key) for path, (source, is_key) in sorted(files.items()))
        number = FORMAT if SECRETS_FILE in files else 1
        manifest = Manifest(number, __version__, time.time(), salt.hex(), with_ca_keys, entries)
        written = folder / "backup.tar"
        with _new(written) as file:
            _write_tar(file, manifest, held, {path: source for path, (source, _) in files.items()}, on_progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(written, target)
    return manifest


def restore_backup(source: Path, path: Path, ask: Callable[[], str], *, actor: str) -> Home:
    """Make a home from a backup; give it.

    Args:
        source: the backup.
        path: the home to make; nothing may be there.
        ask: gives the passphrase; asked once the file is known to be whole.
        actor: who does it, for the audit trail.

    Raises:
        Conflict: there is something at `path` already.
        InvalidSettings: the file is no backup, is damaged or was changed, or the passphrase is wrong.
        StoreDamaged: a database in it is damaged, or its audit trail is broken.
    """
    path = Path(os.path.abspath(path))
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Conflict(f"{path} is there already", fix="name a folder that does not exist yet with --home")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))  # 0700
    try:
        manifest, code, raw = _unpack(source, made)
        held = _Secrets(ask(), bytes.fromhex(manifest.salt))
        is_genuine = hmac.compare_digest(code, held.code(raw))
        _open_keys(made, manifest, held)
        if not is_genuine:
            raise _changed(source, "its manifest is not the one that was written")
        home = Home(made)
        _look_over(home)
        with home.registry() as registry, registry.write() as write:
            details = {"backup": source.name, "made_at": f"{manifest.made_at:.0f}"}
            write.note_audit(Event.HOME_RESTORED, "home", actor, time.time(), details)
        made.rename(path)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return Home(path)


# Making one


def _note_backup(home: Home, target: Path, actor: str, with_ca_keys: bool) -> None:
    """Note who made a copy of all this, and where the security events stand: both are in the copy, too."""
    with Trail(home.registry_path, home.messages_path) as trail:
        head = trail.heads().get(SECURITY.table)
    now = time.time()
    with home.registry() as registry, registry.write() as write:
        kept = "with" if with_ca_keys else "without"
        write.note_audit(Event.HOME_BACKED_UP, "home", actor, now, {"file": target.name, "ca keys": kept})
        if head is not None:
            write.note_audit(Event.AUDIT_ANCHORED, ANCHOR_SUBJECT, actor, now, anchor(SECURITY.table, head))


def _copies(home: Home, folder: Path, on_progress: Progress) -> Iterator[tuple[str, tuple[Path, bool]]]:
    for family in DATABASES:
        source = home.path / f"{family}.db"
        if source.exists():
            copy = folder / source.name
            _copy_database(source, copy, family, on_progress)
            yield source.name, (copy, False)


def _copy_database(source: Path, copy: Path, family: str, on_progress: Progress) -> None:
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = open_database(source, family, read_only=True, check="none")
    with closing(connection), closing(sqlite3.connect(copy)) as target, translated(source):
        connection.execute("BEGIN")  # one moment for all steps: who writes meanwhile does not make it begin again
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.backup(
            target,
            pages=PAGES_PER_STEP,
            progress=lambda _, remaining, total: on_progress(source.name, total - remaining, total),
        )
        target.execute("PRAGMA journal_mode = DELETE")


def _others(home: Home, folder: Path, held: _Secrets, with_ca_keys: bool) -> Iterator[tuple[str, tuple[Path, bool]]]:
    """Give all other files of the home: those of a running hub are left out, keys are encrypted."""
    for number, path in enumerate(sorted(home.path.rglob("*"))):
        inside = path.relative_to(home.path)
        if inside.parts[0] == "run" or path.name.startswith(".") or ".db" in path.name or not path.is_file():
            continue
        content = path.read_bytes() if path.stat().st_size <= MAX_KEY_BYTES else b""
        if inside.as_posix() == SECRETS_FILE:
            sealed = folder / f"key{number}"
            with _new(sealed) as file:
                file.write(held.seal(content))
            yield SECRETS_FILE, (sealed, True)
        elif _KEY_MARK not in content:
            yield inside.as_posix(), (path, False)
        elif with_ca_keys or inside.parts[0] != "ca":
            sealed = folder / f"key{number}"
            with _new(sealed) as file:
                file.write(_sealed(path, content, held))
            yield inside.as_posix(), (sealed, True)


def _sealed(path: Path, pem: bytes, held: _Secrets) -> bytes:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise InvalidSettings(f"{path} cannot be read as a private key: {error}", fix=f"restore {path.name}") from error
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(held.password))


def _entry(path: str, source: Path, is_key: bool) -> Entry:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Entry(path, source.stat().st_mode & 0o777, source.stat().st_size, digest, is_key)


def _write_tar(
    file: IO[bytes], manifest: Manifest, held: _Secrets, sources: dict[str, Path], on_progress: Progress
) -> None:
    raw = msgspec.json.format(msgspec.json.encode(manifest))
    total, done = sum(entry.size for entry in manifest.files), 0
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in ((_MANIFEST, raw), (_MAC, held.code(raw))):
            tar.addfile(_member(name, len(content), manifest.made_at), io.BytesIO(content))
        for entry in manifest.files:
            with sources[entry.path].open("rb") as source:
                tar.addfile(_member(_HOME + entry.path, entry.size, manifest.made_at, entry.mode), source)
            done += entry.size
            on_progress("the backup", done, total)


def _member(name: str, size: int, at: float, mode: int = 0o600) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(at), mode
    return member


def _new(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


# Reading one


def _unpack(source: Path, folder: Path) -> tuple[Manifest, bytes, bytes]:
    """Write the files of a backup below `folder`, each as the manifest says; give manifest, code and raw manifest."""
    with _readable(source), tarfile.open(source, "r:") as tar:
        raw = _content(tar, tar.next(), _MANIFEST, source)
        code = _content(tar, tar.next(), _MAC, source)
        manifest = _manifest(raw, source)
        wanted = {_HOME + entry.path: entry for entry in manifest.files}
        while (member := tar.next()) is not None:
            entry = wanted.pop(member.name, None)
            if entry is None or not member.isreg():
                raise _changed(source, f"{member.name!r} in it is not of the backup")
            _extract(tar, member, entry, folder, source)
    if wanted:
        missing = min(wanted).removeprefix(_HOME)
        raise _changed(source, f"{missing} is missing in it")
    return manifest, code, raw


def _manifest(raw: bytes, source: Path) -> Manifest:
    try:
        told = msgspec.json.decode(raw)
        number = told.get("format") if isinstance(told, dict) else None
        if isinstance(number, int) and number > FORMAT:
            raise InvalidSettings(
                f"{source} was made by a newer lockgate ({told.get('lockgate')})", fix="restore it with that release"
            )
        manifest = msgspec.convert(told, Manifest)
        bytes.fromhex(manifest.salt)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _changed(source, "its manifest cannot be read") from error
    for entry in manifest.files:
        inside = PurePosixPath(entry.path)
        if inside.is_absolute() or ".." in inside.parts or not inside.parts:
            raise _changed(source, f"{entry.path!r} in it is no path inside a home")
    return manifest


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo | None, name: str, source: Path) -> bytes:
    if member is None or member.name != name or not member.isreg() or member.size > MAX_MANIFEST_BYTES:
        raise _no_backup(source)
    file = tar.extractfile(member)
    assert file is not None  # a regular file has content
    return file.read()


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, entry: Entry, folder: Path, source: Path) -> None:
    target = folder / entry.path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None
    digest = hashlib.sha256()
    with _new(target) as file:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if (member.size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise _changed(source, f"{entry.path} in it is not what was written")
    target.chmod(entry.mode & 0o700)  # whatever the backup says, a home is its owner's alone


def _open_keys(folder: Path, manifest: Manifest, held: _Secrets) -> None:
    for entry in manifest.files:
        if not entry.is_key:
            continue
        path = folder / entry.path
        try:
            if entry.path == SECRETS_FILE:
                write_private(path, held.open(path.read_bytes()))
                continue
            key = load_pem_private_key(path.read_bytes(), held.password)
        except (ValueError, TypeError, InvalidTag) as error:
            raise InvalidSettings(
                "the passphrase is not the one of this backup", fix="give the passphrase with which it was made"
            ) from error
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _look_over(home: Home) -> None:
    """Look at what will be the home as the hub will: settings, both databases whole, and the audit trail."""
    if not home.settings_path.is_file() or not home.registry_path.is_file():
        raise InvalidSettings("the backup holds no home", fix="name a file that lockgate backup made")
    home.settings()
    RegistryDb(home.registry_path, check="whole").close()
    if home.messages_path.exists():
        MessagesDb(home.messages_path).close()
    with Trail(home.registry_path, home.messages_path) as trail:
        problems = trail.verify().problems
    if problems:
        raise StoreDamaged(f"the audit trail in the backup is broken: {problems[0]}", fix="take another backup")


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        if source.stat().st_size and tarfile.is_tarfile(source):
            raise _changed(source, "it ends too early") from error
        raise InvalidSettings(
            f"{source} is no backup of lockgate", fix="name a file that lockgate backup made"
        ) from error


def _no_backup(source: Path) -> LockgateError:
    return InvalidSettings(f"{source} is no backup of lockgate", fix="name a file that lockgate backup made")


def _changed(source: Path, what: str) -> LockgateError:
    return InvalidSettings(f"{source} is damaged or was changed: {what}", fix="take another backup")
