"""What a broker spends on a handshake, on a JWT, on a connection that is silent, and how long a connect takes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.brokers import Broker, Door
from bench.fleet import Fleet
from bench.generator import generator
from bench.machine import BROKER_CORE, PINNED, memory_bytes
from bench.measures import EVERY, Context, wait_until_quiet
from bench.report import Sample, load_problem
from lockgate.provision.token import make_token


class Handshakes(msgspec.Struct, frozen=True):
    """Devices that connect over TLS 1.3 and leave again; the CPU of all that, for each.

    More devices take turns than are under way, so that none is back before the broker has seen it leave. They come as
    fast as the broker goes, at most at a `rate` that leaves the generator room.
    """

    name: str
    brokers: tuple[str, ...] = EVERY
    at_once: int = 8
    resumed: bool = False
    by_token: bool = False
    count: int = 2000
    quick_count: int = 300
    clients: int = 200
    quick_clients: int = 100
    rate: int = 0

    def load_arguments(self, quick: bool) -> tuple[str, ...]:
        """Give the generator's options but for where the broker is."""
        options = {
            "count": self.quick_count if quick else self.count,
            "clients": self.quick_clients if quick else self.clients,
            "at-once": self.at_once,
        }
        words = tuple(word for name, value in options.items() for word in (f"--{name}", str(value)))
        paced = ("--rate", str(self.rate)) if self.rate else ()
        return ("--do", "handshakes", *words, *paced, *(("--resume",) if self.resumed else ()))

    def run(self, broker: Broker, place: Path, context: Context) -> Sample:
        core = BROKER_CORE if PINNED else None
        with broker.running(place, tls=True, core=core) as door:
            where = self._with_tokens(door, place, context) if self.by_token else door.load_arguments
            with generator((*where, *self.load_arguments(context.quick)), f"{broker.name} in {self.name}") as load:
                load.wait_until_warm()
                wait_until_quiet(door.pid)
                result = load.go(door.pid)
        said = result.said
        figures = {
            "cpu": result.broker_cpu_seconds / said["completed"] * 1e6,
            "per_second": said["per_second"],
            "connack_ms": said["connack_microseconds"]["p50"] / 1000,
            "generator_cpu": said["cpu_microseconds_each"],
        }
        # How many a second the slower of broker and generator could do, each with a core of its own.
        figures["allowed_per_second"] = 1e6 / max(figures["cpu"], figures["generator_cpu"])
        problem = load_problem(broker.name, said)
        return Sample(self.name, broker.name, figures, problem, result.others_share, said["cpu_share"], said)

    def _with_tokens(self, door: Door, place: Path, context: Context) -> tuple[str, ...]:
        """Give the options for devices that show a JWT and no certificate."""
        passwords = place / "passwords"
        count = self.quick_clients if context.quick else self.clients
        passwords.write_text("".join(f"{token}\n" for token in tokens(context.fleet, count)), encoding="utf-8")
        passwords.chmod(0o600)
        port = door.load_arguments[door.load_arguments.index("--port") + 1]
        where = ("--host", "127.0.0.1", "--port", port, "--tls", "13")
        who = ("--client-id", "j%i", "--user", "j%i", "--password-file", str(passwords))
        return (*where, "--cafile", str(context.fleet.device("j0") / "ca.pem"), *who)


def tokens(fleet: Fleet, count: int) -> list[str]:
    """Give a JWT (ES256) for each of the first devices that have a key for it."""
    return [make_token(fleet.device(f"j{number}")) for number in range(count)]


class Idle(msgspec.Struct, frozen=True):
    """Connections that are silent: what each adds to the memory of all of the broker's processes."""

    name: str
    tls: bool
    brokers: tuple[str, ...] = EVERY
    count: int = 5000
    quick_count: int = 1000

    def run(self, broker: Broker, place: Path, context: Context) -> Sample:
        count = self.quick_count if context.quick else self.count
        with broker.running(place, tls=self.tls, core=BROKER_CORE if PINNED else None) as door:
            words = (*door.load_arguments, "--do", "idle", "--count", str(count))
            with generator(words, f"{broker.name} in {self.name}") as load:
                load.wait_until_warm()
                wait_until_quiet(door.pid)
                before = memory_bytes(door.pid)
                load.connect_idle()
                wait_until_quiet(door.pid)
                after = memory_bytes(door.pid)
                said = load.finish()
        figures = {"bytes": (after - before) / count, "whole_mib": after / 2**20}
        return Sample(self.name, broker.name, figures, None, 0.0, said["cpu_share"], said)
