"""What has begun to come and is not whole: bounded together, and in time."""

from __future__ import annotations

from lockgate.errors import LockgateError, QuotaExceeded
from lockgate.net.partials import Partials


class Connection:
    def __init__(self) -> None:
        self.errors: list[LockgateError] = []
        self.held = False

    def break_off(self, error: LockgateError) -> None:
        self.errors.append(error)

    def is_held(self) -> bool:
        return self.held


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_one_that_was_begun_first_goes_when_all_are_too_much() -> None:
    clock = Clock()
    partials = Partials(1000, 10, clock)
    first, second, third = Connection(), Connection(), Connection()
    partials.hold(first, 100, is_new=True)
    partials.hold(second, 100, is_new=True)
    partials.hold(first, 400, is_new=False)
    partials.hold(third, 600, is_new=True)
    assert [len(each.errors) for each in (first, second, third)] == [1, 0, 0]
    assert isinstance(first.errors[0], QuotaExceeded)
    assert "max_partial_bytes" in first.errors[0].fix
    assert (partials.bytes, len(partials)) == (700, 2)


def test_who_finishes_and_begins_anew_goes_to_the_end_of_the_line() -> None:
    partials = Partials(1000, 10, Clock())
    busy, idle = Connection(), Connection()
    partials.hold(busy, 400, is_new=True)
    partials.hold(idle, 400, is_new=True)
    partials.hold(busy, 500, is_new=True)
    partials.hold(busy, 700, is_new=False)
    assert (busy.errors, len(idle.errors)) == ([], 1)


def test_one_alone_may_not_exceed_the_bound_either() -> None:
    partials = Partials(1000, 10, Clock())
    one = Connection()
    partials.hold(one, 1001, is_new=True)
    assert (len(one.errors), partials.bytes) == (1, 0)


def test_what_came_whole_or_is_gone_counts_no_more() -> None:
    partials = Partials(1000, 10, Clock())
    one, other = Connection(), Connection()
    partials.hold(one, 900, is_new=True)
    partials.hold(one, 0, is_new=False)
    partials.hold(one, 0, is_new=True)
    partials.hold(other, 900, is_new=True)
    partials.drop(other)
    partials.drop(other)
    assert (partials.bytes, len(partials), one.errors, other.errors) == (0, 0, [], [])


def test_what_does_not_come_whole_in_time_is_broken_off() -> None:
    clock = Clock()
    partials = Partials(1000, 10, clock)
    slow, late = Connection(), Connection()
    partials.hold(slow, 1, is_new=True)
    clock.now += 5
    partials.hold(slow, 2, is_new=False)
    partials.hold(late, 1, is_new=True)
    clock.now += 5
    partials.handle_timer()
    assert ([error.reason for error in slow.errors], late.errors) == (["packet not finished"], [])
    clock.now += 5
    partials.handle_timer()
    assert len(late.errors) == 1
    partials.handle_timer()
    assert partials.bytes == 0


def test_who_is_not_read_by_the_hub_s_own_will_has_time() -> None:
    clock = Clock()
    partials = Partials(1000, 10, clock)
    one = Connection()
    one.held = True
    partials.hold(one, 5, is_new=True)
    clock.now += 10
    partials.handle_timer()
    assert (one.errors, partials.bytes) == ([], 5)
    one.held = False
    clock.now += 9
    partials.handle_timer()
    assert one.errors == []
    clock.now += 1
    partials.handle_timer()
    assert len(one.errors) == 1
