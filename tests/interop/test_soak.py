"""A soak: clients of all kinds come and go, and the hub is afterwards as it was after the first minute."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.hub import RunningHub, eventually
from tests.support.lives import RESIDENTS, Crowd, Pass, retained_topics, topic
from tests.support.paho_peer import PahoPeer

pytestmark = pytest.mark.process

SETTINGS = """
[hub]
max_queued_messages = 200
sys_interval_seconds = 0.5
[log]
max_remembered_refusals = 500
"""
"""Small bounds, so that what is bounded is full before the first figures are taken."""
WIDTH, PAUSE_SECONDS = 16, 0.02
MAX_GROWTH_BYTES = 8 * 1024 * 1024
MAX_GROWTH = 0.10
MAX_DATABASE_BYTES = 64 * 1024 * 1024
RULES = ("--publish", "soak/#", "--receive", "soak/#", "--receive", "$SYS/#")


class Figures(msgspec.Struct, frozen=True):
    """What the hub's process takes at one moment."""

    resident_bytes: int
    threads: int
    files: int
    database_bytes: int

    @classmethod
    def of(cls, hub: RunningHub) -> Figures:
        """Look at the process, and at the databases with their logs."""
        lines = Path(f"/proc/{hub.pid}/status").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        databases = sum(path.stat().st_size for path in hub.home.rglob("*.db*"))
        files = len(os.listdir(f"/proc/{hub.pid}/fd"))
        return cls(int(facts["VmRSS"].split()[0]) * 1024, int(facts["Threads"]), files, databases)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with RunningHub(tmp_path, settings=SETTINGS) as running:
        yield running


class PahoLives:
    """Threads in which paho's clients come and go beside the crowd."""

    def __init__(self, folder: Path, port: int, count: int) -> None:
        self.lived = 0
        self.failures: list[BaseException] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._live, args=(folder, port, n)) for n in range(count)]

    def __enter__(self) -> PahoLives:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _live(self, folder: Path, port: int, number: int) -> None:
        chance = random.Random(number)
        try:
            while not self._is_over.wait(0.2):
                will = (topic(0), "gone") if chance.random() < 0.5 else None
                peer = PahoPeer(folder, port, suffix=f"paho-{number}", version=chance.choice((4, 5)), will=will)
                peer.connect()
                assert peer.subscribe("soak/+/#", 2) == 2
                for qos in (0, 1, 2):
                    assert peer.publish(topic(chance.randrange(500)), b"hello", qos) < 0x80
                peer.wait_for(1)
                if chance.random() < 0.5:
                    peer.stop()
                else:
                    peer.close()
                self.lived += 1
        except BaseException as failure:
            self.failures.append(failure)


@pytest.mark.parametrize(
    ("settling", "lasting"),
    [(8, 16), pytest.param(60, 540, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
    ids=["short", "ten minutes"],
)
def test_hub_takes_at_the_end_of_a_churn_what_it_took_at_its_start(
    hub: RunningHub, settling: int, lasting: int
) -> None:
    folders = [hub.add_device(f"one-{kind}", kind, *RULES) for kind in ("x509", "jwt-es256", "jwt-rs256")]
    passes = [Pass.of(folder, hub.port) for folder in folders]
    # Another's token, and no wrong password: checking one takes 64 MiB for a moment, which no figure should meet.
    impostor = msgspec.structs.replace(passes[1], secret=passes[2].secret)
    seed = random.randrange(1_000_000)
    crowd = Crowd(passes, impostor, seed)
    rows: list[Figures] = []

    def tell(what: str, figures: Figures) -> None:
        print(
            f"{what}: {figures}, {crowd.done['connected']} connected, {crowd.done['published']} published", flush=True
        )

    async def watch() -> None:
        start = time.monotonic()
        while (passed := time.monotonic() - start) < settling + lasting:
            await asyncio.sleep(min(60.0, settling, settling + lasting - passed))
            rows.append(Figures.of(hub))
            tell(f"{time.monotonic() - start:.0f} s", rows[-1])
        crowd.is_over = True

    async def soak() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            group.create_task(crowd.run(WIDTH, PAUSE_SECONDS))
        await crowd.settle()

    with PahoPeer(folders[0], hub.port, suffix="first") as first:
        assert first.subscribe("soak/#", 2) == 2
    before = Figures.of(hub)
    with PahoLives(folders[1], hub.port, 2) as others:
        asyncio.run(soak())
    assert others.failures == []
    after = eventually(lambda: quiet_again(hub, before), 20.0, "the end of the last connection")
    tell("before", before)
    tell("after", after)
    print(dict(crowd.done), "and of paho", others.lived)
    assert_counts(hub, folders[0])
    early, late = rows[0], rows[-1]
    allowed = max(MAX_GROWTH_BYTES, int(early.resident_bytes * MAX_GROWTH))
    assert late.resident_bytes - early.resident_bytes <= allowed, f"seed {seed}: {rows}"
    assert late.threads <= early.threads, f"seed {seed}: {rows}"
    assert after.database_bytes < MAX_DATABASE_BYTES


def quiet_again(hub: RunningHub, before: Figures) -> Figures | None:
    """Give the figures, once all files are closed that were opened since."""
    figures = Figures.of(hub)
    return figures if figures.files <= before.files else None


def assert_counts(hub: RunningHub, folder: Path) -> None:
    """See in $SYS that what is left is what should be: the residents, their subscriptions, the retained messages."""
    wanted = {
        "clients/connected": 1,
        "clients/total": RESIDENTS + 1,
        "subscriptions/count": 2 * RESIDENTS + 1,
        "retained messages/count": retained_topics(),
    }
    with PahoPeer(folder, hub.port, suffix="operator") as operator:
        assert operator.subscribe("$SYS/#") == 1

        def told() -> dict[str, int]:
            heard = {each.topic.removeprefix("$SYS/broker/"): each.payload for each in list(operator.heard)}
            counts = {name: int(heard.get(name, -1)) for name in wanted}
            return counts | {"retained messages/count": counts["retained messages/count"] - len(heard)}

        deadline = time.monotonic() + 10.0
        while told() != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        assert told() == wanted
