"""What is known to be wrong with versions of what lockgate runs on: the list `known_flaws.toml`, and Python's ends.

The list is written by hand from public advisories, and as old as its date says; `make sbom` asks the advisory service.
"""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

NEWEST_PYTHON = "3.14"


def _end_of(year: int, month: int) -> float:
    return datetime(year, month, 28, tzinfo=UTC).timestamp()


PYTHON_ENDS = {
    (3, 11): _end_of(2027, 10),
    (3, 12): _end_of(2028, 10),
    (3, 13): _end_of(2029, 10),
    (3, 14): _end_of(2030, 10),
}
"""When each version that lockgate runs on stops getting security fixes (PEP 664, 693, 719, 745)."""


class Flaw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One known flaw: versions from `since` on and before `fixed` have it. `package` "openssl" is the C library."""

    id: str
    package: str
    fixed: str
    summary: str
    since: str = "0"

    def concerns(self, version: str) -> bool:
        """Say whether this version has the flaw."""
        return version_key(self.since) <= version_key(version) < version_key(self.fixed)


class FlawList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole list, with the day on which it was made."""

    made: date
    flaws: tuple[Flaw, ...]

    @property
    def made_at(self) -> float:
        """The day in unix seconds."""
        return datetime(self.made.year, self.made.month, self.made.day, tzinfo=UTC).timestamp()


def version_key(version: str) -> tuple[int, ...]:
    """Give the numbers of a release, for comparing; what follows them (rc1, .dev0) is left out."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(each) for each in found.group().split(".")] if found else [0]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _load(path: Path) -> FlawList:
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), FlawList)


VULNERABILITIES = _load(Path(__file__).with_name("known_flaws.toml"))
