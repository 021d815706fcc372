"""Power cuts, which a kill does not test: what a disk may hold, rebuilt from what the hub wrote and synced.

A hub runs under real load while everything that it does to its files is recorded (tests/support/power). Then the power
is cut at random moments of the recording: the files are rebuilt as a disk could have left them (disk.py has the model)
and opened by the hub's own code. What had been acknowledged by then must be there.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.adapters.mqtt.packets import Suback, Subscribe, SubscriptionRequest, Unsuback, Unsubscribe
from lockgate.model.session import StoredSession
from lockgate.store.messages_db import Durability, MessagesDb
from lockgate.store.registry_db import RegistryDb
from tests.support.hub import RunningHub, eventually
from tests.support.paho_peer import PahoPeer
from tests.support.power.disk import Disk, Entry, Kind, Recorder, snapshot
from tests.support.raw_peer import RawPeer
from tests.support.strict import DAY, Sent, StrictPublisher, StrictSubscriber

pytestmark = pytest.mark.process

LOG = b"messages.db-wal"
ABSENT = ("one", "two", "real")
STATES = tuple(f"load/state/{number}" for number in range(4))


class Word(msgspec.Struct, frozen=True):
    """Something that the hub (or a command) promised at `at_ns`: is it so?"""

    what: str
    is_so: bool
    asked_ns: int
    at_ns: int


class Story(msgspec.Struct):
    """What was done and what was promised, with the recording of the files."""

    before: dict[str, bytes]
    after: dict[str, bytes]
    entries: list[Entry]
    sent: list[Sent]
    publishers: dict[str, list[Sent]]
    heard: list[tuple[bytes, int]]
    filters: list[Word]
    devices: list[Word]


def live(folder: Path, durability: Durability) -> Story:
    """Run a hub under load, with a crash and a restart in the middle."""
    hub = RunningHub(folder / "site", settings=f'\n[store]\ndurability = "{durability}"\n')
    with hub:
        source = hub.add_device("source", "jwt-es256", "--publish", "load/#")
        sink = hub.add_device("sink", "x509", "--receive", "load/#", "--receive", "odd/#")
    before = snapshot(hub.home)
    recorder = Recorder(folder, hub.home)
    hub.environment = recorder.environment
    filters: list[Word] = []
    devices: list[Word] = []
    hub.start()
    try:
        for name, qos in (("one", 1), ("two", 2)):
            absent = StrictSubscriber(sink, hub.port, name, "load/#", qos)
            absent.start()
            assert absent.is_subscribed.wait(15)
            absent.end()
        with PahoPeer(sink, hub.port, suffix="real", expiry=DAY) as real:
            assert real.subscribe("load/#", 2) == 2
        here = StrictSubscriber(sink, hub.port, "here", "load/#", 2)
        publishers = [
            StrictPublisher(source, hub.port, "a", ("load/a",), 1, count=500, window=6, padding_bytes=3000),
            StrictPublisher(source, hub.port, "b", ("load/b",), 2, count=500, window=6, padding_bytes=3000),
            StrictPublisher(source, hub.port, "c", STATES, 1, count=200, window=4, retain=True),
        ]
        here.start()
        assert here.is_subscribed.wait(15)
        for each in publishers:
            each.start()
        paho = publish_with_paho(source, hub.port)
        change_mind(sink, hub.port, filters)
        add_device(hub, "late", devices)
        eventually(lambda: len(publishers[1].acknowledged) > 250, 30.0, "the traffic")
        port = hub.port
        hub.kill()
        hub.start(port)
        for each in publishers:
            each.finish(60)
        add_device(hub, "later", devices)
        for client in (*publishers, here):
            client.end()
        hub.stop()
    finally:
        if hub.process is not None:
            hub.stop()
    return Story(
        before, snapshot(hub.home), recorder.entries(),
        [*paho, *(sent for each in publishers for sent in each.sent)],
        {"source/b": publishers[1].sent},
        [(each.payload, each.at_ns) for each in here.heard], filters, devices,
    )  # fmt: skip


def publish_with_paho(source: Path, port: int) -> list[Sent]:
    """Publish with a real client; note when each acknowledgement was seen."""
    found = []
    with PahoPeer(source, port, suffix="paho", expiry=DAY) as peer:
        for number in range(60):
            sent = Sent("load/paho", b"paho:%d:" % number, 1 + number % 2, False, 0, time.monotonic_ns())
            assert peer.publish(sent.topic, sent.payload, sent.qos) == 0
            sent.acknowledged_ns = sent.released_ns = sent.completed_ns = time.monotonic_ns()
            found.append(sent)
    return found


def change_mind(sink: Path, port: int, filters: list[Word]) -> None:
    """Subscribe and unsubscribe; note each SUBACK and UNSUBACK."""
    with RawPeer(sink, port, DAY, "odd") as peer:
        for number in range(40):
            name, asked = f"odd/{number % 8}", time.monotonic_ns()
            is_new = number // 8 % 2 == 0
            if is_new:
                peer.send(Subscribe(number + 1, (SubscriptionRequest(name, 1),)))
                assert peer.receive(Suback).codes == (1,)
            else:
                peer.send(Unsubscribe(number + 1, (name,)))
                assert peer.receive(Unsuback).codes == (0,)
            filters.append(Word(name, is_new, asked, time.monotonic_ns()))


def add_device(hub: RunningHub, name: str, devices: list[Word]) -> None:
    """Provision a device, and block it."""
    asked = time.monotonic_ns()
    hub.add_device(name, "password")
    devices.append(Word(name, False, asked, time.monotonic_ns()))
    asked = time.monotonic_ns()
    hub.lockgate("device", "block", name)
    devices.append(Word(name, True, asked, time.monotonic_ns()))


class Cut(msgspec.Struct):
    """One moment at which the power went: what the disk holds, as the hub reads it."""

    at_ns: int
    sessions: dict[str, StoredSession]
    queues: dict[str, list[bytes]]
    retained: dict[str, bytes]
    blocked: dict[str, bool]


def cuts(story: Story, durability: Durability, folder: Path, count: int, seed: int) -> Iterator[Cut]:
    """Cut the power at `count` moments, and open what is left."""
    chance = random.Random(seed)
    disk = Disk(story.before)
    moments = sorted(chance.sample(range(len(story.entries)), min(count, len(story.entries))))
    done = 0
    for moment in moments:
        for entry in story.entries[done:moment]:
            disk.apply(entry)
        done = moment
        next_one = story.entries[moment]
        left = folder / f"cut-{moment}"
        disk.cut(left, chance, next_one)
        try:
            yield read(left, durability, next_one.time_ns - 1)
        except BaseException as error:
            error.add_note(f"seed {seed}, entry {moment} of {len(story.entries)}; the files: {left}")
            raise
        shutil.rmtree(left)


def read(folder: Path, durability: Durability, at_ns: int) -> Cut:
    """Open the files as the hub does at its start."""
    db = MessagesDb(folder / "messages.db", durability)
    sessions = {each.record.principal.client_id: each for each in db.load()}
    retained = {str(message.topic): message.payload for message in db.retained()}
    db.close()
    with RegistryDb(folder / "registry.db") as registry:
        blocked = {device.name: device.is_blocked for device in registry.devices()}
    for name in ("messages.db", "registry.db"):
        connection = sqlite3.connect(folder / name)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    queues = {name: [d.message.payload for d in session.deliveries] for name, session in sessions.items()}
    return Cut(at_ns, sessions, queues, retained, blocked)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    """The recordings, each made when it is first asked for."""
    return {}


def story_of(durability: Durability, stories: dict[str, Story], factory: pytest.TempPathFactory) -> Story:
    if durability not in stories:
        stories[durability] = live(factory.mktemp(durability), durability)
    return stories[durability]


def test_a_recording_is_whole(stories: dict[str, Story], tmp_path_factory: pytest.TempPathFactory) -> None:
    story = story_of("fsync", stories, tmp_path_factory)
    disk = Disk(story.before)
    for entry in story.entries:
        disk.apply(entry)
    for name in ("messages.db", "registry.db"):
        assert disk.contents()[name] == story.after[name], "replayed, the recording gives the files"
    kinds = {entry.kind for entry in story.entries}
    assert {Kind.OPENED, Kind.WRITTEN, Kind.SYNC_BEGUN, Kind.SYNC_ENDED, Kind.UNLINKED} <= kinds
    logs = {entry.handle for entry in story.entries if entry.kind == Kind.OPENED and entry.content == LOG}
    starts = [
        entry for entry in story.entries if entry.handle in logs and entry.kind == Kind.WRITTEN and not entry.offset
    ]
    assert len(starts) > 2, "the log was folded into the file under load, too"


def promised(sent: list[Sent], at_ns: int) -> set[bytes]:
    """Give what had been acknowledged at a moment."""
    return {each.payload for each in sent if each.acknowledged_ns and each.acknowledged_ns <= at_ns}


def check_nothing_is_lost(story: Story, cut: Cut) -> None:
    """Compare everything that had been promised with what is there."""
    wanted = promised(story.sent, cut.at_ns)
    heard = {payload for payload, at_ns in story.heard if at_ns <= cut.at_ns}
    for name, sent_qos in (("sink/one", 1), ("sink/two", 2), ("sink/real", 2), ("sink/here", 2)):
        queue = cut.queues.get(name, [])
        held = {*queue, *(heard if name == "sink/here" else ())}
        assert not wanted - held, f"{name} lacks {_short(wanted - held)}"
        if sent_qos == 2:
            twice = {payload for payload, count in Counter(queue).items() if count > 1 and payload[:2] == b"b:"}
            assert not twice, f"{name} has {_short(twice)} twice"
    if "sink/here" in cut.sessions:
        here = cut.sessions["sink/here"]
        unreleased = {d.message.payload for d in here.deliveries if d.qos == 2 and d.tag not in here.released}
        assert unreleased & heard == set(), "what was handed on is not published again"


def check_incoming(story: Story, cut: Cut) -> None:
    """A QoS 2 id is remembered from the PUBREC until the PUBREL, and not longer than to the PUBCOMP."""
    for client_id, sent in story.publishers.items():
        session = cut.sessions.get(client_id)
        remembered = session.incoming if session is not None else frozenset()
        there = set(cut.queues.get("sink/two", []))
        begun = [each for each in sent if each.first_sent_ns <= cut.at_ns]
        newest = {each.packet_id: each for each in begun}
        for each in newest.values():
            is_released = 0 < each.released_ns <= cut.at_ns
            if not is_released and (0 < each.acknowledged_ns <= cut.at_ns or each.payload in there):
                assert each.packet_id in remembered, f"{each.payload[:20]!r} would be published twice"
            if 0 < each.completed_ns <= cut.at_ns:
                assert each.packet_id not in remembered, f"the next message {each.packet_id} would be lost"


def check_last_words(story: Story, cut: Cut) -> None:
    """Retained messages, subscriptions and devices are as they were last promised, or as was asked since."""
    for topic in STATES:
        words = [each for each in story.sent if each.topic == topic and each.first_sent_ns <= cut.at_ns]
        last = max((n for n, each in enumerate(words) if 0 < each.acknowledged_ns <= cut.at_ns), default=None)
        allowed = [each.payload for each in words[last or 0 :]]
        if last is not None:
            assert cut.retained.get(topic) in allowed
    odd = cut.sessions.get("sink/odd")
    found = {subscription.filter for subscription in odd.subscriptions} if odd is not None else set()
    check_words(story.filters, {name: name in found for name in {word.what for word in story.filters}}, cut.at_ns)
    check_words(story.devices, cut.blocked, cut.at_ns)


def check_words(words: list[Word], found: dict[str, bool], at_ns: int) -> None:
    for what in {word.what for word in words}:
        asked = [word for word in words if word.what == what and word.asked_ns <= at_ns]
        done = [n for n, word in enumerate(asked) if word.at_ns <= at_ns]
        if done:
            assert found[what] in {word.is_so for word in asked[done[-1] :]}, what


def endure_cuts(story: Story, folder: Path, count: int) -> None:
    seed = random.randrange(1_000_000)
    acknowledged = []
    for cut in cuts(story, "fsync", folder, count, seed):
        check_nothing_is_lost(story, cut)
        check_incoming(story, cut)
        check_last_words(story, cut)
        acknowledged.append(len(promised(story.sent, cut.at_ns)))
    assert len(acknowledged) == count
    assert len(set(acknowledged)) > min(count // 4, 100), "the cuts met the traffic"


def test_a_power_cut_takes_nothing_acknowledged_with_fsync(
    stories: dict[str, Story], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    endure_cuts(story_of("fsync", stories, tmp_path_factory), tmp_path, 30)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_thousand_power_cuts_take_nothing_acknowledged_with_fsync(
    stories: dict[str, Story], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    endure_cuts(story_of("fsync", stories, tmp_path_factory), tmp_path, 1000)


def last_sync_ns(story: Story, at_ns: int) -> int:
    """Give when the last sync of the log began that had come back at a moment: what was written before is safe."""
    logs = {e.handle for e in story.entries if e.kind == Kind.OPENED and e.content == LOG}
    begun: dict[int, int] = {}
    found = 0
    for entry in story.entries:
        if entry.time_ns > at_ns:
            break
        if entry.handle in logs and entry.kind == Kind.SYNC_BEGUN:
            begun[entry.handle] = entry.time_ns
        elif entry.handle in logs and entry.kind == Kind.SYNC_ENDED:
            found = begun[entry.handle]
    return found


def check_only_the_latest_is_lost(story: Story, cut: Cut, *, is_waited: bool) -> None:
    """What was written before the log's last sync is there, and of what is lost everything later is lost as well."""
    if is_waited:
        safe = promised(story.sent, last_sync_ns(story, cut.at_ns))
        for name in ABSENT:
            lost = safe - set(cut.queues.get(f"sink/{name}", []))
            assert not lost, f"{name} lacks {_short(lost)}"
    for prefix in (b"a", b"b", b"paho"):
        numbers = sorted(int(p.split(b":")[1]) for p in cut.queues.get("sink/two", []) if p.split(b":")[0] == prefix)
        assert numbers == list(range(len(numbers))), f"{prefix!r} has a hole"


@pytest.mark.parametrize("durability", ["os", "memory"])
@pytest.mark.parametrize("count", [15, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_without_fsync_a_power_cut_takes_only_the_end_and_the_file_is_sound(
    durability: Durability,
    count: int,
    stories: dict[str, Story],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    story = story_of(durability, stories, tmp_path_factory)
    lost = 0
    for cut in cuts(story, durability, tmp_path, count, random.randrange(1_000_000)):
        check_only_the_latest_is_lost(story, cut, is_waited=durability == "os")
        lost += bool(promised(story.sent, cut.at_ns) - set(cut.queues.get("sink/two", [])))
    assert lost, "the cuts are real: without fsync something acknowledged is lost"


def _short(payloads: set[bytes]) -> list[bytes]:
    return sorted(payload.rstrip(b".") for payload in payloads)[:5]
