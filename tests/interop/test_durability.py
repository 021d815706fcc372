"""What was acknowledged survives: restarts, kill -9 of the hub, kill -9 of everything, with real clients over TLS."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lockgate.adapters.mqtt.packets import (
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    WillPacket,
)
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.registry.trail import Trail
from lockgate.store.chain import Record
from lockgate.store.messages_db import MessagesDb
from lockgate.store.registry_db import RegistryDb
from tests.support.hub import RunningHub, eventually
from tests.support.paho_peer import PahoPeer
from tests.support.raw_peer import RawPeer
from tests.support.strict import Sent, StrictClient, StrictPublisher, StrictSubscriber

DAY = 86_400
COUNT = 60


class Site:
    """A running hub with a device that publishes under `load/` and one that receives it."""

    def __init__(self, folder: Path) -> None:
        self.hub = RunningHub(folder)
        self.hub.start()
        self.source = self.hub.add_device("source", "jwt-es256", "--publish", "load/#", "--receive", "load/#")
        self.sink = self.hub.add_device("sink", "x509", "--receive", "load/#", "--publish", "will/#")
        self.port = self.hub.port

    def source_peer(self, suffix: str = "", expiry: int = DAY) -> PahoPeer:
        return PahoPeer(self.source, self.port, suffix=suffix, expiry=expiry)

    def sink_peer(self, suffix: str = "", version: int = 5, expiry: int = DAY) -> PahoPeer:
        return PahoPeer(self.sink, self.port, suffix=suffix, version=version, expiry=expiry)

    def interrupt(self, how: str) -> None:
        """Bring the hub down in one of three ways, and up again on its port."""
        if how == "a clean restart":
            self.hub.stop()
        else:
            self.hub.kill(whole_group=how == "a kill of the group")
        self.hub.start(self.port)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.hub.stop()


def receive_all(peer: PahoPeer, wanted: set[bytes]) -> Counter[bytes]:
    """Wait until all of `wanted` has arrived and the line is quiet; give how often each payload came."""
    eventually(lambda: wanted <= set(peer.payloads()), 30.0, "every acknowledged message")
    return Counter(peer.payloads())


@pytest.mark.parametrize("how", ["a clean restart", "a kill of the hub", "a kill of the group"])
def test_what_waits_for_an_absent_subscriber_survives(site: Site, how: str) -> None:
    for suffix, version in (("new", 5), ("old", 4)):
        with site.sink_peer(suffix, version) as absent:
            assert absent.subscribe("load/#", 2) == 2
    with site.source_peer() as source:
        for number in range(COUNT):
            qos = 1 + number % 2
            assert source.publish(f"load/qos{qos}", f"{number:03}", qos) == 0
        assert source.publish("load/state", "kept", 1, retain=True) == 0
    site.interrupt(how)
    expected = [b"%03d" % number for number in range(COUNT)] + [b"kept"]
    for suffix, version in (("new", 5), ("old", 4)):
        back = site.sink_peer(suffix, version)
        assert back.connect()[2], "the session is present"
        back.wait_for(len(expected))
        for qos in (1, 2):  # paho hands a QoS 2 message on when it is released: order holds within each
            assert [each.payload for each in back.heard if each.topic == f"load/qos{qos}"] == expected[qos - 1 : -1 : 2]
            assert {each.qos for each in back.heard if each.topic == f"load/qos{qos}"} == {qos}
        assert sorted(back.payloads()) == expected, "everything, once"
        with site.source_peer("again", expiry=0) as source:
            source.publish(f"load/{suffix}", "later", 0)
        assert back.wait_for(len(expected) + 1)[-1].payload == b"later", "the subscription is as before"
        back.close()
    with site.sink_peer("fresh", expiry=0) as fresh:
        fresh.subscribe("load/state", 1)
        (kept,) = fresh.wait_for(1)
    assert (kept.payload, kept.retain) == (b"kept", True)


def test_the_kill_of_the_whole_group_takes_nothing_that_was_acknowledged(site: Site, tmp_path: Path) -> None:
    with site.sink_peer() as absent:
        absent.subscribe("load/#", 2)
    second = site.hub.add_device("second", "password", "--publish", "load/#")
    publishers = []
    notes = {1: tmp_path / "acknowledged-1", 2: tmp_path / "acknowledged-2"}
    for folder, qos in ((site.source, 1), (second, 2)):
        command = [sys.executable, "-m", "tests.support.steady_publisher", str(folder), str(site.port)]
        command += [f"load/{qos}", str(qos), str(notes[qos])]
        publishers.append(subprocess.Popen(command, process_group=site.hub.pid))

    def acknowledged() -> dict[int, set[bytes]]:
        return {
            qos: set(path.read_bytes().split(b"\n")[:-1]) if path.exists() else set() for qos, path in notes.items()
        }

    eventually(lambda: all(len(each) > 200 for each in acknowledged().values()), 20.0, "the traffic")
    site.hub.kill(whole_group=True)
    for publisher in publishers:
        assert publisher.wait(10) < 0, "the clients died with the hub"
    site.hub.start(site.port)
    wanted = acknowledged()
    back = site.sink_peer()
    assert back.connect()[2]
    counts = receive_all(back, wanted[1] | wanted[2])
    back.close()
    assert {payload for payload, count in counts.items() if count > 1} == set()


def trail_of(site: Site) -> list[Record]:
    """Give the whole audit trail; it is sound."""
    with Trail(site.hub.home / "registry.db", site.hub.home / "messages.db") as trail:
        assert trail.verify().problems == ()
        return list(trail.records())


def test_retained_messages_devices_and_the_audit_trail_survive_a_kill(site: Site) -> None:
    with site.source_peer() as source:
        source.publish("load/a", "first", 1, retain=True)
        source.publish("load/b", "gone", 2, retain=True)
        source.publish("load/a", "second", 2, retain=True)
        source.publish("load/b", "", 1, retain=True)
        site.hub.lockgate("device", "block", "source")
        source.wait_for_end()
    site.hub.lockgate("device", "unblock", "source")
    eventually(lambda: "session.ended" in [each.event for each in trail_of(site)], 5.0, "the security event")
    before = trail_of(site)
    site.interrupt("a kill of the hub")
    assert [each for each in trail_of(site) if each in before] == before
    with RegistryDb(site.hub.home / "registry.db", read_only=True) as registry:
        assert [each.name for each in registry.devices()] == ["sink", "source"]
        events = [each.event for each in registry.audit()]
    assert events[-2:] == ["device.blocked", "device.unblocked"]
    with site.sink_peer(expiry=0) as fresh:
        fresh.subscribe("load/#", 2)
        heard = fresh.wait_for(1)
        fresh.client.unsubscribe("load/#")
    assert [(each.topic, each.payload) for each in heard] == [("load/a", b"second")]


def test_a_qos_2_delivery_goes_on_where_the_kill_met_it(site: Site) -> None:
    request = Subscribe(1, (SubscriptionRequest(TopicFilter("load/#"), 2),))
    with RawPeer(site.sink, site.port, DAY) as sink, site.source_peer() as source:
        sink.send(request)
        assert sink.receive(Suback).codes == (2,)
        for number in range(100):
            source.publish("load/x", str(number), 2)
        tags = [sink.receive(Publish).packet_id for _ in range(100)]
        sink.send(*(Pubrec(tag) for tag in tags))
        for tag in tags:  # whoever got the PUBREL has handed the message on and forgotten it
            assert sink.receive(Pubrel).packet_id == tag
        site.hub.kill()
    site.hub.start(site.port)
    with RawPeer(site.sink, site.port, DAY) as sink:
        assert sink.connack.session_present
        assert [sink.receive(Pubrel).packet_id for _ in range(100)] == tags, "released, and not sent again"
        sink.send(*(Pubcomp(tag) for tag in tags))
        with site.source_peer("after", expiry=0) as source:
            source.publish("load/x", "next", 2)
        assert sink.receive(Publish).payload == b"next"


def test_a_qos_2_publish_goes_on_where_the_kill_met_it(site: Site) -> None:
    with site.sink_peer() as absent:
        absent.subscribe("load/#", 2)
    packet = Publish(TopicName("load/x"), b"once", 2, packet_id=7)
    with RawPeer(site.source, site.port, DAY) as source:
        source.send(packet)
        assert source.receive(Pubrec).packet_id == 7
        site.hub.kill()
    site.hub.start(site.port)
    with RawPeer(site.source, site.port, DAY) as source:
        assert source.connack.session_present
        source.send(Publish(packet.topic, packet.payload, 2, dup=True, packet_id=7))
        assert source.receive(Pubrec).packet_id == 7
        source.send(Pubrel(7))
        assert source.receive(Pubcomp).code == 0
        site.hub.kill()
    site.hub.start(site.port)
    with RawPeer(site.source, site.port, DAY) as source:
        source.send(Pubrel(7))  # the answer might have been lost
        assert source.receive(Pubcomp).packet_id == 7
        source.send(Publish(packet.topic, b"next", 2, packet_id=7))
        assert source.receive(Pubrec).packet_id == 7
    with site.sink_peer() as back:
        back.wait_for(2)
        assert back.payloads() == [b"once", b"next"]


def test_the_will_of_a_client_that_was_connected_at_the_kill_reaches_every_session(site: Site) -> None:
    for suffix in ("a", "z"):
        if suffix == "z":  # between the two in the order of sessions
            dying = PahoPeer(site.source, site.port, expiry=DAY, will=("load/will", "lost"))
            dying.connect()
        with site.sink_peer(suffix) as absent:
            absent.subscribe("load/will", 1)
    dying.gives_up = True
    site.interrupt("a kill of the hub")
    dying.client.loop_stop()
    for suffix in ("a", "z"):
        with site.sink_peer(suffix) as back:
            assert [each.payload for each in back.wait_for(1)] == [b"lost"]


def test_a_delayed_will_goes_out_after_a_kill_that_met_it_waiting(site: Site) -> None:
    with site.sink_peer("absent") as absent:
        absent.subscribe("load/will", 1)
    will = WillPacket("load/will", b"late", 1, properties=Properties(will_delay_interval=2))
    with RawPeer(site.source, site.port, DAY, will=will) as dying:
        dying.send(Publish(TopicName("load/x"), b"", 1, packet_id=1))
        assert dying.receive(Puback).packet_id == 1
    site.interrupt("a kill of the hub")
    with site.sink_peer("absent") as back:
        assert [each.payload for each in back.wait_for(1)] == [b"late"]


def test_sessions_of_devices_that_were_removed_or_revoked_while_the_hub_was_down_are_gone(site: Site) -> None:
    folders = {name: site.hub.add_device(name, "x509", "--receive", "load/#") for name in ("gone", "shut", "stays")}
    for folder in folders.values():
        with PahoPeer(folder, site.port, expiry=DAY) as absent:
            absent.subscribe("load/#", 1)
    with site.source_peer(expiry=0) as source:
        source.publish("load/x", "waits", 1)
    site.hub.stop()
    site.hub.lockgate("device", "remove", "gone")
    site.hub.lockgate("device", "revoke", "shut")
    site.hub.start(site.port)
    assert site.hub.events("hub.started")[-1]["sessions"] == 1
    site.hub.folder = site.hub.folder / "again"
    anew = site.hub.add_device("gone", "x509", "--receive", "load/#")
    reborn = PahoPeer(anew, site.port, expiry=DAY)
    assert reborn.connect() == (0, "", False), "a new device of an old name inherits nothing"
    stays = PahoPeer(folders["stays"], site.port, expiry=DAY)
    assert stays.connect()[2]
    assert stays.wait_for(1)[0].payload == b"waits"
    assert reborn.payloads() == []
    stays.close()
    reborn.close()


class Load:
    """A device that publishes as fast as it is acknowledged, through kills and cuts."""

    def __init__(self, site: Site, name: str, qos: int) -> None:
        self.peer = site.source_peer(name)
        self.acknowledged: set[bytes] = set()
        self.is_ending = False
        self._name, self._qos, self._number = name, qos, 0
        self._waiting: dict[int, bytes] = {}
        self.peer.connect()

    def step(self) -> None:
        """Note what was acknowledged, and publish more."""
        for packet_id in [each for each in self._waiting if each in self.peer.acknowledged]:
            del self.peer.acknowledged[packet_id]
            self.acknowledged.add(self._waiting.pop(packet_id))
        while len(self._waiting) < 40 and not self.is_ending:
            payload = f"{self._name}-{self._number}".encode()
            self._waiting[self.peer.client.publish(f"load/{self._name}", payload, self._qos).mid] = payload
            self._number += 1

    @property
    def is_done(self) -> bool:
        return not self._waiting


def last_words(sent: Sequence[Sent]) -> dict[str, tuple[int, int]]:
    """Give for each topic of a publisher the numbers of the last message that was acknowledged, and sent."""
    words: dict[str, tuple[int, int]] = {}
    for each in sent:
        number = number_of(each.payload)
        acknowledged, _ = words.get(each.topic, (-1, -1))
        words[each.topic] = (number if each.acknowledged_ns else acknowledged, number)
    return words


def number_of(payload: bytes) -> int:
    """Give the number that a strict publisher wrote into a payload."""
    return int(payload.split(b":")[1])


def subscriptions_and_retained(home: Path) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Read from the disk who is subscribed to what, and the number in each retained message."""
    db = MessagesDb(home / "messages.db")
    filters = {s.record.principal.client_id: {each.text for each in s.subscriptions} for s in db.load()}
    retained = {str(each.topic): number_of(each.payload) for each in db.retained()}
    db.close()
    return filters, retained


