"""Threat: a client id dressed up to pass for another device's, or to widen a rule, or to forge a line of the log."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.errors import InvalidSettings, NotAuthorized
from lockgate.model.device import check_name, owns_client_id
from tests.attacks.conftest import Target
from tests.support.registry import password

FOREIGN = [
    "sensor2",
    "sensor-2",
    "sensor.",
    "Sensor",
    "SENSOR",
    "sensor ",
    " sensor",
    "sensor\x00",
    "sensor\x00/x",
    "sens",
    "sensor#",
    "sensor+",
    "../sensor",
    "./sensor",
    "x/../sensor",
    "/sensor",
    "sensor\\x",
    "ѕensor",
    "sensor\u200b",
    "sensor\uff0fx",
    "camera",
    "#",
    "+",
    "+/sensor",
]
BROKEN = [
    "sensor/#",
    "sensor/+",
    "sensor/a+b",
    "sensor/a#",
    "sensor/\x00",
    "sensor/a\nb",
    "sensor/\r",
    "sensor/\x1b[2J",
    "sensor/\x7f",
    "sensor/\u202e",
    "sensor/\u200b",
    "sensor/\ud800",
    "sensor/\u2028",
    "sensor/\ufeff",
]


@pytest.fixture(autouse=True)
def _passwords(target: Target) -> None:
    target.registry.add("sensor", password("right"))
    target.registry.add("sensor2", password("other"))


@pytest.mark.parametrize("client_id", FOREIGN)
def test_a_name_that_only_looks_like_the_devices_is_refused(target: Target, client_id: str) -> None:
    with pytest.raises(NotAuthorized) as caught:
        target.shows(b"right", client_id, user_name="sensor")
    assert caught.value.reason == "client id belongs to another device"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("client_id", BROKEN)
def test_wildcards_and_control_characters_are_refused(target: Target, client_id: str) -> None:
    with pytest.raises(NotAuthorized) as caught:
        target.shows(b"right", client_id, user_name="sensor")
    assert caught.value.reason == "client id not valid"
    assert str(caught.value).isprintable()


def test_a_name_that_is_anothers_beginning_gives_nothing_of_it(target: Target) -> None:
    with pytest.raises(NotAuthorized):
        target.shows(b"right", "sensor2", user_name="sensor")
    with pytest.raises(NotAuthorized):
        target.shows(b"other", "sensor", user_name="sensor2")
    assert target.shows(b"other", "sensor2", user_name="sensor2").device == "sensor2"


@pytest.mark.parametrize("client_id", ["sensor/../x", "sensor/../../office", "sensor/./x", "sensor//x", "sensor/"])
def test_dots_and_empty_levels_stay_below_the_device_and_climb_nowhere(target: Target, client_id: str) -> None:
    principal = target.shows(b"right", client_id, user_name="sensor")
    assert (principal.device, principal.client_id) == ("sensor", client_id)
    victim = target.listens("office", "devices/office/#")
    for topic in ("devices/office/x", "devices/sensor2/x", "devices/x"):
        assert not target.publishes(principal, topic)
    target.opens(principal)
    assert target.hub.sessions["office/ear"] is victim
    assert victim.outlet is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(client_id=st.text(max_size=12) | st.text(max_size=6).map(lambda rest: f"sensor{rest}"))
def test_whatever_the_client_id_the_principal_is_the_device_that_proved_itself(target: Target, client_id: str) -> None:
    try:
        principal = target.shows(b"right", client_id, user_name="sensor")
    except NotAuthorized:
        return
    assert principal.device == "sensor"
    assert owns_client_id("sensor", principal.client_id)
    assert not owns_client_id("sensor2", principal.client_id)
    assert principal.client_id.isprintable()


@pytest.mark.parametrize(
    "name", ["lab", "LAB", "hub", "lockgate", "a/b", "+", "#", "${device}", "", "a" * 64, "-a", ".", "..", "a\n", "é"]
)
def test_no_device_can_be_named_so_that_it_owns_anothers_client_ids(name: str) -> None:
    with pytest.raises(InvalidSettings):
        check_name(name)
