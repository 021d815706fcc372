"""Threat: names as long as a CONNECT, or take-overs without end, fill what the hub remembers or writes for good."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt.packets import V5, Connack, Connect, Disconnect
from lockgate.errors import NotAuthorized
from lockgate.identity.authenticator import MAX_CLIENT_ID
from lockgate.registry.journal import Journal
from tests.attacks.conftest import Target
from tests.support.playbook import Playbook


def audited(journal: Journal) -> list[str]:
    """Give the reasons that the audit trail will hold."""
    return [details["reason"] for _at, _event, _subject, details in journal._events]


def test_a_client_id_has_a_bound(target: Target) -> None:
    longest = "kettle/" + "x" * (MAX_CLIENT_ID - len("kettle/"))
    assert target.shows(b"right", longest, user_name="kettle").client_id == longest
    with pytest.raises(NotAuthorized) as caught:
        target.shows(b"right", longest + "x", user_name="kettle")
    assert caught.value.reason == "client id not valid"
    assert len(str(caught.value)) < 200


def test_the_lab_has_the_same_bound_and_gives_no_name_twice() -> None:
    hub = Playbook()
    for client_id in ("x" * 60_000, "", ""):
        assert hub.link(is_lab=True).sends(Connect(V5, client_id)).takes(Connack).code == 0
    assert len(hub.hub.sessions) == 3
    assert all(len(name) <= MAX_CLIENT_ID for name in hub.hub.sessions)


def test_a_device_that_takes_over_its_own_session_all_day_does_not_fill_the_audit_trail() -> None:
    hub = Playbook()
    for _ in range(1000):
        last = hub.client("sensor")
    assert audited(hub.journal) == ["session taken over"] * 10
    assert [refusal.count for refusal in hub.refusals()] == [999]
    last.is_open().sends(Disconnect())


def test_a_revocation_is_always_in_the_trail() -> None:
    hub = Playbook()
    for _ in range(5):
        hub.client("sensor")
        hub.hub.end_session(hub.hub.sessions["sensor"], hub.now, NotAuthorized("blocked", reason="device blocked"))
        hub.loop.run()
    assert audited(hub.journal) == ["device blocked"] * 5
