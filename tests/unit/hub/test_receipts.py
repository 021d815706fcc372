"""Receipts are compared by what they say."""

from __future__ import annotations

from lockgate.hub import Opened, Receipt
from lockgate.hub.session import Session
from tests.support.fakes import FakeStore, principal


def test_receipts_are_compared_by_what_they_say() -> None:
    assert Receipt(1, 2) == Receipt(1, 2)
    assert len({Receipt(1, 2), Receipt(1, 2)}) == 1
    assert Receipt() != Receipt(1)
    assert Receipt() != 0
    assert repr(Receipt(1, 2)) == "Receipt(heard_by=1, commit=2)"


def test_a_session_that_opened_has_nothing_to_send_again_unless_told() -> None:
    opened = Opened(Session(principal("a"), 0.0, FakeStore(), 1, 1, 1), False)
    assert (opened.resend, opened.commit, opened.is_present) == ((), 0, False)
