"""How a broker is measured: one fresh process for each, and a sample of its figures.

A `Flow` moves messages. What connects, waits, storms or starts is in bench/connections.py and bench/storms.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from bench.brokers import Broker, Door, Settings
from bench.canary import canary, silence
from bench.fleet import Fleet
from bench.generator import Generator, Result, generator
from bench.machine import BROKER_CORE, PINNED, cpu_seconds
from bench.report import OURS, PEER, Sample, load_problem

EVERY = (OURS, PEER, "NATS")
COMPARED = (*EVERY, "RabbitMQ", "aedes", "amqtt")
QUICK_WARM_UP = 3000
QUIET_SECONDS, QUIET_SHARE, QUIET_DEADLINE_SECONDS = 0.2, 0.1, 10.0


class Context(msgspec.Struct, frozen=True):
    """What all measures of one bench share."""

    fleet: Fleet
    seconds: float
    quick: bool


def wait_until_quiet(pid: int) -> None:
    """Wait until a broker does nothing any more: what it does for its start is not in the figures."""
    deadline = time.monotonic() + QUIET_DEADLINE_SECONDS
    used = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(QUIET_SECONDS)
        before, used = used, cpu_seconds(pid)
        if used - before < QUIET_SHARE * QUIET_SECONDS:
            return


class Measure(Protocol):
    """One kind of measurement, on each of some brokers."""

    @property
    def name(self) -> str: ...

    @property
    def brokers(self) -> tuple[str, ...]: ...

    def run(self, broker: Broker, place: Path, context: Context) -> Sample: ...


def sync_rate(folder: Path, seconds: float) -> float:
    """Append and sync 4 KiB again and again; give how many of that the disk does in a second."""
    path, count = folder / "syncs", 0
    began = time.perf_counter()
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        while time.perf_counter() < began + seconds:
            os.write(handle, bytes(4096))
            os.fdatasync(handle)
            count += 1
        return count / (time.perf_counter() - began)
    finally:
        os.close(handle)
        path.unlink()


def brokers_of(measure: Measure, quick: bool) -> tuple[str, ...]:
    """Give the brokers that a measure is made with; a quick run may leave some out."""
    return (quick and isinstance(measure, Flow) and measure.quick_brokers) or measure.brokers


class Flow(msgspec.Struct, frozen=True):
    """Publishers and subscribers for a time; the CPU is read after the warm-up and after the last delivery.

    At a `rate` messages come one by one when they are due; a flood of `at_most` so many a second comes in bursts.
    A publisher sends again when `refill` of its messages in flight are acknowledged.
    """

    name: str
    brokers: tuple[str, ...] = EVERY
    quick_brokers: tuple[str, ...] = ()
    subscribers: int = 1
    publishers: int = 1
    qos: int = 0
    payload: int = 64
    window: int = 2000
    in_flight: int = 20
    warm_up: int = 10_000
    tls: bool = False
    rate: int = 0
    at_most: int = 0
    refill: int = 1
    persistent: bool = False
    settings: Settings | None = None
    more: tuple[str, ...] = ()
    seconds_at_least: float = 0.0
    is_beside_disk: bool = False

    def load_arguments(self, seconds: float, quick: bool = False) -> tuple[str, ...]:
        """Give the generator's options but for where the broker is."""
        options: dict[str, float] = {
            "subscribers": self.subscribers,
            "publishers": self.publishers,
            "qos": self.qos,
            "payload": self.payload,
            "window": self.window,
            "in-flight": self.in_flight,
            "warm-up": min(self.warm_up, QUICK_WARM_UP) if quick else self.warm_up,
            "seconds": max(seconds, self.seconds_at_least),
        }
        for name, value in (("rate", self.rate), ("at-most", self.at_most)):
            if value:
                options[name] = value
        if self.refill > 1:
            options["refill"] = self.refill
        words = tuple(word for name, value in options.items() for word in (f"--{name}", f"{value:g}"))
        return (*words, *(("--session", "persistent") if self.persistent else ()), *self.more)

    def run(self, broker: Broker, place: Path, context: Context) -> Sample:
        if self.is_beside_disk:
            return self._beside_disk(broker, place, context)
        return self._run(broker, place, context)

    def _beside_disk(self, broker: Broker, place: Path, context: Context) -> Sample:
        """Put what the disk itself does, before and after in the same folder, into the same sample."""
        seconds = context.seconds / 4
        before = sync_rate(place, seconds)
        sample = self._run(broker, place, context)
        disk = (before + sync_rate(place, seconds)) / 2
        return msgspec.structs.replace(sample, figures=sample.figures | {"disk_per_second": disk})

    def _run(self, broker: Broker, place: Path, context: Context) -> Sample:
        with (
            broker.running(place, tls=self.tls, core=BROKER_CORE if PINNED else None, settings=self.settings) as door,
            generator(
                (*door.load_arguments, *self.load_arguments(context.seconds, context.quick)), self._what(broker)
            ) as load,
        ):
            load.wait_until_warm()
            wait_until_quiet(door.pid)
            result = self._watched(load, door, context) if door.is_ruled else load.go(door.pid)
            return self.sample(broker.name, result)

    def _watched(self, load: Generator, door: Door, context: Context) -> Result:
        assert door.home
        with canary(context.fleet, door.tls_port):
            result = load.go(door.pid)
        if not (self.more or self.persistent) and load_problem(OURS, result.said) is None:
            silence(context.fleet, door.home, door.tls_port, load, self.subscribers, tls=self.tls)
        return result

    def sample(self, broker: str, result: Result) -> Sample:
        """Give the figures of one run."""
        said = result.said
        figures = {"per_second": float(said["delivered_per_second"])}
        if said["delivered"]:
            figures["cpu"] = result.broker_cpu_seconds / said["delivered"] * 1e6
        latency: Mapping[str, float] = said.get("latency_microseconds", {})
        figures |= {name: latency[name] for name in ("p50", "p99") if name in latency}
        problem = load_problem(broker, said)
        return Sample(self.name, broker, figures, problem, result.others_share, float(said["cpu_share"]), said)

    def _what(self, broker: Broker) -> str:
        return f"{broker.name} in {self.name}"
