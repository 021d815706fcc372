"""What all tests share: how property-based tests are judged, and which build of the hot rooms is tested.

A property-based test is judged by what it finds, never by how long a loaded machine took. `tools/tests --compiled` runs
tests on the compiled build: then each hot room must really be compiled, and tests that need the source are left out.
"""

from __future__ import annotations

import importlib
import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("lockgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockgate")

IS_COMPILED = os.environ.get("LOCKGATE_TESTED") == "compiled"


def pytest_sessionstart() -> None:
    """Refuse to test something else than what was asked for."""
    if not IS_COMPILED:
        return
    from lockgate.cli.output import HOT_ROOMS

    pure = [name for name in HOT_ROOMS if str(importlib.import_module(name).__file__).endswith(".py")]
    if pure:
        raise pytest.UsageError(f"these hot rooms are not compiled: {', '.join(pure)}; see tools/compiled")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, on the compiled build, what only the source lets be tested."""
    for item in items if IS_COMPILED else ():
        mark = item.get_closest_marker("source")
        if mark is not None:
            item.add_marker(pytest.mark.skip(reason=f"not on the compiled build: {mark.args[0]}"))
