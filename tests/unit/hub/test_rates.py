"""How fast a device may speak."""

from __future__ import annotations

import pytest

from lockgate.errors import RateExceeded, Step
from lockgate.hub.rates import Meter, Rates, RuleRates
from lockgate.model.permission import Operation, Rule
from lockgate.policy import Grant, PolicyEngine
from tests.support.fakes import FakeRules, principal


def meter(messages: float = 10, size: float = 0, burst: float = 2) -> Meter:
    made = Rates(messages, size, burst).join("sensor")
    assert made is not None
    return made


def test_a_burst_goes_through_and_what_follows_waits_for_its_rate() -> None:
    sensor = meter()
    assert sensor.take(20, 0, 100.0) == 0
    assert sensor.take(1, 0, 100.0) == pytest.approx(0.1)
    assert sensor.take(0, 0, 100.1) == pytest.approx(0)
    assert sensor.take(1, 0, 100.2) == pytest.approx(0)
    assert sensor.take(1, 0, 100.2) == pytest.approx(0.1)


def test_silence_saves_up_one_burst_and_no_more() -> None:
    sensor = meter()
    sensor.take(20, 0, 100.0)
    assert sensor.take(20, 0, 1000.0) == 0
    assert sensor.take(1, 0, 1000.0) > 0


def test_over_a_long_time_the_rate_is_kept_however_large_the_pieces() -> None:
    sensor, now, sent = meter(), 100.0, 0
    while now < 200.0:
        sent += 17
        now += sensor.take(17, 0, now)
    assert sent == pytest.approx(1000 + 20, abs=17)


def test_bytes_are_a_limit_of_their_own() -> None:
    sensor = meter(messages=0, size=1000)
    assert sensor.take(500, 2000, 100.0) == 0
    assert sensor.take(1, 500, 100.0) == pytest.approx(0.5)
    assert str(sensor.error("", "sensor")) == "sensor sends more than 1000 bytes per second"


def test_messages_are_named_when_they_are_too_many() -> None:
    sensor = meter(messages=10, size=1000)
    sensor.take(100, 1, 100.0)
    error = sensor.error("send less", "sensor")
    assert (str(error), error.fix) == ("sensor sends more than 10 messages per second", "send less")


def test_a_flood_is_told_of_once_until_it_was_quiet_for_a_minute() -> None:
    sensor = meter()
    assert [sensor.is_new_flood(at) for at in (0.0, 50.0, 100.0, 159.0, 219.0)] == [True, False, False, False, True]


def test_without_limits_nothing_is_counted() -> None:
    rates = Rates(0, 0, 2)
    assert rates.join("sensor") is None
    assert len(rates) == 0


def test_all_connections_of_a_device_share_its_rate() -> None:
    rates = Rates(10, 0, 2)
    first, second = rates.join("sensor"), rates.join("sensor")
    assert first is second
    assert rates.join("camera") is not first


def test_who_connects_anew_finds_its_debt_again() -> None:
    rates = Rates(10, 0, 2)
    sensor = rates.join("sensor")
    assert sensor is not None
    assert sensor.take(100, 0, 100.0) == pytest.approx(8)
    rates.leave(sensor, 100.0)
    again = rates.join("sensor")
    assert again is not None
    assert again.take(0, 0, 101.0) == pytest.approx(7)


def test_who_left_without_debt_is_forgotten_and_others_are_when_theirs_is_paid() -> None:
    rates = Rates(10, 0, 2)
    for number in range(100):
        sensor = rates.join(f"sensor-{number}")
        assert sensor is not None
        sensor.take(number % 2 * 30, 0, 100.0 + number)
        rates.leave(sensor, 100.0 + number)
        assert len(rates) <= 5
    quiet = rates.join("quiet")
    assert quiet is not None
    rates.leave(quiet, 1000.0)
    quiet = rates.join("quiet")
    assert quiet is not None
    rates.leave(quiet, 1000.0)
    assert len(rates) == 0


def test_what_the_hub_does_for_a_device_is_charged_whether_it_is_connected_or_not() -> None:
    rates = Rates(100, 0, 1.0)
    rates.charge("lamp", 350, 10.0)
    meter = rates.join("lamp")
    assert meter is not None
    assert meter.owes(10.0) == pytest.approx(2.5)
    rates.charge("lamp", 50, 10.0)
    assert meter.owes(10.0) == pytest.approx(3.0)
    assert meter.owes(20.0) == 0
    rates.leave(meter, 20.0)
    rates.charge("door", 1, 20.0)
    rates.charge("door", 1, 40.0)
    assert len(rates) <= 1, "who is not connected is forgotten when nothing is owed"
    Rates(0, 0, 1.0).charge("lamp", 10, 0.0)


# The rates of rules


def grant(device: str = "sensor", rate: float = 10.0, number: int = 1) -> Grant:
    rules = FakeRules(Rule("everyone", Operation.PUBLISH, "a", id=number, messages_per_second=rate))
    answer = PolicyEngine(rules).authorize(principal(device), Operation.PUBLISH, "a")
    assert isinstance(answer, Grant)
    return answer


def passed(rates: RuleRates, one: Grant, now: float, count: int = 100) -> int:
    return sum(rates.take(one, now) is None for _ in range(count))


NOON = 1_800_000_000.0


def test_under_a_rule_a_burst_goes_through_and_then_its_rate() -> None:
    rates, one = RuleRates(2.0), grant()
    assert passed(rates, one, NOON) == 20
    assert passed(rates, one, NOON + 0.1) == 1
    assert passed(rates, one, NOON + 1.1) == 10
    assert passed(rates, one, NOON + 1000) == 20


def test_a_rate_below_one_message_in_a_burst_lets_one_through() -> None:
    rates, one = RuleRates(2.0), grant(rate=0.1)
    assert [passed(rates, one, NOON + after) for after in (0, 5, 10, 15, 40)] == [1, 0, 1, 0, 1]


def test_each_device_has_its_own_rate_under_each_rule() -> None:
    rates = RuleRates(1.0)
    for one in (grant("sensor"), grant("lamp"), grant("sensor", number=2)):
        assert passed(rates, one, NOON) == 10


def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing_for_good() -> None:
    rates, one = RuleRates(1.0), grant()
    assert passed(rates, one, NOON) == 10
    assert passed(rates, one, NOON - 3600) == 0
    assert passed(rates, one, NOON - 3599.5) == 5


def test_the_refusal_names_the_rule_and_the_device() -> None:
    rates, one = RuleRates(1.0), grant(rate=0.5, number=7)
    assert rates.take(one, NOON) is None
    error = rates.take(one, NOON)
    assert isinstance(error, RateExceeded)
    assert error.step is Step.POLICY
    assert error.evidence["rule"] == "everyone: allow publish a at 0.5 messages per second (rule 7)"
    assert error.evidence["device"] == "sensor"
    assert "rule 7" in error.fix


def test_rates_that_nobody_uses_are_forgotten() -> None:
    rates = RuleRates(1.0)
    for number in range(1000):
        rates.take(grant(f"lamp{number}"), NOON + number)
        assert len(rates) <= 4


def test_what_is_owed_is_not_forgotten() -> None:
    rates = RuleRates(1.0)
    assert passed(rates, grant("sensor"), NOON) == 10
    for number in range(50):
        rates.take(grant(f"lamp{number}"), NOON)
    assert passed(rates, grant("sensor"), NOON) == 0


def test_a_rule_whose_rate_changed_begins_anew() -> None:
    rates = RuleRates(1.0)
    assert passed(rates, grant(rate=10.0), NOON) == 10
    assert passed(rates, grant(rate=20.0), NOON) == 20
