"""Threat: memory and time taken by sheer mass, from clients that may connect. A real hub, real sockets, small limits.

Each flood runs beside a pair of clients that behave. Three things are seen each time: every message of the pair
arrives, the hub's memory grows by no more than the settings allow, and what was dropped or refused is told.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Connect, Puback, Publish
from lockgate.model.topic import topic_name
from tests.support.floods import Memory, Pair, Raw, wait_for_figure
from tests.support.hub import RunningHub, eventually
from tests.support.raw_peer import RawPeer

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

MIB = 1_048_576
SLACK = 24 * MIB
"""What a hub may take besides: the interpreter's own stock of memory, the collector's rhythm, buffers on their way."""
OVERHEAD = 2
"""A byte that a setting counts may cost this many: objects around it, and the allocator's rounding."""
SETTINGS = """
max_partial_bytes = 8388608
connect_deadline_seconds = 2.0
[hub]
max_queued_messages = 10000
max_queued_bytes = 4194304
max_queued_bytes_total = 16777216
max_retained_messages = 1000
max_retained_bytes = 4194304
max_messages_per_second = 0
max_bytes_per_second = 0
max_sessions_per_device = 12000
sys_interval_seconds = 0.2
[net]
max_connections_per_address = 12000
max_write_buffer_bytes = 65536
max_handshakes_per_second_per_address = 50.0
max_handshake_burst_per_address = 100
[store]
durability = "memory"
"""
QUEUE_BYTES, ALL_QUEUES_BYTES, RETAINED_BYTES, PARTIAL_BYTES = 4 * MIB, 16 * MIB, 4 * MIB, 8 * MIB
WRITE_BUFFER_BYTES = 65_536
KERNEL_BUFFER = 65_536


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with RunningHub(tmp_path / "hub", lab=True, settings=SETTINGS) as running:
        yield running


def many(hub: RunningHub, count: int, stack: contextlib.ExitStack, **words: object) -> list[Raw]:
    """Connect many clients, from a few addresses."""
    return [
        stack.enter_context(Raw(hub.lab_port, f"many-{n}", source=f"127.0.0.{2 + n % 5}", **words))  # type: ignore[arg-type]
        for n in range(count)
    ]


def told(memory: Memory, pair: Pair, bound: int) -> None:
    """See that the memory stayed in its bound; print both figures."""
    print(f"memory grew by {memory.growth / MIB:.1f} of {bound / MIB:.0f} MiB; {pair.says()}")
    assert memory.growth < bound


def test_a_subscriber_that_stops_reading(hub: RunningHub) -> None:
    with Raw(hub.lab_port, "deaf", receive_buffer=KERNEL_BUFFER) as deaf, Raw(hub.lab_port, "loud") as loud:
        deaf.subscribe("flood")
        with Memory(hub) as memory, Pair(hub.lab_port) as pair:
            for _ in range(40):
                loud.send(*[Publish(topic_name("flood"), bytes(1024))] * 1024)
            wait_for_figure(hub, "publish/dropped/its queue was full", 1000)
        told(memory, pair, OVERHEAD * QUEUE_BYTES + SLACK)
    dropped = hub.events("message.dropped")
    assert {(line["client_id"], line["reason"]) for line in dropped} == {("lab/deaf", "its queue was full")}


def test_empty_messages_for_many_that_are_away(hub: RunningHub) -> None:
    # What a message takes besides its payload counts as well: empty ones fill the queues, too.
    with contextlib.ExitStack() as stack:
        away = many(hub, 20, stack, expiry=3600)
        for client in away:
            client.subscribe("flood", qos=1)
            client.socket.close()
        loud = stack.enter_context(Raw(hub.lab_port, "loud"))
        with Memory(hub) as memory, Pair(hub.lab_port) as pair:
            for _ in range(10):
                loud.send(*[Publish(topic_name("flood"), b"", 1, packet_id=number) for number in range(1, 1001)])
                for _ in range(1000):
                    loud.takes(Puback)
            wait_for_figure(hub, "publish/dropped/the queues of all sessions together were full", 1000)
        told(memory, pair, OVERHEAD * ALL_QUEUES_BYTES + SLACK)


@pytest.mark.parametrize("clients", [100, pytest.param(500, marks=pytest.mark.long)])
def test_a_subscription_to_everything_by_everyone(hub: RunningHub, clients: int) -> None:
    with contextlib.ExitStack() as stack:
        for client in many(hub, clients, stack, receive_buffer=KERNEL_BUFFER):
            client.subscribe("#")
        loud = stack.enter_context(Raw(hub.lab_port, "loud"))
        with Memory(hub) as memory, Pair(hub.lab_port) as pair:
            for number in range(800):
                loud.publish(f"flood/{number % 100}", bytes(10_000))
            wait_for_figure(hub, "publish/messages/dropped", 1)
        told(memory, pair, OVERHEAD * (ALL_QUEUES_BYTES + clients * (WRITE_BUFFER_BYTES + 16_384)) + SLACK)


