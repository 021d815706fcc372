"""What is measured, and what must be reached: every row of the table, and the measures behind them."""

from __future__ import annotations

from bench.measures import COMPARED, Flow, Measure
from bench.report import OURS, PEER, Goal, Row

WITHOUT_QOS_2 = (OURS, PEER)  # nats-server 2.9 has no QoS 2
OURS_AND_PEER = (OURS, PEER)

FLOWS = (
    Flow("1 to 1, QoS 0, 64 B", COMPARED),
    Flow("1 to 1, QoS 0, 1 KiB", payload=1024),
    Flow("fan-out to 100", subscribers=100, window=200, warm_up=200),
    Flow("fan-out to 1000", subscribers=1000, window=200, warm_up=200),
    Flow("fan-in from 100", publishers=100),
    Flow("QoS 1, 20 in flight", COMPARED, qos=1),
    Flow("QoS 1, 100 in flight", qos=1, in_flight=100),
    Flow("1000 devices to 1, 20 k msg/s", publishers=1000, window=20_000, rate=20_000),
    Flow("1000 devices to 1, saturated", publishers=1000, window=20_000),
    Flow("TLS 1.3, 1 to 1, 64 B", tls=True),
    Flow("TLS 1.3, 1 to 1, 1 KiB", tls=True, payload=1024),
    Flow("latency at 200 msg/s", rate=200, warm_up=100, seconds_at_least=1.0),
    Flow("latency at 1000 msg/s", rate=1000, warm_up=100, seconds_at_least=1.0),
)


def _cpu(name: str, share: float, written: str) -> Row:
    return Row(name, name, "cpu", "µs", Goal(share, written=written), beside_others=True)


ROWS: tuple[Row, ...] = (
    _cpu("1 to 1, QoS 0, 64 B", 1 / 10, "1/10"),
    _cpu("1 to 1, QoS 0, 1 KiB", 1 / 10, "1/10"),
    _cpu("fan-out to 100", 1 / 8, "1/8"),
    _cpu("fan-out to 1000", 1 / 3, "1/3"),
    _cpu("fan-in from 100", 1 / 3, "1/3"),
    _cpu("QoS 1, 20 in flight", 1 / 4, "1/4"),
    _cpu("QoS 1, 100 in flight", 1 / 12, "1/12"),
    _cpu("1000 devices to 1, 20 k msg/s", 1.05, "1.05"),
    _cpu("1000 devices to 1, saturated", 1 / 2, "1/2"),
    _cpu("TLS 1.3, 1 to 1, 64 B", 1 / 10, "1/10"),
    _cpu("TLS 1.3, 1 to 1, 1 KiB", 1 / 6, "1/6"),
    *(
        Row(f"latency at {rate} msg/s, {word}", f"latency at {rate} msg/s", figure, "µs", Goal(1.1), is_must=False)
        for rate in (200, 1000)
        for word, figure in (("median", "p50"), ("99 %", "p99"))
    ),
)

MEASURES: tuple[Measure, ...] = FLOWS
