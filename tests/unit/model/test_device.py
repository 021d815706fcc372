"""Device names and the client ids that belong to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidSettings
from lockgate.model.device import check_name, owns_client_id


@pytest.mark.parametrize("name", ["a", "sensor-1", "Sensor_2.north", "9lives", "x" * 63])
def test_an_ordinary_name_is_given_back(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 64, "-a", ".a", "_a", "a b", "a/b", "a+", "#", "a\n", "a\0", "ä", "../a", "${device}"]
)
def test_a_name_that_could_be_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidSettings, match="is no valid device name"):
        check_name(name)


@pytest.mark.parametrize("name", ["lab", "hub", "lockgate", "LAB"])
def test_a_name_of_the_hubs_own_is_reserved(name: str) -> None:
    with pytest.raises(InvalidSettings, match="choose another group name"):
        check_name(name, "group")


@given(st.text(max_size=70))
def test_whatever_passes_is_one_level_without_wildcards(text: str) -> None:
    try:
        name = check_name(text)
    except InvalidSettings:
        return
    assert not set(name) & set("+#/$\0 \n{}")
    assert 1 <= len(name) <= 63


@pytest.mark.parametrize(
    ("client_id", "is_owned"),
    [("sensor", True), ("sensor/1", True), ("sensor/", True), ("sensor2", False), ("Sensor", False), ("", False)],
)
def test_a_device_owns_its_name_and_what_lies_under_it(client_id: str, is_owned: bool) -> None:
    assert owns_client_id("sensor", client_id) is is_owned