@pytest.mark.parametrize("topics", [50_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_million_distinct_topics(hub: RunningHub, topics: int) -> None:
    with Raw(hub.lab_port, "loud") as loud, Memory(hub) as memory, Pair(hub.lab_port) as pair:
        for start in range(0, topics, 1000):
            loud.send(*[Publish(topic_name(f"flood/{n}/topic"), b"x", retain=True) for n in range(start, start + 1000)])
        refused = wait_for_figure(hub, "refusals/reason/too many retained messages", 1000)
        assert refused <= topics
        assert wait_for_figure(hub, "retained messages/count", 500) < 1100, "and some of $SYS"
    # Routes and grants are remembered up to bounds of their own: docs/explain/limits.md.
    told(memory, pair, OVERHEAD * RETAINED_BYTES + 192 * MIB + SLACK)


def test_packets_of_the_maximum_size_in_parallel_half_sent_and_whole(hub: RunningHub) -> None:
    data = wire.encode(Publish(topic_name("flood"), bytes(MIB - 100)), V5)
    with contextlib.ExitStack() as stack:
        clients = many(hub, 60, stack)
        with Memory(hub) as memory, Pair(hub.lab_port) as pair:
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    client.socket.sendall(data[: MIB // 2])
            hub.wait_for_refusal("too many unfinished packets")
            gone = sum(client.is_closed_by_the_hub() for client in clients[:40])
            assert gone == 40, "those that were begun first make room"
            for client in clients[-8:]:
                client.socket.sendall(data[MIB // 2 :])
                client.subscribe("alive")
        told(memory, pair, OVERHEAD * PARTIAL_BYTES + SLACK)


def test_clients_that_send_a_byte_now_and_then(hub: RunningHub) -> None:
    connect = wire.encode(Connect(V5, "slow"), V5)
    with contextlib.ExitStack() as stack:
        slow = many(hub, 200, stack, is_silent=True)
        with Memory(hub) as memory, Pair(hub.lab_port) as pair:
            for byte in connect[:4]:
                for client in slow:
                    client.socket.sendall(bytes([byte]))
            for client in slow:
                assert client.next() is None, "no CONNECT came in time"
        told(memory, pair, SLACK)
    assert eventually(lambda: hub.why())[0]["message"].startswith("no CONNECT came within 2 s")


def test_a_publisher_that_floods_is_slowed_and_loses_nothing(tmp_path: Path) -> None:
    settings = SETTINGS.replace("max_messages_per_second = 0", "max_messages_per_second = 1000\nrate_burst_seconds = 1")
    with RunningHub(tmp_path / "hub", lab=True, settings=settings) as hub:
        count = 3000
        with Raw(hub.lab_port, "ear") as ear, Raw(hub.lab_port, "loud") as loud:
            ear.subscribe("flood")
            with Memory(hub) as memory, Pair(hub.lab_port) as pair:
                loud.send(*[Publish(topic_name("flood"), b"%d" % number) for number in range(count)])
                assert [int(ear.takes(Publish).payload) for _ in range(count)] == list(range(count))
                loud.send(*[Publish(topic_name("flood"), b"again")] * 10)
                assert [ear.takes(Publish).payload for _ in range(10)] == [b"again"] * 10
            told(memory, pair, SLACK)
        refusal = hub.wait_for_refusal("rate exceeded")
        assert (refusal["client_id"], refusal["count"]) == ("loud", 1)
        assert "hub.max_messages_per_second" in refusal["fix"]
        assert len(hub.events("client.slowed")) == 1
        wait_for_figure(hub, "refusals/reason/rate exceeded", 1)


def client_hello() -> bytes:
    """Give what a TLS client says first."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_handshakes_without_end_from_one_address(hub: RunningHub) -> None:
    hello = client_hello()
    with Memory(hub) as memory, Pair(hub.lab_port) as pair, contextlib.ExitStack() as stack:
        for _ in range(1000):
            client = stack.enter_context(Raw(hub.port, source="127.0.0.2", is_silent=True))
            with contextlib.suppress(ConnectionError):
                client.socket.sendall(hello)
        hub.wait_for_refusal("too many handshakes", address="127.0.0.2")
        other = stack.enter_context(Raw(hub.port, source="127.0.0.3", is_silent=True))
        other.socket.sendall(hello)
        assert other.socket.recv(1) == b"\x16", "another address still gets its ServerHello"
    told(memory, pair, 1000 * 65_536 + SLACK)
    wait_for_figure(hub, "refusals/reason/too many handshakes", 500)


@pytest.mark.requirement("Q14")
@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_idle_connections(hub: RunningHub, count: int) -> None:
    with contextlib.ExitStack() as stack, Memory(hub) as memory, Pair(hub.lab_port) as pair:
        many(hub, count, stack)
        assert wait_for_figure(hub, "clients/connected", count) >= count
    print(f"{memory.growth / count:.0f} bytes for each idle connection")
    told(memory, pair, count * 16_384 + SLACK)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.long)])
def test_idle_connections_under_tls(tmp_path: Path, count: int) -> None:
    settings = SETTINGS.replace("per_address = 50.0", "per_address = 0")
    with RunningHub(tmp_path / "hub", lab=True, settings=settings) as hub, contextlib.ExitStack() as stack:
        folder = hub.add_device("sensor", "jwt-es256")
        with Memory(hub) as memory, Pair(hub.lab_port) as pair:
            for number in range(count):
                stack.enter_context(RawPeer(folder, hub.port, suffix=str(number)))
            wait_for_figure(hub, "clients/connected", count)
        print(f"{memory.growth / count:.0f} bytes for each idle connection")
        told(memory, pair, count * 65_536 + SLACK)
