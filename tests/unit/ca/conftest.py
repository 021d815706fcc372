"""A home with a desk at its CA, and time that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.ca.desk import Desk
from lockgate.home import Home
from lockgate.store.registry_db import RegistryDb
from tests.support.registry import NOW


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", ["hub.example", "127.0.0.1"], NOW, "anna", 0)


@pytest.fixture
def registry(home: Home) -> Iterator[RegistryDb]:
    with home.registry() as registry:
        yield registry


@pytest.fixture
def desk(home: Home, registry: RegistryDb) -> Desk:
    return Desk(home, registry, "anna")
