"""Runs checks, each within its time; what goes wrong in one is told, and never counts as passed."""

from __future__ import annotations

import difflib
import queue
import threading
from collections.abc import Iterable, Mapping, Sequence

from lockgate.errors import InvalidSettings, LockgateError, NotFound
from lockgate.scan.finding import Check, Finding, Problem, Report, Unchecked
from lockgate.scan.subject import Subject

CHECK_SECONDS = 30.0


def scan(
    subject: Subject,
    checks: Sequence[Check],
    *,
    accepted: Mapping[str, str] | None = None,
    seconds: float = CHECK_SECONDS,
) -> Report:
    """Run the checks over one subject, and give what they say.

    Args:
        subject: the facts.
        checks: which to run, see `chosen`.
        accepted: ids of checks whose findings somebody lives with, and the written reason.
        seconds: how long one check may take.
    """
    reasons = accepted or {}
    findings: list[Finding] = []
    unchecked: list[Unchecked] = []
    passed: list[str] = []
    for check in checks:
        found = _look(check, subject, seconds)
        if isinstance(found, str):
            unchecked.append(Unchecked(check.id, check.title, found))
        elif found:
            findings += [_finding(check, problem, reasons.get(check.id, "")) for problem in found]
        else:
            passed.append(check.id)
    findings.sort(key=lambda finding: (finding.severity.rank, finding.check, finding.place))
    return Report(subject.now, subject.target, tuple(findings), tuple(unchecked), tuple(passed), dict(reasons))


def chosen(checks: Sequence[Check], only: Iterable[str] = ()) -> tuple[Check, ...]:
    """Give the checks of these ids, or all where none is named.

    Raises:
        NotFound: when an id names no check.
    """
    wanted = set(only)
    require_known(checks, wanted)
    return tuple(check for check in checks if not wanted or check.id in wanted)


def require_known(checks: Sequence[Check], ids: Iterable[str]) -> None:
    """Come back when each id is one of a check.

    Raises:
        NotFound: when one is not; names the nearest.
    """
    known = [check.id for check in checks]
    for each in ids:
        if each not in known:
            near = difflib.get_close_matches(each, known, n=1)
            fix = f"did you mean {near[0]}?" if near else "lockgate scan --list shows all checks"
            raise NotFound(f"there is no check {each!r}", fix=fix)


def parse_acceptance(text: str) -> tuple[str, str]:
    """Read "ID=REASON".

    Raises:
        InvalidSettings: when there is no reason: who lives with a finding says why.
    """
    check, _, reason = text.partition("=")
    if not check or not reason.strip():
        raise InvalidSettings(f"{text!r} gives no reason", fix=f"--skip '{check or 'ID'}=why you live with it'")
    return check, reason.strip()


def _finding(check: Check, problem: Problem, reason: str) -> Finding:
    severity = problem.severity or check.severity
    return Finding(check.id, check.title, severity, problem.text, problem.fix, problem.place, reason)


def _look(check: Check, subject: Subject, seconds: float) -> list[Problem] | str:
    """Give what a check finds, or the reason why it could not be made."""
    answers: queue.Queue[list[Problem] | str] = queue.Queue()

    def look() -> None:
        try:
            answers.put(list(check.look(subject)))
        except LockgateError as error:
            answers.put(str(error))
        except Exception as error:
            # A check meets what no check has met before: that must neither stop the others nor look like a pass.
            answers.put(f"it failed: {type(error).__name__}: {error}")

    # A thread cannot be ended from outside: as a daemon it holds up nobody.
    threading.Thread(target=look, name=check.id, daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return f"it took longer than {seconds:g} s"
