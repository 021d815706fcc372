"""Shared subscriptions with real clients over TLS: turns, a member that is killed, a hub that is killed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lockgate.adapters.mqtt.packets import Suback, Subscribe, SubscriptionRequest
from lockgate.hub.hub import NOBODY_LEFT
from tests.interop.test_durability import DAY, Load, Site
from tests.support.hub import eventually
from tests.support.mosquitto import V5, V311, Subscriber
from tests.support.paho_peer import PahoPeer
from tests.support.peers import login
from tests.support.raw_peer import RawPeer

pytestmark = pytest.mark.process
SHARE = "$share/team/load/#"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.hub.stop()


def publish(site: Site, first: int, count: int) -> None:
    """Publish numbers at QoS 1 and 2 in turn, each acknowledged."""
    with site.source_peer() as source:
        for number in range(first, first + count):
            assert source.publish("load/x", str(number), 1 + number % 2) == 0


def heard(subscriber: Subscriber) -> list[int]:
    return [int(line.rsplit(":", 1)[1]) for line in list(subscriber.lines) if line.startswith("heard:")]


@pytest.mark.parametrize("version", [V5, V311])
def test_two_mosquitto_clients_share_and_one_that_is_killed_leaves_its_part_to_the_other(
    site: Site, version: str
) -> None:
    with (
        Subscriber(login(site.sink, "one"), SHARE, version=version) as one,
        Subscriber(login(site.sink, "two"), SHARE, version=V5) as two,
    ):
        publish(site, 0, 20)
        eventually(lambda: len(heard(one)) + len(heard(two)) == 20, 10.0, "all messages")
        assert sorted(heard(one) + heard(two)) == list(range(20))
        assert len(heard(one)) == len(heard(two)) == 10
        assert (sorted(heard(one)), sorted(heard(two))) == (
            sorted(heard(one)),
            sorted(set(range(20)) - set(heard(one))),
        )
        one.kill()
        publish(site, 20, 20)
        eventually(lambda: set(range(20, 40)) <= set(heard(one)) | set(heard(two)), 10.0, "what was left")


def test_what_an_absent_member_held_goes_to_the_other_and_nothing_is_lost(site: Site) -> None:
    one = PahoPeer(site.sink, site.port, suffix="one", expiry=DAY)
    one.connect()
    assert one.subscribe(SHARE, 2) == 2
    one.stop()
    publish(site, 0, 10)
    with PahoPeer(site.sink, site.port, suffix="two", version=4, expiry=DAY) as two:
        assert two.subscribe(SHARE, 2) == 2
        publish(site, 10, 5)
        # In no order: paho shows a QoS 2 message at its PUBREL, and a QoS 1 message at once.
        assert sorted(each.payload for each in two.wait_for(5)) == [b"%d" % n for n in range(10, 15)]
        site.hub.restart()
        one.gives_up = False
        one.connect()
        assert sorted(int(each.payload) for each in one.wait_for(10)) == list(range(10))
        one.close()


def test_what_nobody_is_left_to_take_is_in_the_log(site: Site) -> None:
    with RawPeer(site.sink, site.port, 0) as only:
        only.send(Subscribe(1, (SubscriptionRequest(SHARE, 1),)))
        assert only.receive(Suback).codes == (1,)
        publish(site, 0, 3)

    def noted() -> list[str]:
        return [event["reason"] for event in site.hub.events("message.dropped")]

    assert set(eventually(lambda: noted() or None, 5.0, "the note")) == {NOBODY_LEFT}  # a second line says how many


@pytest.mark.parametrize(
    "kills", [5, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(900)])], ids=["few", "many"]
)
def test_kills_of_the_hub_and_cuts_of_members_lose_nothing_and_repeat_nothing_at_qos_2(site: Site, kills: int) -> None:
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    with ExitStack() as stack:
        members = [stack.enter_context(site.sink_peer(name)) for name in ("one", "two", "three")]
        for member in members:
            assert member.subscribe(SHARE, 2) == 2
        loads = [Load(site, "one", 1), Load(site, "two", 2)]
        for load in loads:
            stack.callback(load.peer.close)
        for _ in range(kills):
            until = time.monotonic() + chance.uniform(0.05, 0.5)
            while time.monotonic() < until:
                for load in loads:
                    load.step()
                if chance.random() < 0.05:
                    chance.choice([*members, *(load.peer for load in loads)]).cut()
                time.sleep(0.005)
            site.interrupt("a kill of the hub")
        for load in loads:
            load.is_ending = True

        def is_done() -> bool:
            for load in loads:
                load.step()
            return all(load.is_done for load in loads)

        def payloads() -> list[bytes]:
            return [payload for member in members for payload in member.payloads()]

        eventually(is_done, 30.0, "the last acknowledgement")
        wanted = set().union(*(load.acknowledged for load in loads))
        eventually(lambda: wanted <= set(payloads()), 30.0, f"every acknowledged message (seed {seed})")
        twice = [name for name, count in Counter(payloads()).items() if count > 1 and name.startswith(b"two")]
        assert twice == [], f"seed {seed}"
        assert all(len(load.acknowledged) > kills for load in loads), "there was a load"
        assert all(member.heard for member in members), "all took part"