class Storm:
    """Publishers at QoS 1 and 2 and one of retained messages; two subscribers and a share of two, all persistent."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.chance = site, random.Random(seed)
        source, sink, port = site.source, site.sink, site.port
        topics = ("load/x", "load/y")
        self.loads = [
            StrictPublisher(source, port, "one", topics, 1),
            StrictPublisher(source, port, "two", topics, 2),
            StrictPublisher(source, port, "also-two", topics, 2),
        ]
        self.keeper = StrictPublisher(source, port, "keeper", tuple(f"load/kept/{n}" for n in range(5)), 1, retain=True)
        self.lone = [StrictSubscriber(sink, port, f"lone-{n}", "load/+") for n in range(2)]
        self.share = [StrictSubscriber(sink, port, f"member-{n}", "$share/all/load/+") for n in range(2)]
        for subscriber in (*self.lone, *self.share):
            subscriber.start()
            assert subscriber.is_subscribed.wait(15), subscriber.name
        self.paho = Load(site, "paho-two", 2)
        for publisher in (*self.loads, self.keeper):
            publisher.start()

    @property
    def clients(self) -> list[StrictClient]:
        """All of them."""
        return [*self.loads, self.keeper, *self.lone, *self.share]

    def blow(self, seconds: float) -> None:
        """Cut a connection now and then."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.paho.step()
            if self.chance.random() < 0.05:
                self.chance.choice([*(each.cut for each in self.clients), self.paho.peer.cut])()
            time.sleep(0.005)

    def settle(self) -> None:
        """Publish nothing new; wait until all is acknowledged and heard; count."""
        for publisher in (*self.loads, self.keeper):
            publisher.finish(60)
        self.paho.is_ending = True
        eventually(self.paho_is_done, 60.0, "the last acknowledgement for paho")
        wanted = self.paho.acknowledged.union(*(each.acknowledged for each in self.loads))
        for subscriber in self.lone:
            check_once_at_qos_2(subscriber.wait_for(wanted))

        def shared() -> Counter[bytes]:
            return self.share[0].payloads() + self.share[1].payloads()

        eventually(lambda: wanted <= shared().keys(), 60.0, "every acknowledged message for the share")
        check_once_at_qos_2(shared())

    def paho_is_done(self) -> bool:
        """Look at what paho heard; say whether all of its messages are acknowledged."""
        self.paho.step()
        return self.paho.is_done

    def end(self) -> None:
        """Stop all clients; none of them may have a complaint."""
        for each in self.clients:
            each.end()
        self.paho.peer.close()


