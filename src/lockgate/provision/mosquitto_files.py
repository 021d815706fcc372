"""mosquitto's files read line by line: mosquitto.conf with what it includes, password files, ACL files.

Nothing is decided here; each line keeps its file and number, so that a report can name it.
Source: mosquitto.conf(5), mosquitto_passwd(1).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from lockgate.errors import InvalidSettings

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 8
ACCESSES = ("read", "write", "readwrite", "deny")
_SECRET = ("password", "psk", "secret")


class Line(msgspec.Struct, frozen=True):
    """One line with something in it: its first word, and the rest."""

    file: str
    number: int
    word: str
    rest: str

    @property
    def shown(self) -> str:
        """The line for a report, without a secret."""
        is_secret = any(each in self.word for each in _SECRET) and not self.word.endswith(("_file", "_hint"))
        return f"{self.word} ***" if is_secret and self.rest else f"{self.word} {self.rest}".strip()


class PasswordLine(msgspec.Struct, frozen=True):
    """A user of a password file; `hash` as it stands there."""

    file: str
    number: int
    user: str
    hash: str

    def __repr__(self) -> str:
        """Name the user; the hash is not shown."""
        return f"PasswordLine({self.file}:{self.number} {self.user!r})"


class AclLine(msgspec.Struct, frozen=True):
    """A line of an ACL file: for whom (a user, "" for all by pattern, None for the anonymous), what, which topic."""

    file: str
    number: int
    kind: str
    user: str | None
    access: str
    topic: str

    @property
    def shown(self) -> str:
        """The line for a report."""
        return f"{self.kind} {self.access} {self.topic}"


def read_conf(path: Path, depth: int = 0) -> list[Line]:
    """Give the options of mosquitto.conf in their order, those of its `include_dir` in their place.

    Raises:
        InvalidSettings: when a file cannot be read, or they include each other without end.
    """
    if depth > MAX_DEPTH:
        raise InvalidSettings(f"{path} includes itself", fix="mend its include_dir")
    found = []
    for number, text in _lines(path):
        if text.startswith("#"):
            continue
        word, _, rest = text.partition(" ")
        line = Line(str(path), number, word, rest.strip())
        found.append(line)
        if word == "include_dir":
            folder = path.parent / line.rest  # an absolute one stays what it is
            if not folder.is_dir():
                raise InvalidSettings(f"{path}:{number}: there is no folder {line.rest}", fix="copy it along")
            for each in sorted(folder.glob("*.conf")):
                found += read_conf(each, depth + 1)
    return found


def read_passwords(path: Path) -> list[PasswordLine]:
    """Give the users of a password file with their hashes."""
    found = []
    for number, text in _lines(path):
        user, _, hashed = text.partition(":")
        if text.startswith("#"):
            continue
        found.append(PasswordLine(str(path), number, user, hashed))
    return found


def read_acl(path: Path) -> list[AclLine]:
    """Give the lines of an ACL file, each with the user that it is about."""
    found: list[AclLine] = []
    user: str | None = None
    for number, text in _lines(path):
        if text.startswith("#"):
            continue
        word, _, rest = text.partition(" ")
        rest = rest.strip()
        if word == "user":
            user = rest
        elif word in ("topic", "pattern"):
            access, _, topic = rest.partition(" ")
            if access not in ACCESSES or not topic.strip():
                access, topic = "readwrite", rest
            found.append(AclLine(str(path), number, word, "" if word == "pattern" else user, access, topic.strip()))
        else:
            found.append(AclLine(str(path), number, word, user, "unknown", rest))
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidSettings(f"{path} is larger than {MAX_FILE_BYTES} bytes", fix="is it the file that you meant?")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{path} is no text in UTF-8", fix="is it the file that you meant?") from error
    except OSError as error:
        raise InvalidSettings(
            f"{path} cannot be read: {error.strerror}", fix="copy it along, or run as a user who may"
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()
