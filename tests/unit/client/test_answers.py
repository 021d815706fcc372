"""An answer reaches the one who waits for it, whichever comes first."""

from __future__ import annotations

import threading

import pytest

from lockgate.client.answers import Answers
from lockgate.errors import NotAuthorized, Unavailable


def test_an_answer_that_came_first_is_there() -> None:
    answers = Answers()
    assert answers.put(7, None)
    answers.take(7, 0)


def test_the_hubs_no_is_raised_where_it_was_waited_for_and_once() -> None:
    answers = Answers()
    answers.put(7, NotAuthorized("no"))
    answers.put(8, None)
    answers.take(8, 0)
    with pytest.raises(NotAuthorized, match="no"):
        answers.take(7, 0)
    with pytest.raises(Unavailable):
        answers.take(7, 0)


def test_an_answer_from_another_thread_wakes_the_one_who_waits() -> None:
    answers = Answers()
    thread = threading.Thread(target=answers.put, args=(7, NotAuthorized("no")))
    thread.start()
    with pytest.raises(NotAuthorized):
        answers.take(7, 30)
    thread.join()


def test_a_late_answer_is_forgotten_and_the_packet_id_is_free_again() -> None:
    answers = Answers()
    with pytest.raises(Unavailable, match="did not answer within 0 s"):
        answers.take(7, 0)
    assert not answers.put(7, NotAuthorized("too late"))
    assert answers.put(7, None)
    answers.take(7, 0)


def test_an_answer_that_nobody_will_wait_for_is_not_kept() -> None:
    answers = Answers()
    answers.forget(7)
    assert not answers.put(7, None)
    assert answers.put(7, None)
