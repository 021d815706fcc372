"""tools/sbom: the bill of materials names what we ship, and a known vulnerability fails the check.

The advisory service is outside and not always reached, so its tool is replaced here by one that answers as it does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLEAN = {"name": "click", "version": "8.5.1", "vulns": []}
BAD = {"name": "rich", "version": "15.0.0", "vulns": [{"id": "PYSEC-2026-1"}]}
UNKNOWN = {"name": "msgspec", "skip_reason": "could not be audited"}


def run(folder: Path, packages: list[object], code: int, *options: str) -> subprocess.CompletedProcess[str]:
    shutil.copytree(ROOT / "tools", folder / "tools")
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    shutil.copy(ROOT / "pyproject.toml", folder)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (folder / "answer.json").write_text(json.dumps({"dependencies": packages}))
    real = Path(sys.executable)
    for name, line in (
        ("python", f'exec "{real}" "$@"'),
        ("cyclonedx-py", f'exec "{real.with_name("cyclonedx-py")}" "$@"'),
        ("pip-audit", f'cat "{folder}/answer.json"; exit {code}'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    return subprocess.run([folder / "tools" / "sbom", *options], capture_output=True, text=True, timeout=60)


def test_a_known_vulnerability_fails_the_check_and_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, [CLEAN, BAD], 1)
    assert done.returncode == 1
    assert "VULNERABLE: rich 15.0.0: PYSEC-2026-1" in done.stdout


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_what_could_not_be_checked_is_said_and_fails_a_strict_check(
    tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    done = run(tmp_path, [CLEAN, UNKNOWN], 0, *options)
    assert "1 of 2 locked packages checked, 0 found" in done.stdout
    assert "NOT CHECKED" in done.stdout
    assert done.returncode == code


@pytest.mark.requirement("F7")
def test_the_bill_names_the_locked_packages_and_the_c_libraries(tmp_path: Path) -> None:
    done = run(tmp_path, [CLEAN], 0, "--strict")
    assert done.returncode == 0, done.stderr
    components = json.loads((tmp_path / "build" / "sbom.json").read_text())["components"]
    names = {component["name"] for component in components}
    locked = (ROOT / "requirements" / "runtime.txt").read_text().splitlines()
    assert {line.split("==")[0] for line in locked if "==" in line} | {"openssl", "libuv", "sqlite"} <= names
