"""How long a PUBACK takes under `fsync`, beside what the disk itself needs for a sync, in one run.

Run it with `python -m bench.puback`, from the top of the source. A hub as installed runs with `durability = "fsync"` in
a folder of the disk to be measured. A persistent QoS 1 subscriber is absent, so that every message must be stored. One
publisher sends at a fixed rate, whatever has been acknowledged by then, and the time from sending to PUBACK is taken.
Before and after, a 4 KiB record is appended and synced (fdatasync) again and again in the same folder. A second run
sends one message at a time: nothing may wait for company.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from bench.brokers import TOPIC, Lockgate, provision
from bench.run import RESULTS
from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from lockgate.model.topic import TopicName

V5 = 5
MAX_PACKET_BYTES = 1_048_576
RECORD_BYTES = 4096
PAYLOAD = b"." * 64
DEADLINE_SECONDS = 30.0


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds."""

    what: str
    count: int
    median: float
    p99: float
    most: float


class Line:
    """One plain connection to the lab door."""

    def __init__(self, port: int, client_id: str, expiry: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        properties = Properties(session_expiry_interval=expiry)
        self.send(Connect(V5, client_id, clean_start=True, properties=properties))
        connack = self.receive()
        assert isinstance(connack, Connack), connack
        assert connack.code == 0, connack

    def send(self, packet: Packet) -> None:
        self._socket.sendall(wire.encode(packet, V5))

    def receive(self) -> Packet:
        while True:
            found = wire.decode(self._buffer, 0, V5, MAX_PACKET_BYTES)
            if found is not None:
                packet, end = found
                self._buffer = self._buffer[end:]
                return packet
            data = self._socket.recv(65_536)
            assert data, "the hub closed the connection"
            self._buffer += data

    def close(self) -> None:
        self.send(Disconnect())
        self._socket.close()


def sync_latency(folder: Path, seconds: float) -> list[float]:
    """Append and sync 4 KiB again and again; give the seconds that each sync took."""
    path = folder / "syncs"
    taken = []
    until = time.perf_counter() + seconds
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        while time.perf_counter() < until:
            begun = time.perf_counter()
            os.write(handle, bytes(RECORD_BYTES))
            os.fdatasync(handle)
            taken.append(time.perf_counter() - begun)
    finally:
        os.close(handle)
        path.unlink()
    return taken


def at_rate(port: int, rate: int, seconds: float) -> list[float]:
    """Publish at a fixed rate; give the seconds from the moment a message was due until its PUBACK.

    A publisher that is late sends late, and that counts: waiting for the hub must not hide how slow it is.
    """
    line = Line(port, "publisher", 0)
    count = int(rate * seconds)
    taken: list[float] = []
    begun = time.perf_counter() + 0.1
    due = [begun + number / rate for number in range(count)]

    def listen() -> None:
        for _ in range(count):
            packet = line.receive()
            assert isinstance(packet, Puback), packet
            taken.append(time.perf_counter() - due[packet.packet_id - 1])

    listener = threading.Thread(target=listen)
    listener.start()
    for number, moment in enumerate(due):
        pause = moment - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        line.send(Publish(TopicName(TOPIC), PAYLOAD, 1, packet_id=number + 1))
    listener.join()
    line.close()
    return taken


def one_by_one(port: int, seconds: float) -> list[float]:
    """Publish the next message when the last one is acknowledged; give the seconds that each took."""
    line = Line(port, "lone", 0)
    taken = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        line.send(Publish(TopicName(TOPIC), PAYLOAD, 1, packet_id=1))
        assert isinstance(line.receive(), Puback)
        taken.append(time.perf_counter() - begun)
    line.close()
    return taken


def leave_a_subscription(port: int) -> None:
    """Subscribe and leave: from now on every message must be stored."""
    line = Line(port, "absent", 3600)
    line.send(Subscribe(1, (SubscriptionRequest(TOPIC, 1),)))
    assert isinstance(line.receive(), Suback)
    line.close()


def summary(what: str, seconds: list[float]) -> Latency:
    """Give the median, the 99th percentile and the most."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return Latency(what, len(ordered), *(1000 * each for each in (statistics.median(ordered), p99, ordered[-1])))


def measure(folder: Path, rate: int, seconds: float) -> list[Latency]:
    """Run everything in a folder of the disk in question."""
    provisioned = provision(folder)
    settings = provisioned.home / "lockgate.toml"
    settings.write_text(
        settings.read_text()
        + '\n[store]\ndurability = "fsync"\n[hub]\nmax_queued_messages = 60000\nmax_queued_bytes = 67108864\n'
    )
    broker = Lockgate(provisioned)
    syncs = sync_latency(folder, seconds / 4)
    found = []
    for what, run in ((f"PUBACK at {rate:,} messages/s", at_rate), ("PUBACK, one message at a time", one_by_one)):
        place = folder / run.__name__
        place.mkdir()
        with broker.running(place, tls=False, core=None) as door:
            port = int(door.load_arguments[door.load_arguments.index("--port") + 1])
            leave_a_subscription(port)
            taken = at_rate(port, rate, seconds) if run is at_rate else one_by_one(port, seconds / 4)
            found.append(summary(what, taken))
        syncs += sync_latency(folder, seconds / 4)
    return [summary("the disk: write and fdatasync of 4 KiB", syncs), *found]


def processor() -> str:
    """Give the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def table(rows: list[Latency], where: str) -> str:
    """Give the published table."""
    lines = ["| | count | median ms | 99 % ms | most ms |", "|---|---|---|---|---|"]
    lines += [f"| {r.what} | {r.count:,} | {r.median:.2f} | {r.p99:.2f} | {r.most:.1f} |" for r in rows]
    return "\n".join([*lines, "", where, ""])


@click.command()
@click.option("--rate", default=1000, show_default=True, help="Messages per second.")
@click.option("--seconds", default=20.0, show_default=True, help="How long.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build"), help="Where: on the disk to measure.")
def main(rate: int, seconds: float, folder: Path) -> None:
    """Measure, print the table, and write it to bench/results/."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        rows = measure(Path(scratch), rate, seconds)
    where = (
        "64 B payloads, QoS 1, stored for an absent subscriber, plain door."
        f" {datetime.now(UTC):%Y-%m-%d}, {processor()}, {os.cpu_count()} cores, Linux {platform.release()},"
        f" Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f}."
    )
    text = table(rows, where)
    click.echo(text)
    (RESULTS / "puback.md").write_text(text, encoding="utf-8")
    (RESULTS / "puback.json").write_text(
        json.dumps(msgspec.to_builtins({"rows": rows, "where": where}), indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
