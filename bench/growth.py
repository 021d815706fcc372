"""How cost grows: with connections, through the door of a hub as installed; with subscriptions and levels, inside it.

Run it with `python -m bench.growth` from the top of the source; LOCKGATE_BENCH names the hub. `--quick`: in under 20 s,
with nothing written. `--only SERIES`: one of "3 levels", "5 levels", "10 levels" and "connections", beside the others
as they were measured before.

- connections: so many stand idle while one publisher sends to one subscriber; the hub's CPU for each message, the CPU
  that the idle ones cost by themselves, and the memory of each.
- subscriptions: so many that do not take the topic in, on topics of 3, 5 and 10 levels; what a subscription costs in
  time and memory, and what it costs to find who hears a topic for the first time. It runs in a process of the hub's own
  interpreter, compiled where the hub is: a million through the door would measure the door. The least of three runs:
  what else the machine does only adds.

`results/growth.json` is `{"machine": Machine, "points": [Point, ...]}`, each Point `{"series": text, "x": number,
"figures": {name: number}}`. Series: "connections" (figures `message_us`, `idle_share` of a core, `bytes`), and
"3 levels", "5 levels", "10 levels" over subscriptions (figures `match_us`, `subscribe_us`, `bytes`). `growth.svg` is
the plot, and docs/explain/figures.md shows both.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
RESULTS, PLOT = BENCH / "results" / "growth.json", BENCH / "results" / "growth.svg"
FIGURES = BENCH.parent / "docs" / "explain" / "figures.md"
MARKS = "<!-- growth:start -->", "<!-- growth:end -->"
CONNECTIONS, QUICK_CONNECTIONS = (10, 100, 1000, 10_000), (10, 1000)
SUBSCRIPTIONS, QUICK_SUBSCRIPTIONS = (10, 100, 1000, 10_000, 100_000, 1_000_000), (10, 1000, 10_000)
LEVELS = (3, 5, 10)
PER_SESSION = 100
MATCHES = 2000
ROUNDS = 3
IDLE_SECONDS, QUICK_IDLE_SECONDS = 4.0, 1.0


def inside(subscriptions: int, levels: int) -> dict[str, float]:
    """Measure a hub's topic space in this process: nothing here needs more than lockgate and Python."""
    from lockgate.hub.session import Session
    from lockgate.hub.trie import Trie
    from lockgate.model.principal import Principal
    from lockgate.model.session import Subscription
    from lockgate.model.topic import TopicFilter

    middle = "/".join(f"part{level}" for level in range(levels - 2))
    trie = Trie()
    store: Any = object()  # these sessions end with their connection
    listener = Session(Principal("hall", "hall", "x509", 1), 0.0, store, 10, 1000, 10)
    for text in ("#", f"plant/{middle}/+", "plant/#"):
        trie.insert(listener, Subscription(TopicFilter(text)))
    sessions = [
        Session(Principal(f"d{n}", f"d{n}", "x509", 1), 0.0, store, 10, 1000, 10)
        for n in range(max(1, subscriptions // PER_SESSION))
    ]
    texts = [TopicFilter(f"plant/{middle}/d{number}") for number in range(subscriptions)]
    gc.collect()
    before, began = _memory_bytes(), time.process_time()
    for number, text in enumerate(texts):
        trie.insert(sessions[number % len(sessions)], Subscription(text))
    seconds = time.process_time() - began
    grown = _memory_bytes() - before
    topics = [f"plant/{middle}/unheard{number}" for number in range(MATCHES)]
    best = min(_seconds_for(trie, topics) for _ in range(5))
    assert len(trie.match(topics[0])[listener]) == 3
    return {
        "match_us": best / MATCHES * 1e6,
        "subscribe_us": seconds / subscriptions * 1e6,
        "bytes": max(0, grown) / subscriptions,
    }


def _seconds_for(trie: Any, topics: list[str]) -> float:
    match = trie.match
    began = time.process_time()
    for topic in topics:
        match(topic)
    return time.process_time() - began


def _memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def through_the_door(counts: tuple[int, ...], idle_seconds: float) -> Iterator[tuple[int, dict[str, float]]]:
    """Measure a hub with so many idle connections, a fresh one for each count."""
    from bench.brokers import Lockgate, provision
    from bench.generator import build_load, generator
    from bench.machine import BROKER_CORE, PINNED, cpu_seconds, memory_bytes
    from bench.measures import wait_until_quiet

    build_load()
    flow = ("--subscribers", "1", "--publishers", "1", "--payload", "64", "--warm-up", "10000", "--topic", "bench/load")
    with tempfile.TemporaryDirectory(prefix="lockgate-growth-") as name:
        provisioned = provision(Path(name))
        for count in counts:
            place = Path(name) / str(count)
            place.mkdir()
            with Lockgate(provisioned).running(place, tls=False, core=BROKER_CORE if PINNED else None) as door:
                reach = door.load_arguments
                apart = tuple("bench/idle%i" if word == "bench/%i" else word for word in reach)
                with generator((*apart, "--do", "idle", "--count", str(count)), "the idle") as idle:
                    idle.wait_until_warm()
                    wait_until_quiet(door.pid)
                    empty = memory_bytes(door.pid)
                    idle.connect_idle()
                    wait_until_quiet(door.pid)
                    grown, used = memory_bytes(door.pid) - empty, cpu_seconds(door.pid)
                    time.sleep(idle_seconds)
                    share = (cpu_seconds(door.pid) - used) / idle_seconds
                    with generator((*reach, *flow, "--seconds", "1.5"), "the flow") as load:
                        load.wait_until_warm()
                        result = load.go(door.pid)
                    idle.finish()
            message = result.broker_cpu_seconds / result.said["delivered"]
            yield count, {"message_us": message * 1e6, "idle_share": share, "bytes": max(0, grown) / count}


def main() -> None:
    """Measure, print a table, and write the results."""
    import msgspec

    from bench.brokers import lockgate_command
    from bench.curves import Growth, Point, growth_plot, merged_points, render_growth
    from bench.machine import describe_machine
    from bench.processes import output_of
    from bench.report import replace_table

    quick = "--quick" in sys.argv
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    points = []
    for series, x, figures in measured(only, quick):
        points.append(Point(series, x, figures))
        said = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
        print(f"{series:>12} {x:>9,}  {said}", flush=True)
    if quick:
        return
    machine = describe_machine({"lockgate": output_of(lockgate_command(), "--version").strip()})
    before = msgspec.json.decode(RESULTS.read_bytes(), type=Growth).points if RESULTS.exists() else []
    growth = Growth(machine, merged_points(before, points))
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(growth), indent=1) + b"\n")
    PLOT.write_text(growth_plot(growth.points), encoding="utf-8")
    where = os.path.relpath(PLOT, FIGURES.parent)
    replace_table(FIGURES, f"![How cost grows]({where})\n\n{render_growth(growth)}", MARKS)


def measured(only: str, quick: bool) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Give the series, the size and the figures of each point as it is measured; of one series, or of all for ""."""
    from bench.brokers import lockgate_command
    from bench.processes import output_of

    python = Path(lockgate_command()).with_name("python")
    for levels in LEVELS:
        if only in ("", f"{levels} levels"):
            counts = QUICK_SUBSCRIPTIONS if quick else SUBSCRIPTIONS
            least: dict[int, dict[str, float]] = {}
            for count in counts * ROUNDS:  # they take turns, so that what disturbs the machine disturbs not one alone
                command = [str(python), "-P", __file__, "--inside", str(count), str(levels)]
                found, known = json.loads(output_of(*command)), least.get(count)
                least[count] = {name: min(value, known[name]) if known else value for name, value in found.items()}
            for count in counts:
                yield f"{levels} levels", count, least[count]
    if only in ("", "connections"):
        connections, seconds = (QUICK_CONNECTIONS, QUICK_IDLE_SECONDS) if quick else (CONNECTIONS, IDLE_SECONDS)
        for count, figures in through_the_door(connections, seconds):
            yield "connections", count, figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(inside(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
