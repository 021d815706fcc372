"""Storms: many devices that subscribe, or come back, at once while others go on talking; and the hub's own start."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec

from bench.brokers import Broker
from bench.canary import Device
from bench.fleet import FIRST
from bench.generator import generator
from bench.machine import BROKER_CORE, PINNED
from bench.measures import Context, wait_until_quiet
from bench.report import OURS, Sample, load_problem


class Storm(msgspec.Struct, frozen=True):
    """A crowd subscribes, or drops and connects again, while messages flow at a fixed rate.

    A message's latency counts from the time at which it was due, and is told apart by whether that was in the storm.
    """

    name: str
    kind: Literal["storm-subscribe", "storm-reconnect"]
    brokers: tuple[str, ...]
    tls: bool
    rate: int
    count: int
    quick_count: int
    quiet_seconds: float = 3.0
    quick_quiet_seconds: float = 1.0

    def load_arguments(self, quick: bool) -> tuple[str, ...]:
        """Give the generator's options but for where the broker is."""
        options: dict[str, float] = {
            "rate": self.rate,
            "count": self.quick_count if quick else self.count,
            "seconds": self.quick_quiet_seconds if quick else self.quiet_seconds,
            "warm-up": 1000,
        }
        words = tuple(word for name, value in options.items() for word in (f"--{name}", f"{value:g}"))
        filters = ("--filters", "1", "--storm-filter", "bench/storm/%i/%k") if self.kind == "storm-subscribe" else ()
        return ("--do", self.kind, *words, *filters)

    def run(self, broker: Broker, place: Path, context: Context) -> Sample:
        with (
            broker.running(place, tls=self.tls, core=BROKER_CORE if PINNED else None) as door,
            generator(
                (*door.load_arguments, *self.load_arguments(context.quick)), f"{broker.name}: {self.name}"
            ) as load,
        ):
            load.wait_until_warm()
            wait_until_quiet(door.pid)
            result = load.go(door.pid)
        said = result.said
        figures = {
            "p99_ms": said["storm_microseconds"]["p99"] / 1000,
            "quiet_p99_ms": said["quiet_microseconds"]["p99"] / 1000,
            "storm_seconds": said["storm_seconds"],
            "per_second": said["per_second"],
        }
        # A generator that is busy makes latencies longer, not shorter: that refuses nothing here.
        problem = load_problem(broker.name, said | {"saturated": False})
        return Sample(self.name, broker.name, figures, problem, result.others_share, said["storm_cpu_share"], said)


class Startup(msgspec.Struct, frozen=True):
    """From `lockgate up` to the first device that has its CONNACK over mutual TLS."""

    name: str
    brokers: tuple[str, ...] = (OURS,)

    def run(self, broker: Broker, place: Path, context: Context) -> Sample:
        with broker.running(place, tls=True, core=None) as door:
            name = "d0" if broker.name == OURS else FIRST
            Device(context.fleet.device(name), door.tls_port, name).close()
            seconds = time.monotonic() - door.began
        return Sample(self.name, broker.name, {"seconds": seconds})
