"""A delivery can be compared, and be sent again."""

from __future__ import annotations

from lockgate.model.delivery import Delivery
from lockgate.model.message import Message
from lockgate.model.topic import TopicName

DELIVERY = Delivery(Message(TopicName("a"), b"x"), 1, True, (1, 2), 9, 4, False, "$share/s/a")


def test_deliveries_are_compared_by_what_they_say() -> None:
    same = Delivery(Message(TopicName("a"), b"x"), 1, True, (1, 2), 9, 4, False, "$share/s/a")
    assert same == DELIVERY
    assert len({same, DELIVERY}) == 1
    assert Delivery(DELIVERY.message, 1) != DELIVERY
    assert DELIVERY != "a"
    assert "share" in repr(DELIVERY)


def test_a_delivery_that_goes_again_says_so_and_nothing_else() -> None:
    again = DELIVERY.again()
    assert (again.is_repeated, again.was_sent, again.tag, again.share) == (True, False, 9, "$share/s/a")
    assert DELIVERY.again(was_sent=True).was_sent
    assert DELIVERY.again(was_sent=True).again().was_sent
