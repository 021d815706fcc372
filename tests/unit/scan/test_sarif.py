"""SARIF 2.1.0: what the standard requires of a log is there."""

from __future__ import annotations

import json

from lockgate.scan.finding import Check, Finding, Report, Severity, Unchecked
from lockgate.scan.sarif import LEVELS, SCORES, to_sarif

CHECKS = [
    Check(f"LG-X-00{n}", f"check {n}", severity, "It means.", "do it", lambda _: (), "RFC 1" if n else "")
    for n, severity in enumerate(Severity)
]
REPORT = Report(
    0.0,
    "home",
    (
        Finding("LG-X-000", "check 0", Severity.SEVERE, "bad", "mend it", "server.key"),
        Finding("LG-X-003", "check 3", Severity.LOW, "untidy", "tidy", accepted="we like it"),
    ),
    (Unchecked("LG-X-001", "check 1", "no hub runs"),),
    ("LG-X-002",),
)


def test_each_result_names_its_rule_by_id_and_index() -> None:
    log = json.loads(json.dumps(to_sarif(REPORT, CHECKS)))
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [check.id for check in CHECKS]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
    severe, low = run["results"]
    assert "Fix: mend it" in severe["message"]["text"]
    assert severe["locations"][0]["logicalLocations"][0]["name"] == "server.key"
    assert low["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "we like it"}]
    assert "suppressions" not in severe


def test_what_could_not_be_checked_is_a_notification() -> None:
    notes = to_sarif(REPORT, CHECKS)["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert notes[0]["associatedRule"] == {"id": "LG-X-001"}
    assert "no hub runs" in notes[0]["message"]["text"]


def test_every_severity_has_a_level_and_a_score() -> None:
    assert set(LEVELS) == set(SCORES) == set(Severity)
    scores = [float(SCORES[severity]) for severity in Severity]
    assert scores == sorted(scores, reverse=True)
