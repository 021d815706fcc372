"""The scanner and real doors: nothing bad is found at a hub of ours, everything at one that does all wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lockgate.fitness import gather
from lockgate.home import Home
from lockgate.scan.checks import ALL_CHECKS
from lockgate.scan.finding import Report, Severity
from lockgate.scan.runner import scan
from tests.support.hub import RunningHub
from tests.support.scan import FRESH

pytestmark = pytest.mark.process


def look(hub: RunningHub) -> Report:
    return scan(gather(Home(hub.home), time.time()), ALL_CHECKS)


@pytest.mark.requirement("O3", "T5", "T8", "T10", "T17")
def test_a_fresh_hub_that_runs_has_no_severe_and_no_high_finding(tmp_path: Path) -> None:
    with RunningHub(tmp_path) as hub:
        report = look(hub)
        assert not report.unchecked
        assert {f.check for f in report.findings} <= FRESH | {"LG-CA-002", "LG-CERT-004"}
        assert {f.check for f in report.standing(Severity.HIGH)} <= {"LG-HOST-001"}  # tests may run as root
        hub.wait_for_refusal("no credentials", client_id="lockgate-scan")
        hub.wait_for_refusal("self-signed certificate")
        assert not hub.events("error.caught")


def test_the_lab_door_is_severe(tmp_path: Path) -> None:
    with RunningHub(tmp_path, lab=True) as hub:
        done = hub.lockgate("scan", check=False)
        assert done.returncode == 1
        assert "LG-HUB-001  The lab door is open" in done.stdout
