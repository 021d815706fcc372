"""`lockgate import mosquitto`: said first, done then, and told line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import CommandLine
from tests.unit.model.test_mosquitto_hash import ONCE


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys).makes_home()


@pytest.mark.requirement("F19")
def test_a_dry_run_says_and_does_nothing(line: CommandLine, tmp_path: Path) -> None:
    conf = tmp_path / "mosquitto.conf"
    conf.write_text("password_file p\nacl_file a\n")
    (tmp_path / "p").write_text(f"anna:{ONCE}\n")
    (tmp_path / "a").write_text("user anna\ntopic write plan\npattern read home/%u\n")
    said = line.does("import", "mosquitto", conf, "--dry-run").out
    assert "would take over 1 devices and 2 rules" in said
    assert "p:1" in said
    assert line.does("device", "list", "--json").json() == []
    facts = line.does("import", "mosquitto", conf, "--json").json()
    assert (facts["is_done"], facts["devices"], facts["rules"], len(facts["lines"])) == (True, ["anna"], 2, 8)
    assert [d["name"] for d in line.does("device", "list", "--json").json()] == ["anna"]
    assert line.does("policy", "explain", "anna", "publish", "plan").code == 0
    again = line.does("import", "mosquitto", conf, "--json").json()  # once more changes nothing
    assert (again["devices"], again["rules"]) == ([], 0)
    line.does("audit", "verify")
