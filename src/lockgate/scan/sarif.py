"""A report in SARIF 2.1.0, the form that code scanners and their dashboards exchange.

Source: OASIS SARIF 2.1.0, sections 3.13 (log), 3.14 (run), 3.19 (tool component), 3.27 (result), 3.35 (suppression).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lockgate import __version__
from lockgate.scan.finding import Check, Finding, Report, Severity, Unchecked

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {
    Severity.SEVERE: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
SCORES = {
    Severity.SEVERE: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.0",
    Severity.LOW: "2.0",
    Severity.INFO: "0.0",
}
"""What dashboards sort by, as `security-severity`: a number from 0 to 10 as in CVSS."""


def to_sarif(report: Report, checks: Sequence[Check]) -> dict[str, Any]:
    """Give the report as a SARIF log with one run: a rule per check, a result per finding."""
    numbers = {check.id: number for number, check in enumerate(checks)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "lockgate scan",
                        "version": __version__,
                        "rules": [_rule(check) for check in checks],
                    }
                },
                "results": [_result(finding, numbers[finding.check]) for finding in report.findings],
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [_notification(each) for each in report.unchecked],
                    }
                ],
            }
        ],
    }


def _rule(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.meaning},
        "help": {"text": f"Fix: {check.fix}" + (f"\nSee: {check.reference}" if check.reference else "")},
        "defaultConfiguration": {"level": LEVELS[check.severity]},
        "properties": {"severity": check.severity.value, "security-severity": SCORES[check.severity]},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.check,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.text}\nFix: {finding.fix}"},
        "properties": {"severity": finding.severity.value, "fix": finding.fix},
    }
    if finding.place:
        result["locations"] = [{"logicalLocations": [{"name": finding.place}]}]
    if finding.accepted:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": finding.accepted}]
    return result


def _notification(unchecked: Unchecked) -> dict[str, Any]:
    return {
        "level": "warning",
        "message": {"text": f"could not be checked: {unchecked.title}: {unchecked.reason}"},
        "associatedRule": {"id": unchecked.check},
    }