def check_once_at_qos_2(counts: Counter[bytes]) -> None:
    assert {payload for payload, count in counts.items() if count > 1 and b"two" in payload} == set()


def endure(site: Site, kills: int, seed: int) -> None:
    """Kill the hub at random moments under load, and cut connections; then count what arrived."""
    storm = Storm(site, seed)
    for _ in range(kills):
        storm.blow(storm.chance.uniform(0.05, 0.5))
        site.hub.kill()
        words = last_words(storm.keeper.sent)
        left = site.hub.folder / "left"
        shutil.copytree(site.hub.home, left, ignore=shutil.ignore_patterns("*.sock"))
        filters, retained = subscriptions_and_retained(left)
        shutil.rmtree(left)
        for each in storm.lone:
            assert filters[f"sink/{each.suffix}"] == {"load/+"}
        for each in storm.share:
            assert filters[f"sink/{each.suffix}"] == {"$share/all/load/+"}
        for topic, (acknowledged, sent) in words.items():
            assert acknowledged <= retained.get(topic, -1) <= sent, f"{topic}, seed {seed}"
        site.hub.start(site.port)
    storm.settle()
    storm.end()
    assert all(len(load.acknowledged) > kills for load in storm.loads), "there was a load"
    site.hub.kill()
    _, retained = subscriptions_and_retained(site.hub.home)
    assert retained == {topic: sent for topic, (_, sent) in last_words(storm.keeper.sent).items()}
    site.hub.start(site.port)


