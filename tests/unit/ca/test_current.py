"""The desk is read again when its files are others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.ca.current import CurrentDesk
from lockgate.ca.rotation import read_root, rotate_issuing
from lockgate.errors import InvalidSettings
from lockgate.home import Home

NOW = 1_800_000_000.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", ["hub.example"], NOW, "anna", 0)


def test_the_same_desk_until_the_ca_is_rotated_and_then_the_new_one(home: Home) -> None:
    with home.registry() as registry:
        current = CurrentDesk(home, registry, "office")
        first = current()
        assert current() is first
        rotate_issuing(first, read_root(home), NOW)
        second = current()
        assert second.issuing.thumbprint != first.issuing.thumbprint
        assert [each.thumbprint for each in second.older] == [first.issuing.thumbprint]
        assert current() is second


def test_a_key_that_cannot_be_read_is_said_and_the_old_desk_tried_no_more(home: Home) -> None:
    with home.registry() as registry:
        current = CurrentDesk(home, registry, "office")
        home.issuing_key_path.unlink()
        for _ in range(2):
            with pytest.raises(InvalidSettings):
                current()
