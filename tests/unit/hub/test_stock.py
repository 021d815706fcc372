"""What subscriptions take up is counted by device, and given back."""

from __future__ import annotations

import pytest

from lockgate.errors import QuotaExceeded
from lockgate.hub.session import Session
from lockgate.hub.stock import Stock, size_of
from lockgate.model.session import Subscription
from lockgate.model.topic import TopicFilter
from tests.support.fakes import FakeStore, principal


def session(device: str, client_id: str = "") -> Session:
    return Session(principal(device, client_id), 0, FakeStore(), 10, 1000, 10)


A_LOT = Subscription(TopicFilter("a/b/c"))
LONG = Subscription(TopicFilter("a" * 60_000))
DEEP = Subscription(TopicFilter("/" * 31))


def test_long_and_deep_filters_take_more() -> None:
    assert size_of(A_LOT) < size_of(DEEP) < size_of(LONG)
    assert size_of(LONG) > 120_000


def test_all_sessions_of_a_device_share_its_room_and_others_have_theirs() -> None:
    stock = Stock(size_of(A_LOT))
    stock.take(session("lamp", "lamp/1"), A_LOT)
    with pytest.raises(QuotaExceeded) as caught:
        stock.take(session("lamp", "lamp/2"), A_LOT)
    assert "hub.max_subscription_bytes_per_device" in caught.value.fix
    stock.take(session("door"), A_LOT)


def test_a_replaced_subscription_takes_nothing_more() -> None:
    stock, lamp = Stock(size_of(A_LOT)), session("lamp")
    stock.take(lamp, A_LOT)
    lamp.subscriptions[A_LOT.text] = A_LOT
    stock.take(lamp, Subscription(A_LOT.filter, 2))


def test_what_was_held_before_a_restart_has_room_and_all_is_given_back() -> None:
    stock, lamp = Stock(1), session("lamp")
    stock.put_back(lamp, A_LOT)
    stock.put_back(lamp, LONG)
    stock.give_back(lamp, A_LOT)
    assert len(stock) == 1
    stock.give_back(lamp, LONG)
    assert len(stock) == 0
