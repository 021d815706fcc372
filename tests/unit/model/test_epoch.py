"""Everybody who holds an epoch sees it move."""

from __future__ import annotations

from lockgate.model import epoch as room
from lockgate.model.epoch import Epoch


def test_who_remembers_sees_that_something_changed() -> None:
    epoch = Epoch()
    seen = epoch.number
    epoch.move()
    assert epoch.number != seen


def test_a_change_that_concerns_some_leaves_standing_what_was_decided_about_others() -> None:
    epoch = Epoch()
    epoch.move(["a", "b"])
    decided = epoch.number
    epoch.move({"b"})
    assert [epoch.moved_at(name) > decided for name in ("a", "b", "c")] == [False, True, False]
    epoch.move()
    assert all(epoch.moved_at(name) > decided for name in ("a", "b", "c"))
    decided = epoch.number
    epoch.move([])
    assert not any(epoch.moved_at(name) > decided for name in ("a", "b", "c"))


def test_changes_about_very_many_concern_all() -> None:
    epoch = Epoch()
    decided = epoch.number
    for start in range(0, room.MAX_NAMES, 8192):
        epoch.move([str(number) for number in range(start, start + 8192)])
    assert epoch.moved_at("stranger") <= decided
    epoch.move(["one more"])
    assert epoch.moved_at("stranger") > decided
    assert len(epoch._moved_at) <= room.MAX_NAMES
