"""The list of known flaws: readable, dated, and compared by numbers."""

from __future__ import annotations

import re
from datetime import date

import pytest

from lockgate.scan.vulnerabilities import NEWEST_PYTHON, PYTHON_ENDS, VULNERABILITIES, Flaw, version_key


def test_the_list_is_dated_and_each_flaw_has_its_advisory() -> None:
    assert VULNERABILITIES.made >= date(2026, 11, 21)
    assert len(VULNERABILITIES.flaws) > 10
    for flaw in VULNERABILITIES.flaws:
        assert re.fullmatch(r"(CVE-\d{4}-\d+|GHSA-[0-9a-z-]+)", flaw.id)
        assert version_key(flaw.since) < version_key(flaw.fixed)


@pytest.mark.parametrize(
    ("version", "has_it"),
    [("1.9", False), ("2", True), ("2.0.0", True), ("2.10.1", True), ("2.11rc1", False), ("3", False)],
)
def test_versions_are_compared_by_their_numbers(version: str, has_it: bool) -> None:
    assert Flaw("CVE-1-1", "x", "2.11", "s", since="2.0").concerns(version) == has_it


def test_a_version_that_is_none_is_the_oldest() -> None:
    assert version_key("unknown") == version_key("0.0") == (0,)


def test_the_newest_python_has_an_end() -> None:
    assert ".".join(map(str, max(PYTHON_ENDS))) == NEWEST_PYTHON
