"""Threat: a device uses its own right password to open a session under another device's client id."""

from __future__ import annotations

import pytest

from lockgate.errors import NotAuthorized, Step
from tests.attacks.conftest import Target
from tests.support.registry import password


@pytest.mark.requirement("Q10")
@pytest.mark.parametrize(
    "client_id", ["sensor", "sensor/1", "kettle2", "Kettle", "kettle ", " kettle", "lab", "lab/kettle"]
)
def test_the_right_password_with_another_client_id_is_refused(target: Target, client_id: str) -> None:
    with pytest.raises(NotAuthorized) as caught:
        target.shows(b"right", client_id, user_name="kettle")
    assert caught.value.step is Step.CLIENT_ID
    assert caught.value.reason == "client id belongs to another device"


@pytest.mark.parametrize("user_name", ["sensor", "Kettle", "kettle/1", "kettle\x00", " kettle", ""])
def test_the_right_password_under_another_user_name_is_refused(target: Target, user_name: str) -> None:
    assert target.refuses(b"right", "kettle", user_name=user_name).reason == "bad user name or password"


def test_one_devices_password_does_not_open_another(target: Target) -> None:
    target.registry.add("toaster", password("other"))
    assert target.refuses(b"right", "toaster").reason == "bad user name or password"
