"""The work whose instructions are counted: a message's way from bytes to bytes, through every room but the sockets.

`python -m tests.counted.rooms MARKS.so OUT.json` runs under valgrind; the names of the workloads and how many messages
each delivers go to OUT.json. Everything is fixed: bytes, batches, order, clock, hash seed. So the figures of two runs
differ by less than 2 %.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import msgspec
import structlog

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V311, Connect, Puback, Publish, Subscribe, SubscriptionRequest
from lockgate.model.topic import topic_name
from lockgate.settings import HubSettings, Settings
from tests.support.playbook import START, Client, Playbook

UNLIMITED = Settings(hub=HubSettings(max_messages_per_second=0, max_bytes_per_second=0))
TOPIC = "bench/load"
WARM_UP, ROUNDS = 5, 20
"""Batches: first those that fill the memories, then those that are counted."""


class Counter:
    """Where counting begins and ends."""

    def __init__(self, marks: str) -> None:
        self._marks = ctypes.CDLL(marks)
        self.toggle: Callable[[], int] = self._marks.toggle

    def run(self, name: str, batch: Callable[[], int]) -> tuple[str, int]:
        """Run a workload; give its name and how many messages it delivered. `batch` toggles around what counts."""
        for _ in range(WARM_UP):
            batch()
        gc.collect()
        gc.freeze()
        self._marks.begin()
        batch()  # valgrind translates what it now sees for the first time
        self._marks.forget()
        delivered = sum(batch() for _ in range(ROUNDS))
        self._marks.write_down(name.encode())
        return name, delivered


class Scene:
    """A hub with publishers and subscribers, all heard by all."""

    def __init__(self, counter: Counter, publishers: int = 1, subscribers: int = 1, qos: int = 0) -> None:
        self._counter = counter
        self._hub = Playbook(UNLIMITED)
        # As in the hub that users run, the clocks are no Python functions; these stand still.
        self._hub.door.wall_clock = repeat(START).__next__
        self._hub.loop.time = repeat(START).__next__  # type: ignore[method-assign]
        self._publishers = [self._connect(f"publisher/{number}") for number in range(publishers)]
        self._subscribers = [self._connect(f"subscriber/{number}") for number in range(subscribers)]
        for subscriber in self._subscribers:
            subscriber.sends(Subscribe(1, (SubscriptionRequest(TOPIC, qos),)))
            subscriber.wire.written.clear()
        self._qos = qos

    def batches(self, messages: int, payload_bytes: int = 64) -> Callable[[], int]:
        """Give what sends `messages` of each publisher in one piece, and sees and settles what was delivered."""
        payload = bytes(payload_bytes)
        packets = (Publish(topic_name(TOPIC), payload, self._qos, packet_id=n + 1) for n in range(messages))
        data = b"".join(wire.encode(packet, V311) for packet in packets)
        expected = messages * len(self._publishers)

        def batch() -> int:
            for publisher in self._publishers:
                self._take(publisher, data)
                publisher.wire.written.clear()
            return sum(self._settle(subscriber, expected) for subscriber in self._subscribers)

        return batch

    def _connect(self, name: str) -> Client:
        client = self._hub.link(V311).sends(Connect(V311, name))
        client.wire.written.clear()
        return client

    def _take(self, client: Client, data: bytes) -> None:
        """Let the hub take what `client` sent; this, and what it sends to all in the same turn, is counted."""
        toggle, handler, loop = self._counter.toggle, client.handler, self._hub.loop
        toggle()
        handler.data_received(data)
        loop.run()
        toggle()

    def _settle(self, client: Client, expected: int) -> int:
        """See that all came, and acknowledge it."""
        written = bytes(client.wire.written)
        client.wire.written.clear()
        position, acknowledgements = 0, []
        count = 0
        while position < len(written):
            found = wire.decode(written, position, V311, 1 << 20)
            assert found is not None
            packet, position = found
            assert isinstance(packet, Publish)
            count += 1
            if packet.qos:
                acknowledgements.append(wire.encode(Puback(packet.packet_id), V311))
        assert count == expected, f"{count} of {expected} messages came"
        if acknowledgements:
            self._take(client, b"".join(acknowledgements))
        return count


def main() -> None:
    """Run all workloads."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    counter = Counter(sys.argv[1])
    done = dict(
        (
            counter.run("1 to 1, QoS 0, 64 B", Scene(counter).batches(100)),
            counter.run("1 to 1, QoS 0, 64 B, one at a time", Scene(counter).batches(1)),
            counter.run("1 to 1, QoS 0, 1 KiB", Scene(counter).batches(100, 1024)),
            counter.run("1 to 100, QoS 0, 64 B", Scene(counter, subscribers=100).batches(20)),
            counter.run("100 to 1, QoS 0, 64 B", Scene(counter, publishers=100).batches(2)),
            counter.run("1 to 1, QoS 1, 64 B, 20 in flight", Scene(counter, qos=1).batches(20)),
            counter.run("1 to 1, QoS 1, 64 B, 100 in flight", Scene(counter, qos=1).batches(100)),
        )
    )
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(done))


if __name__ == "__main__":
    main()
