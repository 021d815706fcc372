"""Who waits for a moment is found when it has come, not before, and once; who is forgotten leaves nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.hub.rounds import SPARE_ENTRIES, Rounds

moments = st.floats(0, 100)


@given(st.lists(st.tuples(st.integers(0, 9), moments | st.none())), st.lists(moments, max_size=8).map(sorted))
def test_each_is_found_once_at_the_first_look_at_its_latest_moment_or_after(
    wanted: list[tuple[int, float | None]], looks: list[float]
) -> None:
    rounds: Rounds[int] = Rounds()
    for each, at in wanted:
        rounds.wait(each, at)
    left = {each: at for each, at in dict(wanted).items() if at is not None}
    for now in [*looks, 100.0]:
        due = rounds.due(now)
        expected = sorted(at for at in left.values() if at <= now)
        assert [left.pop(each) for each in due] == expected
    assert not left
    assert len(rounds) == 0


def test_who_comes_and_goes_leaves_nothing_behind() -> None:
    rounds: Rounds[int] = Rounds()
    for each in range(10_000):
        rounds.wait(each, 90.0)
        rounds.forget(each)
        rounds.forget(each)
        assert len(rounds) <= SPARE_ENTRIES + 1
    assert rounds.due(100.0) == []


def test_a_deadline_that_moves_again_and_again_takes_one_place_or_two() -> None:
    rounds: Rounds[int] = Rounds()
    for turn in range(1000):
        for each in range(100):
            rounds.wait(each, float(turn + each))
        assert len(rounds) <= 2 * 100 + SPARE_ENTRIES + 1
    assert rounds.due(998.0) == []
    assert rounds.due(1098.0) == list(range(100))
