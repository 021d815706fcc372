"""Everybody who holds an epoch sees it move."""

from __future__ import annotations

from lockgate.model.epoch import Epoch


def test_who_remembers_sees_that_something_changed() -> None:
    epoch = Epoch()
    seen = epoch.number
    epoch.move()
    assert epoch.number != seen