def test_random_kills_under_load_lose_nothing_and_repeat_nothing_at_qos_2(site: Site) -> None:
    endure(site, kills=5, seed=random.randrange(1_000_000))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_hundred_kills_under_load_lose_nothing_and_repeat_nothing_at_qos_2(site: Site) -> None:
    endure(site, kills=200, seed=random.randrange(1_000_000))


@pytest.mark.requirement("Q4")
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_cut_connections_lose_nothing_and_repeat_nothing_at_qos_2(site: Site, count: int) -> None:
    chance = random.Random(count)
    subscribers = [StrictSubscriber(site.sink, site.port, name, "load/#") for name in ("first", "second")]
    for subscriber in subscribers:
        subscriber.start()
        assert subscriber.is_subscribed.wait(15)
    publishers = [
        StrictPublisher(site.source, site.port, f"qos-{qos}", (f"load/{qos}",), qos, count=count) for qos in (0, 1, 2)
    ]
    for publisher in publishers:
        publisher.start()
    clients: list[StrictClient] = [*subscribers, *publishers]
    cuts = 0
    while not all(each.is_done for each in publishers) or cuts < 20:
        time.sleep(chance.uniform(0.0, 0.05))
        chance.choice(clients).cut()
        cuts += 1
    wanted = publishers[1].acknowledged | publishers[2].acknowledged
    assert len(wanted) == 2 * count
    for subscriber in subscribers:
        counts = subscriber.wait_for(wanted)
        exact = {payload: times for payload, times in counts.items() if payload.startswith(b"qos-2:")}
        assert len(exact) == count
        assert set(exact.values()) == {1}, "at QoS 2 each comes once"
        assert all(times == 1 for payload, times in counts.items() if payload.startswith(b"qos-0:"))
    for client in clients:
        client.end()
    assert sum(each.connections for each in clients) > len(clients) + 5, "there were cuts"
