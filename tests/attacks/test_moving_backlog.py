"""Threat: two sessions of one device share a backlog and come and go: each time all of it moves to the other.

One CONNECT then costs the hub what ten thousand messages cost. It counts as if the device had sent them.
"""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt.packets import V5, Connack, Connect, Properties, ReasonCode, Suback, SubscriptionRequest
from lockgate.settings import HubSettings, Settings
from tests.support.playbook import Client, Playbook

BACKLOG = 400
KEPT = Properties(session_expiry_interval=600, receive_maximum=1)
HELD = -1
SHARED = SubscriptionRequest("$share/g/a", 1)


def joins(hub: Playbook, client_id: str, clean_start: bool) -> Client | int:
    """Connect as a member of the share that does not read; give the code of a refusal, HELD when it is not read."""
    link = hub.link().sends(Connect(V5, client_id, clean_start, properties=KEPT))
    answer = link.packets()[0]
    assert isinstance(answer, Connack)
    if answer.code:
        link.is_closed()
        return answer.code
    if not link.wire.is_reading:
        link.is_cut()
        return HELD
    link.handler.pause_writing()
    if clean_start:
        link.subscribes(SHARED).gets(Suback(1, (1,)))
    return link


@pytest.mark.parametrize("clean_start", [False, True])
def test_who_has_a_backlog_moved_over_and_over_owes_time_for_it(clean_start: bool) -> None:
    limits = HubSettings(max_messages_per_second=1000, rate_burst_seconds=1)
    hub = Playbook(Settings(hub=limits))
    members = {name: joins(hub, f"worker/{name}", True) for name in "ab"}
    office = hub.client("office")
    for number in range(BACKLOG):
        office.publishes("a", qos=1, packet_id=number + 1)
    office.packets()
    office.ends()
    refused = 0
    for turn in range(20):
        name = "ab"[turn % 2]
        member = members[name]
        if isinstance(member, Client):
            member.is_cut()
        members[name] = joins(hub, f"worker/{name}", clean_start)
        refused += members[name] in (ReasonCode.QUOTA_EXCEEDED, HELD)
    assert 10 < refused < 20, "the first ones are let in"
    left = sum(len(session.queue) + len(session.unsettled) for session in hub.hub.sessions.values())
    assert left == BACKLOG or clean_start, "who begins anew while nobody else is there leaves it to nobody"
    hub.client("worker2").is_open()
    hub.passes(10)
    assert isinstance(joins(hub, "worker/a", clean_start), Client), "the debt is paid by time"


def test_a_backlog_that_moves_once_is_nobodys_fault() -> None:
    hub = Playbook()
    first, second = joins(hub, "worker/a", True), joins(hub, "worker/b", True)
    assert isinstance(first, Client)
    assert isinstance(second, Client)
    office = hub.client("office")
    for number in range(BACKLOG):
        office.publishes("a", qos=1, packet_id=number + 1)
    first.is_cut()
    assert isinstance(joins(hub, "worker/a", False), Client)
    assert len(hub.hub.sessions["worker/b"].queue) + len(hub.hub.sessions["worker/b"].unsettled) == BACKLOG
