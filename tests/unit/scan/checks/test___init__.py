"""All checks together: named well, listed once, at home in a fresh home."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from lockgate.scan import checks
from lockgate.scan.checks import ALL_CHECKS
from lockgate.scan.finding import Check, Severity
from tests.support.scan import FRESH, Examined

TESTS = Path(__file__).parent


def test_every_file_of_a_check_is_in_its_list() -> None:
    names = [m.name for m in pkgutil.walk_packages(checks.__path__, f"{checks.__name__}.") if not m.ispkg]
    found = [getattr(importlib.import_module(name), "CHECK", None) for name in names]
    assert sorted(c.id for c in found if c is not None) == sorted(check.id for check in ALL_CHECKS)
    assert None not in found
    assert len(ALL_CHECKS) >= 30


def test_ids_are_unique_and_stable_words() -> None:
    ids = [check.id for check in ALL_CHECKS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"LG-[A-Z]+-\d{3}", each) for each in ids)


@pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.id)
def test_each_check_says_what_it_means_and_what_mends_it(check: Check) -> None:
    assert check.meaning.endswith(".")
    assert check.fix
    assert check.title
    assert not check.title.endswith(".")


@pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.id)
def test_each_check_has_a_test_that_makes_its_fault(check: Check) -> None:
    texts = [path.read_text() for path in TESTS.rglob("*/test___init__.py")]
    assert any(f'"{check.id}"' in text for text in texts)


@pytest.mark.requirement("O3")
def test_a_fresh_home_has_no_severe_and_no_high_finding(home: Examined) -> None:
    report = home.report()
    assert {f.check for f in report.findings} <= FRESH
    bad = [f for f in report.standing(Severity.HIGH) if f.check != "LG-HOST-001"]  # tests may run as root
    assert not bad
    assert {u.check for u in report.unchecked} == {c.id for c in ALL_CHECKS if c.needs_hub}
    assert len(report.passed) + len({f.check for f in report.findings}) + len(report.unchecked) == len(ALL_CHECKS)
