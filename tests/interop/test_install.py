"""What a user installs, with a C compiler and without one: from the source, and from wheels that were built elsewhere.

That the compiled build passes the tests of the hot rooms is shown by `tools/tests --compiled`, as `make test` runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

from lockgate.cli.output import HOT_ROOMS

ROOT = Path(__file__).parents[2]
NO_COMPILER = {"PATH": "/nonexistent", "CC": "/nonexistent/cc"}
MAX_WHEEL_BYTES = 3_200_000
"""The compiled wheel has 2.7 MB; with debug information it would have more than this."""


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
    return done.stdout + done.stderr


def pip(*words: str | Path, **environment: str) -> str:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *words, **environment)


def copy_source(target: Path) -> Path:
    """Copy what a wheel is built from: building writes into its folder."""
    target.mkdir()
    listed = run("git", "ls-files", "--", "src", "setup.py", "pyproject.toml", "README.md", "LICENSE").splitlines()
    run("cp", "--parents", "-t", target, *(path for path in listed if (ROOT / path).exists()))
    return target


@pytest.fixture(scope="module")
def compiled_wheel() -> Path:
    """The wheel with compiled hot rooms: the one that `tools/tests --compiled` tests."""
    run("tools/compiled")
    (wheel,) = (ROOT / "build" / "compiled" / "wheel").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def pure_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built where no compiler is."""
    folder = tmp_path_factory.mktemp("pure-wheel")
    source = copy_source(folder / "source")
    said = pip("wheel", "-v", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source, **NO_COMPILER)
    assert "no C compiler: the hot rooms stay plain Python" in said
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Install `wheel` into a fresh environment without a compiler; its dependencies are those of the tests."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip("--python", folder / "bin" / "python", "install", "--no-index", "--no-deps", wheel, **NO_COMPILER)
    (site,) = (folder / "lib").glob("python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    which = run(folder / "bin" / "python", "-c", "import lockgate; print(lockgate.__file__)")
    assert which.startswith(str(site)), "the lockgate under test must be the installed one"
    return folder


@pytest.fixture(
    scope="module",
    params=[
        "compiled wheel",
        "pure wheel",
        "pure source",
        pytest.param("compiled source", marks=pytest.mark.long),  # `make bench` installs so as well
    ],
)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    build, form = request.param.split()
    folder = tmp_path_factory.mktemp("installed")
    if form == "wheel":
        return build, install_wheel(request.getfixturevalue(f"{build}_wheel"), folder / "environment")
    run("tools/installed", folder, **({"LOCKGATE_COMPILED": "1"} if build == "compiled" else {"CC": NO_COMPILER["CC"]}))
    return build, folder


@pytest.mark.timeout(300)
def test_version_says_which_build_runs(installed: tuple[str, Path]) -> None:
    build, folder = installed
    said = run(folder / "bin" / "lockgate", "--version", **NO_COMPILER)
    assert ("hot rooms compiled by mypyc" in said) == (build == "compiled")
    assert ("pure Python" in said) == (build == "pure")


@pytest.mark.timeout(300)
def test_demonstration_runs(installed: tuple[str, Path]) -> None:
    _, folder = installed
    said = run(folder / "bin" / "lockgate", "demo", "--for", "6")
    assert "sensor -> office" in said
    assert "office -> sensor" in said
    assert said.count("refused") >= 3


@pytest.mark.timeout(300)
def test_the_compiled_wheel_is_for_this_platform_and_has_each_hot_room_compiled(compiled_wheel: Path) -> None:
    assert compiled_wheel.stem.endswith(sysconfig.get_platform().replace("-", "_").replace(".", "_"))
    names = ZipFile(compiled_wheel).namelist()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    compiled = {name.removesuffix(suffix).replace("/", ".") for name in names if name.endswith(suffix)}
    assert compiled == {*HOT_ROOMS, "lockgate__mypyc"}
    assert {f"{room.replace('.', '/')}.py" for room in HOT_ROOMS} <= set(names), "the source explains tracebacks"
    assert compiled_wheel.stat().st_size < MAX_WHEEL_BYTES


def test_the_pure_wheel_fits_any_platform(pure_wheel: Path) -> None:
    assert pure_wheel.stem.endswith("-py3-none-any")
    assert not [name for name in ZipFile(pure_wheel).namelist() if name.endswith(".so")]
