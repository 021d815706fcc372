"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

import msgspec

from lockgate.scan.subject import Subject


class Severity(StrEnum):
    """How bad it is, worst first. `lockgate up --production` refuses to start while something severe stands."""

    SEVERE = "severe"
    """An attacker needs nothing more: mend it before the hub is reachable."""
    HIGH = "high"
    """One mistake or one stolen device away from damage: mend it before going live."""
    MEDIUM = "medium"
    """A protection is missing or will soon be: plan it."""
    LOW = "low"
    """Untidy: it makes mistakes likelier."""
    INFO = "info"
    """Good to know."""

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


class Problem(msgspec.Struct, frozen=True):
    """One thing that a check found.

    `text` says what is so, `fix` the command (or, where none can be, the sentence) that mends it, `place` the file or
    the name that it is about; `severity` only where it differs from the check's own.
    """

    text: str
    fix: str
    place: str = ""
    severity: Severity | None = None


class Check(msgspec.Struct, frozen=True):
    """One check: what it is called, how bad what it finds is, what that means, what mends it, and how to look.

    `id` is stable: people name it in their settings and their CI.
    """

    id: str
    title: str
    severity: Severity
    meaning: str
    fix: str
    look: Callable[[Subject], Iterable[Problem]]
    reference: str = ""
    needs_hub: bool = False


class Finding(msgspec.Struct, frozen=True):
    """A problem with the check that found it; `accepted` is the written reason of who lives with it, "" for none."""

    check: str
    title: str
    severity: Severity
    text: str
    fix: str
    place: str = ""
    accepted: str = ""


class Unchecked(msgspec.Struct, frozen=True):
    """A check that could not be made, and why: never the same as passed."""

    check: str
    title: str
    reason: str


class Report(msgspec.Struct, frozen=True):
    """All that a scan says: `findings` worst first; `at` in unix seconds; `passed` and `skipped` are ids of checks."""

    at: float
    target: str
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    passed: tuple[str, ...]
    skipped: Mapping[str, str] = {}

    def standing(self, threshold: Severity) -> tuple[Finding, ...]:
        """Give what is at least as bad as `threshold` and accepted by nobody."""
        return tuple(f for f in self.findings if not f.accepted and f.severity.rank <= threshold.rank)
