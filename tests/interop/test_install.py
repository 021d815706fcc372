"""`pip install .` as a user does it, with a C compiler and without; both builds run, and pass the hot rooms' tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILDS = [("compiled", {"LOCKGATE_COMPILED": "1"}), ("pure", {"CC": "/nonexistent/cc"})]


def run(*command: str | Path, **environment: str) -> str:
    # PYTHONPATH would hide what is installed.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
        env={**inherited, "PYTHON": sys.executable, **environment},
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module", params=BUILDS, ids=[name for name, _ in BUILDS])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    name, environment = request.param
    folder = tmp_path_factory.mktemp(f"installed-{name}")
    run("tools/installed", folder, **environment)
    return name, folder


@pytest.mark.timeout(300)
def test_version_says_which_build_runs(installed: tuple[str, Path]) -> None:
    name, folder = installed
    said = run(folder / "bin" / "lockgate", "--version")
    assert ("hot rooms compiled by mypyc" in said) == (name == "compiled")
    assert ("pure Python" in said) == (name == "pure")


@pytest.mark.timeout(300)
def test_demonstration_runs(installed: tuple[str, Path]) -> None:
    _, folder = installed
    said = run(folder / "bin" / "lockgate", "demo", "--for", "6")
    assert "sensor -> office" in said
    assert "office -> sensor" in said
    assert said.count("refused") >= 3


@pytest.mark.timeout(300)
def test_hot_rooms_pass_their_tests(installed: tuple[str, Path]) -> None:
    _, folder = installed
    site = next((folder / "lib").glob("python3*/site-packages"))
    which = run(sys.executable, "-c", "import lockgate; print(lockgate.__file__)", PYTHONPATH=str(site))
    assert which.strip().startswith(str(site)), "the build under test must be the installed one"
    rooms = ("tests/unit/adapters", "tests/unit/hub", "tests/unit/model", "tests/playbook")
    run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *rooms, PYTHONPATH=str(site))
