"""What is measured, and what must be reached: every row of the table, and the measures behind them."""

from __future__ import annotations

from bench.connections import Handshakes, Idle
from bench.measures import COMPARED, EVERY, Flow, Measure
from bench.report import OURS, PEER, Goal, Reference, Row
from bench.storms import Startup, Storm

OURS_AND_PEER = (OURS, PEER)  # nats-server 2.9 has no QoS 2; its sessions wait for its disk as well
ONE_RULE = "lockgate, one rule"  # ours, with the same devices and one rule that allows everybody everything
NEW_HOME = "lockgate, new home"
FSYNC = {"store": {"durability": "fsync"}}

DURABLE = "QoS 1 to a persistent session, fsync, 100 x 20 in flight"
DURABLE_ONE = "QoS 1 to a persistent session, fsync, 1 in flight"
SATURATED = "1000 devices to 1, saturated or at 400 k msg/s"
FULL, RESUMED, TOKEN = "full handshake and CONNECT", "resumed handshake and CONNECT", "JWT ES256 CONNECT over TLS"
CONNECT = "connect to CONNACK, mutual TLS"
IDLE, IDLE_TLS = "memory per idle connection, plain", "memory per idle connection, TLS"
POLICY = "policy: devices with their own rules"
SUBSCRIBE_STORM, RECONNECT_STORM = "subscribe storm", "reconnect storm"
STARTUP = "lockgate up to the first CONNACK"

FLOWS = (
    Flow("1 to 1, QoS 0, 64 B", COMPARED),
    Flow("1 to 1, QoS 0, 1 KiB", payload=1024),
    Flow("fan-out to 100", subscribers=100, window=200, warm_up=200),
    Flow("fan-out to 1000", subscribers=1000, window=200, warm_up=50),
    Flow("fan-in from 100", publishers=100),
    Flow("QoS 1, 20 in flight", COMPARED, EVERY, qos=1),
    Flow("QoS 1, 100 in flight", qos=1, in_flight=100),
    # By fives: beside mosquitto, which writes each PUBACK by itself, the generator was busy with being woken.
    Flow(DURABLE, OURS_AND_PEER, publishers=100, qos=1, refill=5, persistent=True, settings=FSYNC, is_beside_disk=True),
    Flow(DURABLE_ONE, (OURS,), qos=1, in_flight=1, warm_up=100, persistent=True, settings=FSYNC, is_beside_disk=True),
    Flow("QoS 2, 20 in flight", OURS_AND_PEER, qos=2),
    Flow("1000 devices to 1, 20 k msg/s", publishers=1000, window=20_000, rate=20_000),
    # More than that is more than the generator has to give with room to spare; mosquitto and NATS end below it.
    Flow(SATURATED, publishers=1000, window=20_000, at_most=400_000),
    Flow("TLS 1.3, 1 to 1, 64 B", tls=True),
    Flow("TLS 1.3, 1 to 1, 1 KiB", tls=True, payload=1024),
    Flow("latency at 200 msg/s", rate=200, warm_up=100, seconds_at_least=1.0),
    Flow("latency at 1000 msg/s", rate=1000, warm_up=100, seconds_at_least=1.0),
    Flow(
        POLICY,
        (OURS, ONE_RULE),
        subscribers=500,
        publishers=500,
        window=20,
        warm_up=10_000,
        tls=True,
        more=("--topic", "bench/pair/%i", "--filter", "bench/pair/%i"),
    ),
)

MEASURES: tuple[Measure, ...] = (
    *FLOWS,
    Handshakes(FULL, rate=800),
    Handshakes(RESUMED, resumed=True),
    Handshakes(TOKEN, (OURS,), by_token=True, rate=500),
    Handshakes(CONNECT, at_once=1, count=500, quick_count=100),
    Idle(IDLE, tls=False),
    Idle(IDLE_TLS, tls=True, count=2000),
    Storm(SUBSCRIBE_STORM, "storm-subscribe", OURS_AND_PEER, tls=False, rate=10_000, count=10_000, quick_count=1000),
    Storm(RECONNECT_STORM, "storm-reconnect", OURS_AND_PEER, tls=True, rate=1000, count=5000, quick_count=500),
    Startup(STARTUP, (OURS, NEW_HOME)),
)


def _cpu(name: str, share: float, written: str = "", *, beside_others: bool = True) -> Row:
    return Row(name, name, "cpu", "µs", Goal(share, written=written), beside_others=beside_others)


ROWS: tuple[Row, ...] = (
    _cpu("1 to 1, QoS 0, 64 B", 1 / 10, "1/10"),
    _cpu("1 to 1, QoS 0, 1 KiB", 1 / 10, "1/10"),
    _cpu("fan-out to 100", 1 / 8, "1/8"),
    _cpu("fan-out to 1000", 1 / 3, "1/3"),
    _cpu("fan-in from 100", 1 / 3, "1/3"),
    _cpu("QoS 1, 20 in flight", 1 / 4, "1/4"),
    _cpu("QoS 1, 100 in flight", 1 / 12, "1/12"),
    Row(DURABLE, DURABLE, "per_second", "/s", Goal(1.0, at_least=True)),
    Row(
        DURABLE_ONE,
        DURABLE_ONE,
        "per_second",
        "/s",
        Goal(0.8, Reference(OURS, figure="disk_per_second"), at_least=True, beside="the disk's syncs"),
    ),
    _cpu("QoS 2, 20 in flight", 1 / 3, "1/3"),
    _cpu("1000 devices to 1, 20 k msg/s", 1.05),
    _cpu(SATURATED, 1 / 2, "1/2"),
    _cpu("TLS 1.3, 1 to 1, 64 B", 1 / 10, "1/10"),
    _cpu("TLS 1.3, 1 to 1, 1 KiB", 1 / 6, "1/6"),
    _cpu(FULL, 0.85),
    _cpu(RESUMED, 1.0),
    Row(TOKEN, TOKEN, "cpu", "µs", Goal(1.1, Reference(OURS, FULL), beside="a certificate"), is_must=False),
    Row(IDLE, IDLE, "bytes", "B", Goal(1.0), beside_others=True),
    Row(IDLE_TLS, IDLE_TLS, "bytes", "B", Goal(1.15), beside_others=True),
    *(
        Row(f"latency at {rate} msg/s, {word}", f"latency at {rate} msg/s", figure, "µs", Goal(1.1), is_must=False)
        for rate in (200, 1000)
        for word, figure in (("median", "p50"), ("99 %", "p99"))
    ),
    Row(CONNECT, CONNECT, "connack_ms", "ms", Goal(3.0, None), is_must=False),
    Row(POLICY, POLICY, "cpu", "µs", Goal(1.1, Reference(ONE_RULE), beside="one rule"), is_must=False),
    Row(
        f"{SUBSCRIBE_STORM}, 99 %",
        SUBSCRIBE_STORM,
        "p99_ms",
        "ms",
        Goal(2.0, Reference(OURS, figure="quiet_p99_ms"), beside="quiet"),
        is_must=False,
    ),
    Row(f"{RECONNECT_STORM}, 99 %", RECONNECT_STORM, "p99_ms", "ms", Goal(50.0, None), is_must=False),
    Row(
        f"{RECONNECT_STORM}, back per second",
        RECONNECT_STORM,
        "per_second",
        "/s",
        Goal(0.8, Reference(OURS, FULL, "allowed_per_second"), at_least=True, beside="what handshakes allow"),
        is_must=False,
    ),
    Row(STARTUP, STARTUP, "seconds", "s", Goal(0.7, None), is_must=False),
)
