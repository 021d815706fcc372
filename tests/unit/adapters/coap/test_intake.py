"""What a CoAP device sends goes on its account, the same as by other doors."""

from __future__ import annotations

from lockgate.adapters.coap.intake import Intake
from lockgate.hub import Rates
from tests.support.fakes import principal


def test_what_two_connections_of_a_device_send_counts_together() -> None:
    rates = Rates(2.0, 0.0, 1.0)
    first, second = Intake(rates, lambda: 100.0), Intake(rates, lambda: 100.0)
    for each in (first, second):
        each.admit(principal("lamp"))
    assert first.count(10, 100.0) == 0.0
    assert second.count(10, 100.0) == 0.0
    assert first.count(10, 100.0) > 0.0
    error, is_new = first.excess(100.0)
    assert (str(error), error.evidence, is_new) == (
        "lamp sends more than 2 messages per second",
        {"device": "lamp"},
        True,
    )
    assert second.excess(100.0)[1] is False
    for each in (first, second, second):
        each.end()
    assert len(rates) == 1, "it owes time still"


def test_nobody_is_counted_where_there_is_no_limit_or_nobody_is_let_in() -> None:
    intake = Intake(Rates(0.0, 0.0, 1.0), lambda: 0.0)
    assert intake.count(10, 0.0) == 0.0
    intake.admit(principal("lamp"))
    assert intake.count(1 << 30, 0.0) == 0.0
    assert intake.excess(0.0)[1] is False
