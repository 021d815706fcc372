"""`lockgate scan`, and what `up --production` makes of it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from lockgate import app
from lockgate.scan.checks import ALL_CHECKS
from tests.support.cli import CommandLine

up = importlib.import_module("lockgate.cli.up")  # the module, not the command of that name
WIDE = ("policy", "allow", "--everyone", "--publish", "#")


@pytest.mark.requirement("O3")
def test_a_fresh_home_passes_and_what_it_shows_has_fixes(lockgate: CommandLine) -> None:
    done = lockgate.does("scan")
    assert "MEDIUM\n  LG-CA-001" in done.out
    assert "fix: " in done.out
    assert "COULD NOT BE CHECKED" in done.out
    assert "no hub runs on this home" in done.out
    assert "SEVERE" not in done.out
    assert "checks passed" in done.out.splitlines()[-1]


@pytest.mark.requirement("O3")
def test_a_severe_finding_ends_with_1_until_it_is_mended(lockgate: CommandLine) -> None:
    lockgate.does(*WIDE)
    done = lockgate("scan")
    assert done.code == 1
    assert done.out.startswith("SEVERE\n  LG-RULE-001  Everyone may publish into other devices' trees\n")
    assert "fix: lockgate policy remove 1" in done.out
    lockgate.does("policy", "remove", "1")
    lockgate.does("scan")


def test_the_threshold_is_chosen(lockgate: CommandLine) -> None:
    lockgate.does("scan", "--only", "LG-CA-001")
    assert lockgate("scan", "--only", "LG-CA-001", "--fail-on", "medium").code == 1
    lockgate.does("scan", "--only", "LG-CA-001", "--fail-on", "high")
    lockgate.misused("scan", "--fail-on", "info")


def test_json_is_for_programs(lockgate: CommandLine) -> None:
    lockgate.does(*WIDE)
    report = lockgate("scan", "--json").json()
    assert report.keys() == {"at", "target", "findings", "unchecked", "passed", "skipped", "counts"}
    first = report["findings"][0]
    assert first.keys() == {"check", "title", "severity", "text", "fix", "place", "accepted"}
    assert (first["check"], first["severity"], report["counts"]["severe"]) == ("LG-RULE-001", "severe", 1)
    assert report["unchecked"][0].keys() == {"check", "title", "reason"}


def test_who_lives_with_a_finding_says_why(lockgate: CommandLine) -> None:
    lockgate.does(*WIDE)
    done = lockgate.does("scan", "--skip", "LG-RULE-001=a lab")
    assert "ACCEPTED\n  LG-RULE-001" in done.out
    assert "why: a lab" in done.out
    assert "gives no reason" in lockgate.refuses("scan", "--skip", "LG-RULE-001")
    assert "did you mean LG-RULE-001?" in lockgate.refuses("scan", "--skip", "LG-RULES-001=x")
    with (lockgate.home / "lockgate.toml").open("a") as file:
        file.write('[scan]\naccept = {"LG-RULE-001" = "so be it"}\n')
    assert "why: so be it" in lockgate.does("scan").out


def test_sarif_goes_to_a_file_or_out(lockgate: CommandLine, tmp_path: Path) -> None:
    lockgate.does("scan", "--sarif", tmp_path / "report.sarif")
    log = json.loads((tmp_path / "report.sarif").read_text())
    assert len(log["runs"][0]["tool"]["driver"]["rules"]) == len(ALL_CHECKS)
    assert json.loads(lockgate.does("scan", "--sarif", "-").out)["version"] == "2.1.0"


def test_checks_are_listed_without_a_home(bare: CommandLine) -> None:
    assert len(bare.does("scan", "--list").out.splitlines()) == len(ALL_CHECKS) + 1
    assert bare.does("scan", "--list", "--json").json()[0].keys() == {"id", "severity", "title", "needs_hub"}
    assert "lockgate init" in bare.refuses("scan")


def test_a_home_that_up_refuses_is_scanned_all_the_same(lockgate: CommandLine) -> None:
    (lockgate.home / "registry.db").chmod(0o644)
    done = lockgate("scan")
    assert done.code == 1
    assert "LG-FILE-001" in done.out
    assert "chmod -R go=" in done.out


@pytest.mark.requirement("O3")
def test_production_does_not_start_while_something_severe_stands(lockgate: CommandLine) -> None:
    lockgate.does(*WIDE)
    (lockgate.home / "server.key").chmod(0o644)
    done = lockgate("up", "--production")
    assert (done.code, done.out) == (1, "")
    lines = done.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "fix", "error", "fix"]
    assert "(LG-FILE-001)" in lines[0]
    assert "(LG-RULE-001)" in lines[2]
    assert lines[3] == "fix: lockgate policy remove 1"


def test_production_starts_a_fresh_home(lockgate: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(app, "run_gate", lambda home, *_: started.append(home.path))
    lockgate.does("up", "--production")
    assert started == [lockgate.home]


def test_the_lab_door_has_no_place_in_production(lockgate: CommandLine) -> None:
    assert "--lab-port" in lockgate.misused("up", "--production", "--lab-port", "0")


def test_a_service_for_production_is_installed_only_when_fit(lockgate: CommandLine, tmp_path: Path) -> None:
    unit = lockgate.does("service", "install", "--production", "--print").out
    assert f"up --production --home {lockgate.home}\n" in unit
    assert "StartLimitIntervalSec=0\n" in unit
    assert "RestartSec=30\n" in unit
    plain = lockgate.does("service", "install", "--print").out
    assert "--production" not in plain
    assert "RestartSec=1\n" in plain
    lockgate.does(*WIDE)
    done = lockgate("service", "install", "--production", "--unit-dir", tmp_path)
    assert done.code == 1
    assert "LG-RULE-001" in done.err
    assert not (tmp_path / "lockgate.service").exists()
