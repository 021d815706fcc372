"""How fast a device may speak."""

from __future__ import annotations

import pytest

from lockgate.hub.rates import Meter, Rates


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
