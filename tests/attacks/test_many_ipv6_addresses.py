"""Threat: whoever has one IPv6 network has 2**64 addresses, and walks past every limit that counts addresses."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.adapters.mqtt.packets import V5, Connack, Connect, ReasonCode
from lockgate.errors import AuthenticationFailed, RateExceeded
from lockgate.net.link import network_of
from lockgate.settings import IdentitySettings, Settings
from tests.attacks.conftest import Target
from tests.support.playbook import Playbook

MINE = [f"2001:db8:1:2::{number:x}" for number in range(1, 30)]
ANOTHERS = "2001:db8:1:3::1"


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_an_address_is_counted_with_its_network(host: str, network: str) -> None:
    assert network_of(host) == network


def test_wrong_passwords_from_one_network_lock_it_out_and_no_other(target: Target) -> None:
    outcomes = []
    for host in MINE:
        with pytest.raises((AuthenticationFailed, RateExceeded)) as caught:
            target.shows(b"wrong", "kettle", host=host)
        outcomes.append(type(caught.value))
    tries = IdentitySettings().wrong_passwords_before_lockout
    assert outcomes == [AuthenticationFailed] * tries + [RateExceeded] * (len(MINE) - tries)
    assert target.shows(b"right", "kettle", host=ANOTHERS).device == "kettle"


def test_one_network_has_one_share_of_the_password_checks() -> None:
    hub = Playbook(Settings(identity=IdentitySettings(max_waiting_password_checks=4)))
    hub.authenticator.is_slow_for.add("sensor")
    answers = []
    for host in (*MINE[:3], ANOTHERS):
        client = hub.link()
        client.wire.peer = msgspec.structs.replace(client.wire.peer, host=host)
        answers.append(client.sends(Connect(V5, "sensor")).packets())
    busy = [Connack(ReasonCode.SERVER_UNAVAILABLE)]
    assert answers == [[], busy, busy, []]
