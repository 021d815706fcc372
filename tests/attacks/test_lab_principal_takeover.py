"""Threat: a client of the plaintext lab door takes a device's client id, and with it its session, queue and rights."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt.packets import Connack, Connect
from lockgate.errors import InvalidSettings, NotAuthorized
from lockgate.model.device import check_name
from lockgate.model.principal import Principal
from lockgate.policy import LAB_DEVICE
from tests.attacks.conftest import Target
from tests.support.playbook import Playbook


@pytest.mark.parametrize("client_id", ["sensor", "sensor/1", "../sensor", "", "/sensor", "lab/sensor"])
@pytest.mark.parametrize("clean_start", [True, False])
def test_a_lab_client_with_a_devices_client_id_does_not_touch_its_session(client_id: str, clean_start: bool) -> None:
    hub = Playbook()
    device = hub.subscriber("sensor", "a/#")
    session = hub.hub.sessions["sensor"]
    lab = hub.link(is_lab=True).sends(Connect(5, client_id, clean_start=clean_start))
    assert lab.takes(Connack).code == 0
    device.is_open()
    assert hub.hub.sessions["sensor"] is session
    assert hub.hub.sessions_of("sensor") == [session]
    assert all(name.startswith("lab/") for name in hub.hub.sessions if name != "sensor")
    device.publishes("a/b").gets_publish("a/b")
    lab.gets_nothing()


def test_a_lab_client_does_not_inherit_a_waiting_session(target: Target) -> None:
    hub = Playbook()
    hub.client("sensor", clean_start=False).is_cut()
    lab = hub.link(is_lab=True).sends(Connect(5, "sensor", clean_start=False))
    assert lab.takes(Connack).session_present is False


@pytest.mark.parametrize("name", ["lab", "Lab", "LAB"])
def test_no_device_can_be_the_lab(name: str) -> None:
    with pytest.raises(InvalidSettings, match="reserved"):
        check_name(name)


@pytest.mark.parametrize("client_id", ["lab", "lab/x", "lab/sensor"])
def test_no_device_can_take_a_lab_clients_session(target: Target, client_id: str) -> None:
    with pytest.raises(NotAuthorized):
        target.shows(b"right", client_id, user_name="kettle")


def test_identity_proves_nobody_as_the_lab(target: Target) -> None:
    assert target.refuses(b"right", LAB_DEVICE).reason == "bad user name or password"


def test_the_lab_publishes_under_its_own_name(target: Target) -> None:
    lab = Principal(LAB_DEVICE, "lab/sensor", "lab")
    assert target.publishes(lab, "devices/sensor/x")
    assert not target.publishes(lab, "$SYS/x")
