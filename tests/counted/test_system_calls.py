"""The system calls of a batch of messages stay what they are: a write too many is seen on any machine, however busy.

Proven by hand: when a link wrote each delivery at once instead of all when the loop's turn ends, three workloads failed
(100 writes instead of 1 for a batch of 100). `python -m tests.counted` writes the ceilings anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.counted.ceilings import CEILINGS
from tests.counted.instructions import COMPILED, build
from tests.counted.system_calls import Calls, count, trace
from tests.counted.traffic import DEVICE, WORKS, Door, Traffic, Work
from tests.support.hub import RunningHub

WARM_UP_BATCHES, REPEATS = 20, 3
NO_RATES = "\n[hub]\nmax_messages_per_second = 0\nmax_bytes_per_second = 0\n"
BY_CHANCE = 0.25
"""So many waits and others in a batch may be a matter of time: of a batch that came in two pieces, say."""


class Gate:
    """A running hub, and where it listens for each workload; `with` starts and stops it."""

    def __init__(self, folder: Path) -> None:
        build()
        self._hub = RunningHub(folder, lab=True, settings=NO_RATES)
        self._hub.environment["PYTHONPATH"] = str(COMPILED)
        self._device = folder

    def __enter__(self) -> Gate:
        self._hub.start()
        self._device = self._hub.add_device(DEVICE, "x509", "--publish", "bench/#", "--receive", "bench/#")
        return self

    def __exit__(self, *_: object) -> None:
        self._hub.stop()

    def measure(self, work: Work, folder: Path) -> Calls:
        """Give the system calls per batch: the least of some runs, since the hub writes its trail now and then."""
        door = Door(self._hub.port, self._device) if work.is_tls else Door(self._hub.lab_port)
        with Traffic(door, work) as traffic:
            traffic.run(WARM_UP_BATCHES)
            runs = [msgspec.structs.astuple(trace(self._hub.pid, traffic.run, folder)) for _ in range(REPEATS)]
        return Calls(*map(min, zip(*runs, strict=True)))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with Gate(tmp_path_factory.mktemp("gate")) as gate:
        yield gate


@pytest.mark.process
@pytest.mark.timeout(400)
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_a_batch_takes_no_more_system_calls_than_it_did(gate: Gate, work: Work, tmp_path: Path) -> None:
    calls = gate.measure(work, tmp_path)
    ceiling = CEILINGS.system_calls[work.name]
    assert calls.read <= ceiling.read * 1.02
    assert calls.write <= ceiling.write * 1.02
    assert calls.wait <= max(ceiling.wait, calls.read) + BY_CHANCE
    assert calls.other <= ceiling.other + BY_CHANCE
    assert calls.read + calls.write > 1.9, "what is counted is not the gate"


def test_what_strace_writes_is_told_apart() -> None:
    calls = count(
        "1 epoll_pwait(4<anon_inode:[eventpoll]>, [...], 1024, 12, NULL, 8) = 1\n"
        '1 read(27<TCP:[127.0.0.1:1883->127.0.0.1:5]>, ""..., 262144) = 6800\n'
        '1 write(28<TCP:[127.0.0.1:1883->127.0.0.1:6]>, ""..., 6800) = 6800\n'
        "1 epoll_pwait(4<anon_inode:[eventpoll]>, [], 1024, 20, NULL, 8) = 0\n"
        "1 fcntl(15</home/registry.db-shm>, F_SETLK, {l_type=F_RDLCK}) = 0\n"
        "1 getpid() = 1\n"
        "2 write(28<TCP:[127.0.0.1:1883->127.0.0.1:6]>, <unfinished ...>\n"
        "1 epoll_pwait(4<anon_inode:[eventpoll]>, <unfinished ...>\n"
        '2 <... write resumed>""..., 5) = 5\n'
        "1 <... epoll_pwait resumed>[...], 1024, 20, NULL, 8) = 2\n"
        "2 futex(0x7f, FUTEX_WAKE_PRIVATE, 1) = 1\n"
        "1 epoll_pwait(4<anon_inode:[eventpoll]>,  <detached ...>\n"
    )
    assert (calls.read, calls.write, calls.wait, calls.other) == (1, 2, 2, 1)
