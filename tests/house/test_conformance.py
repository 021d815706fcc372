"""The conformance suite is whole: no statement without a test or a reason, no test of a statement that is not there."""

from __future__ import annotations

import pytest

from tests.conformance import catalogue, report

VERSIONS = tuple(catalogue.FILES)
TESTS = catalogue.tests()
COUNTS = {"5.0": 250, "3.1.1": 141, "RFC 7252": 99, "RFC 7641": 22, "RFC 7959": 19}
"""How many numbered statements each standard has; of the RFCs, how many we found that bind a server."""


@pytest.mark.parametrize("version", VERSIONS)
def test_no_statement_is_left_out(version: str) -> None:
    assert len(catalogue.statements(version)) == COUNTS[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_statement_that_binds_a_server_has_a_test(version: str) -> None:
    bare = [
        number
        for number, statement in catalogue.statements(version).items()
        if statement.is_ours and (version, number) not in TESTS
    ]
    assert bare == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_statement_that_binds_no_server_says_why_and_others_do_not(version: str) -> None:
    for number, statement in catalogue.statements(version).items():
        assert bool(statement.reason) != statement.is_ours, number
        assert statement.wording, number


def test_no_test_names_a_statement_that_is_not_in_the_list() -> None:
    known = {(version, number) for version in VERSIONS for number in catalogue.statements(version)}
    assert sorted(set(TESTS) - known) == []


def test_the_differences_of_other_hubs_are_about_tests_that_exist() -> None:
    names = {test for group in TESTS.values() for test in group}
    for path in (catalogue.HERE / "elsewhere").glob("*.toml"):
        for test in catalogue.differences(path.stem):
            assert test.partition("[")[0] in names, f"{path.name}: {test}"


def test_the_kept_results_know_all_tests() -> None:
    names = {test for group in TESTS.values() for test in group}
    assert names <= set(report.load_results()), "run make conformance"


def test_a_test_has_passed_when_all_its_cases_have() -> None:
    outcomes = [("a.py::t[1]", "passed"), ("a.py::t[2]", "skipped"), ("a.py::t[3]", "passed"), ("a.py::u", "passed")]
    assert report.summed_up(outcomes) == {"a.py::t": "skipped", "a.py::u": "passed"}


def test_the_page_claims_a_pass_only_for_what_has_passed() -> None:
    assert report.result(["a"], {"a": "passed"}) == "passed"
    assert report.result(["a", "b"], {"a": "passed", "b": "skipped"}) == "skipped"
    assert report.result(["a", "b"], {"a": "passed"}) == "not run"
    assert report.result([], {}) == "no test"
