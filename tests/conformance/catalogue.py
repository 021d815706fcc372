"""The statements of both standards by number, in our words, and where other hubs differ from them."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

HERE = Path(__file__).parent
FILES: dict[str, tuple[str, ...]] = {
    "5.0": ("v5_a.toml", "v5_b.toml"),
    "3.1.1": ("v311.toml",),
    "RFC 7252": ("rfc7252.toml",),
    "RFC 7641": ("rfc7641.toml",),
    "RFC 7959": ("rfc7959.toml",),
}
"""The files of each standard; MQTT's are named by their version."""


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One normative statement. `reason` says why it binds no server; it stands there only then."""

    wording: str
    binds: Literal["server", "client", "both", "none"]
    reason: str = ""

    @property
    def is_ours(self) -> bool:
        """Say whether a server can keep or break it."""
        return self.binds in ("server", "both")


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where another hub does not do what a test expects: who is right, and by which clause."""

    right: str
    why: str


def statements(version: str) -> dict[str, Statement]:
    """Give all statements of a version, in their order."""
    found: dict[str, Statement] = {}
    for name in FILES[version]:
        path = HERE / "statements" / name
        if not path.exists():
            continue
        for number, statement in msgspec.convert(tomllib.loads(path.read_text()), dict[str, Statement]).items():
            if number in found:
                raise ValueError(f"{number} is in two files")
            found[number] = statement
    return dict(sorted(found.items(), key=lambda item: order(item[0])))


def order(number: str) -> tuple[int, ...]:
    """Give what sorts MQTT-3.1.2-10 after MQTT-3.1.2-9."""
    return tuple(int(part) for part in number.replace("-", ".").split(".") if part.isdigit())


def differences(name: str) -> dict[str, Difference]:
    """Give the known differences of another hub: test (file.py::name) to difference."""
    text = (HERE / "elsewhere" / f"{name}.toml").read_text()
    return msgspec.convert(tomllib.loads(text), dict[str, Difference])


def tests() -> dict[tuple[str, str], list[str]]:
    """Give the tests of each (version, number), read from the marks as they are written, without running anything."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(HERE.glob("test_*.py")):
        for name, version, number in _marks(path):
            found[version, number].append(f"{path.name}::{name}")
    return dict(found)


def _marks(path: Path) -> Iterator[tuple[str, str, str]]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "statement":
                    version, *numbers = [ast.literal_eval(word) for word in mark.args]
                    for number in numbers:
                        yield node.name, version, number
