"""Running checks: in time, one by one, and never a pass for what was not seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lockgate.errors import InvalidSettings, NotFound, StoreDamaged
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.runner import chosen, parse_acceptance, require_known, scan
from lockgate.scan.subject import Subject

SUBJECT = Subject(now=1.0, target="somewhere")


def check(number: int, *problems: Problem, severity: Severity = Severity.HIGH) -> Check:
    return Check(f"LG-X-00{number}", f"check {number}", severity, "It means.", "do it", lambda _: problems)


def test_findings_come_worst_first_and_passes_by_id() -> None:
    low = check(1, Problem("untidy", "tidy up"), severity=Severity.LOW)
    bad = check(2, Problem("open", "close it", "b"), Problem("ajar", "close it", "a", Severity.INFO))
    report = scan(SUBJECT, [low, bad, check(3)])
    assert [(f.check, f.severity) for f in report.findings] == [
        ("LG-X-002", Severity.HIGH),
        ("LG-X-001", Severity.LOW),
        ("LG-X-002", Severity.INFO),
    ]
    assert (report.passed, report.unchecked, report.at, report.target) == (("LG-X-003",), (), 1.0, "somewhere")
    assert [f.check for f in report.standing(Severity.MEDIUM)] == ["LG-X-002"]


def test_what_is_accepted_is_told_and_does_not_stand() -> None:
    report = scan(SUBJECT, [check(1, Problem("open", "close it"))], accepted={"LG-X-001": "behind a wall"})
    assert report.findings[0].accepted == "behind a wall"
    assert report.standing(Severity.INFO) == ()


def broken(_: Subject) -> Iterator[Problem]:
    yield Problem("one", "two")
    raise RuntimeError("at the second")


def damaged(_: Subject) -> Iterator[Problem]:
    raise StoreDamaged("registry.db is damaged")


def needy(subject: Subject) -> Iterator[Problem]:
    assert subject.need(subject.settings, "settings")
    yield Problem("", "")


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (broken, "it failed: RuntimeError: at the second"),
        (damaged, "registry.db is damaged"),
        (needy, "settings is not known"),
    ],
)
def test_a_check_that_cannot_be_made_is_no_pass(look: object, reason: str) -> None:
    faulty = Check("LG-X-001", "it", Severity.LOW, "It means.", "do it", look)  # type: ignore[arg-type]
    report = scan(SUBJECT, [faulty, check(2)])
    assert (report.findings, report.passed) == ((), ("LG-X-002",))
    assert [(u.check, u.reason) for u in report.unchecked] == [("LG-X-001", reason)]


def test_a_check_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def hang(_: Subject) -> Iterator[Problem]:
        release.wait()
        yield Problem("late", "")

    report = scan(SUBJECT, [Check("LG-X-001", "it", Severity.LOW, "It means.", "do it", hang)], seconds=0.01)
    release.set()
    assert report.unchecked[0].reason == "it took longer than 0.01 s"


def test_checks_are_chosen_by_id() -> None:
    both = [check(1), check(2)]
    assert chosen(both) == tuple(both)
    assert chosen(both, ["LG-X-002"]) == (both[1],)
    with pytest.raises(NotFound) as near:
        chosen(both, ["LG-X-02"])
    assert near.value.fix.startswith("did you mean LG-X-00")
    with pytest.raises(NotFound) as far:
        require_known(both, ["zzz"])
    assert "--list" in far.value.fix


def test_an_acceptance_needs_its_reason() -> None:
    assert parse_acceptance("LG-X-001=no network = no risk") == ("LG-X-001", "no network = no risk")
    for text in ("LG-X-001", "LG-X-001=", "LG-X-001= ", "=why"):
        with pytest.raises(InvalidSettings) as caught:
            parse_acceptance(text)
        assert "--skip" in caught.value.fix
