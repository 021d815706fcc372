"""Who somebody is can be compared, and goes on under another end."""

from __future__ import annotations

from lockgate.model.principal import Principal

SENSOR = Principal("sensor", "sensor/1", "jwt-es256", 7, 2000.0)


def test_principals_are_compared_by_what_they_say() -> None:
    assert Principal("sensor", "sensor/1", "jwt-es256", 7, 2000.0) == SENSOR
    assert len({SENSOR, Principal("sensor", "sensor/1", "jwt-es256", 7, 2000.0)}) == 1
    assert Principal("sensor", "sensor/1", "jwt-es256", 8, 2000.0) != SENSOR
    assert SENSOR != "sensor"


def test_a_fresh_proof_changes_the_end_alone() -> None:
    later = SENSOR.until(3000.0)
    assert later.expires_at == 3000.0
    assert later.until(2000.0) == SENSOR
    assert repr(SENSOR) == "Principal('sensor', 'sensor/1', 'jwt-es256', 7, 2000.0)"
