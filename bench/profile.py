"""Where a message's microseconds go: lockgate under perf, folded by room; and system calls, beside mosquitto's.

`python -m bench.profile` measures what is installed (LOCKGATE_BENCH, as `make bench` does), and writes
results/profile.json, results/profile.svg and the tables of docs/explain/speed.md; with --redraw it writes them from
the figures that are there. perf (Debian: linux-perf) samples the CPU's clock; strace counts for fixed batches.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

import click
import msgspec

from bench.brokers import Broker, BrokerFailed, Door, Lockgate, Mosquitto, provision
from bench.generator import build_load, generator
from bench.machine import BROKER_CORE, LOAD_CORE, PINNED, TOP, describe_machine
from bench.measures import Flow, wait_until_quiet
from bench.report import OURS, PEER, Machine, replace_table
from lockgate.cli.output import HOT_ROOMS
from tests.counted.system_calls import Calls, trace
from tests.counted.traffic import WORKS, Traffic, Work
from tests.counted.traffic import Door as CountedDoor

RESULTS = TOP / "bench" / "results"
PAGE = TOP / "docs" / "explain" / "speed.md"
SAMPLES_PER_SECOND = 2500
WARM_UP_BATCHES, REPEATS = 20, 3

KERNEL = "kernel: sockets, waiting"
TLS = "TLS (OpenSSL)"
LOOP = "event loop (libuv, uvloop)"
NET = "net: links"
DOOR = "MQTT: bytes, packets, connection"
HUB = "hub, policy, model: grant, route, session"
OBJECTS = "Python's objects: making, asking, freeing"
INTERPRETER = "interpreted Python"
MEMORY = "C library: memory"
GROUPS = (KERNEL, TLS, LOOP, NET, DOOR, HUB, OBJECTS, INTERPRETER, MEMORY)

FLOWS = (
    Flow("1 to 1, QoS 0, 64 B"),
    Flow("1 to 1, QoS 1, 20 in flight", qos=1),
    Flow("fan-out to 100", subscribers=100, window=200, warm_up=200),
    Flow("TLS 1.3, 1 to 1, 64 B", tls=True),
)


class Profile(msgspec.Struct, frozen=True):
    """One workload: CPU for one delivered message, and where it went."""

    name: str
    microseconds: float
    groups: dict[str, float]
    """Microseconds of each group."""
    symbols: dict[str, float]
    """Microseconds of the dearest functions."""


class Counted(msgspec.Struct, frozen=True):
    """One workload's system calls for one delivered message."""

    name: str
    deliveries: int
    """Of one batch."""
    calls: dict[str, Calls]
    """By broker."""


class Results(msgspec.Struct, frozen=True):
    """All that was measured."""

    machine: Machine
    profiles: list[Profile]
    counted: list[Counted]


def _room_names() -> dict[str, str]:
    """Give the group of each hot room by the names that mypyc may give it: session, hub___session ..."""
    names: dict[str, str] = {}
    for room in HOT_ROOMS:
        parts = room.removeprefix("lockgate.").split(".")
        group = {"net": NET, "adapters": DOOR}.get(parts[0], HUB)
        for start in range(len(parts)):
            names["___".join(parts[start:])] = group
    return names


ROOMS = _room_names()
_COMPILED = re.compile(r"(?:CPyDef_|CPyPy_|CPyModule_)(.+)")
_NATIVE = re.compile(r"(?:native_)?([a-z_]\w*?___[A-Z]\w*)")


def group_of(symbol: str, library: str) -> str:
    """Say which group a function of a library belongs to."""
    file = library.rpartition("/")[2]
    if library.startswith("[") or file.endswith(".ko"):
        return KERNEL
    if "__mypyc" in file:
        found = _COMPILED.match(symbol) or _NATIVE.match(symbol)
        parts = found[1].split("___") if found is not None else []
        for end in range(len(parts), 0, -1):
            group = ROOMS.get("___".join(parts[:end]))
            if group is not None:
                return group
        return OBJECTS
    if file.startswith("loop.") or "uvloop" in library:
        return LOOP
    if file.startswith(("_rust.", "libssl", "libcrypto", "_ssl.")):
        return TLS
    if file.startswith(("libc.", "libc-", "libpthread", "ld-linux")):
        return MEMORY
    return INTERPRETER if symbol.startswith(("_PyEval_Eval", "_PyFunction_Vectorcall")) else OBJECTS


def fold(lines: Iterable[str], microseconds: float, name: str) -> Profile:
    """Give a profile from what `perf script -F ip,sym,dso` wrote, one line for each sample."""
    groups: Counter[str] = Counter()
    symbols: Counter[str] = Counter()
    for line in lines:
        named, _, library = line.strip().rpartition(" (")
        symbol = named.partition(" ")[2]
        if not library:
            continue
        group = group_of(symbol, library.removesuffix(")"))
        groups[group] += 1
        symbols["the kernel" if group == KERNEL else symbol] += 1
    total = groups.total()
    if not total:
        raise BrokerFailed(f"perf saw nothing of {name}")
    share = microseconds / total
    return Profile(
        name,
        round(microseconds, 4),
        {group: round(groups[group] * share, 4) for group in GROUPS},
        {symbol: round(count * share, 4) for symbol, count in symbols.most_common(40)},
    )


def profile(broker: Broker, flow: Flow, seconds: float, folder: Path) -> Profile:
    """Run a workload on a fresh broker under perf."""
    core = BROKER_CORE if PINNED else None
    samples = folder / "perf.data"
    with (
        broker.running(folder, tls=flow.tls, core=core) as door,
        generator((*door.load_arguments, *flow.load_arguments(seconds)), flow.name) as load,
    ):
        load.wait_until_warm()
        wait_until_quiet(door.pid)
        command = ("perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-p", str(door.pid))
        with subprocess.Popen((*command, "-o", str(samples)), stderr=subprocess.DEVNULL) as perf:
            result = load.go(door.pid)
            perf.send_signal(signal.SIGINT)
            perf.wait()
    written = subprocess.run(
        ("perf", "script", "-i", str(samples), "-F", "ip,sym,dso"), capture_output=True, text=True, check=True
    )
    used = result.broker_cpu_seconds / result.said["delivered"] * 1e6
    return fold(written.stdout.splitlines(), used, flow.name)


def count(broker: Broker, work: Work, device: Path, folder: Path) -> Calls:
    """Give a broker's system calls per batch: the least of some runs, since each does other things now and then."""
    with broker.running(folder, tls=work.is_tls, core=None) as door:
        reached = CountedDoor(_port(door), device if work.is_tls else None)
        with Traffic(reached, work) as traffic:
            traffic.run(WARM_UP_BATCHES)
            runs = [msgspec.structs.astuple(trace(door.pid, traffic.run, folder)) for _ in range(REPEATS)]
    return Calls(*map(min, zip(*runs, strict=True)))


def _port(door: Door) -> int:
    words = door.load_arguments
    return int(words[words.index("--port") + 1])


def measure(seconds: float) -> Results:
    """Measure everything."""
    with tempfile.TemporaryDirectory(prefix="lockgate-profile-") as name:
        folder = Path(name)
        provisioned = provision(folder / "provisioned")
        ours, peer = Lockgate(provisioned), Mosquitto(provisioned)
        profiles = []
        for flow in FLOWS:
            click.echo(f"profiling {flow.name}", err=True)
            profiles.append(profile(ours, flow, seconds, _fresh(folder)))
        counted = []
        for work in WORKS:
            click.echo(f"counting {work.name}", err=True)
            calls = {each.name: count(each, work, provisioned.device, _fresh(folder)) for each in (ours, peer)}
            counted.append(Counted(work.name, work.deliveries, calls))
        machine = describe_machine({broker.name: broker.version() for broker in (ours, peer)})
    return Results(machine, profiles, counted)


def _fresh(folder: Path) -> Path:
    place = folder / "run"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def tables(results: Results) -> str:
    """Give both tables of the page."""
    names = [each.name for each in results.profiles]
    lines = [f"| µs for one delivered message | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for group in GROUPS:
        lines.append(f"| {group} | {' | '.join(f'{each.groups[group]:.3f}' for each in results.profiles)} |")
    totals = " | ".join(f"**{each.microseconds:.3f}**" for each in results.profiles)
    lines += [f"| **together** | {totals} |", "", "System calls for one delivered message:", ""]
    lines += ["| fixed batches | lockgate | mosquitto | mosquitto's by ours |", "| --- | ---: | ---: | ---: |"]
    for each in results.counted:
        ours, peer = (each.calls[name].by(each.deliveries).total for name in (OURS, PEER))
        lines.append(f"| {each.name} | {ours:.3f} | {peer:.3f} | {peer / ours:.0f} |")
    machine = results.machine
    versions = ", ".join(machine.versions.values())
    lines += ["", f"{machine.date}, {machine.cpu}, Linux {machine.kernel}, Python {machine.python}, {versions}."]
    return "\n".join(lines) + "\n"


WIDTH, LABELS, BAR_HEIGHT, TOP_MARGIN = 860, 210, 26, 40
COLOURS = ("#57606a", "#8250df", "#bf3989", "#0a7ea4", "#0969da", "#1a7f37", "#bf8700", "#cf222e", "#9a6700")


def plot(results: Results) -> str:
    """Give a bar for each workload, each as long as the page is wide, with its groups in their shares."""
    parts = []
    y = TOP_MARGIN
    for each in results.profiles:
        parts.append(f'<text x="{LABELS - 10}" y="{y + 17}" text-anchor="end">{escape(each.name)}</text>')
        x = float(LABELS)
        for group, colour in zip(GROUPS, COLOURS, strict=True):
            width = (WIDTH - LABELS - 90) * each.groups[group] / (sum(each.groups.values()) or 1)
            title = f"{group}: {each.groups[group]:.3f} µs"
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" fill="{colour}">'
                f"<title>{escape(title)}</title></rect>"
            )
            x += width
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 17}">{each.microseconds:.2f} µs</text>')
        y += BAR_HEIGHT + 12
    for number, (group, colour) in enumerate(zip(GROUPS, COLOURS, strict=True)):
        x, row = 20 + (number % 3) * 280, y + 12 + number // 3 * 22
        parts.append(f'<rect x="{x}" y="{row}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="{row + 11}">{escape(group)}</text>')
    height = y + 12 + 3 * 22 + 8
    title = "Where the CPU of one delivered message goes"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        "<style>text { font: 12px system-ui, sans-serif; fill: #1f2328; } "
        "@media (prefers-color-scheme: dark) { text { fill: #f0f6fc; } }</style>\n"
        f'<title>{title}</title><text x="20" y="22">{title}</text>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def publish(results: Results) -> None:
    """Write the drawing and the page's tables."""
    (RESULTS / "profile.svg").write_text(plot(results), encoding="utf-8")
    if not replace_table(PAGE, tables(results)):
        click.echo(f"{PAGE} has no place for the tables", err=True)


@click.command()
@click.option("--redraw", is_flag=True, help="Measure nothing; draw from bench/results/profile.json.")
@click.option("--seconds", type=click.FloatRange(0.5), default=4.0, help="How long each workload runs under perf.")
def main(redraw: bool, seconds: float) -> None:
    """Measure where a message's CPU goes, and write it into docs/explain/speed.md."""
    path = RESULTS / "profile.json"
    if not redraw:
        os.environ.pop("PYTHONPATH", None)  # what is measured is what is installed
        if not shutil.which("perf"):
            raise click.ClickException("perf is missing; Debian has it in linux-perf")
        if PINNED:
            os.sched_setaffinity(0, {LOAD_CORE})
        try:
            build_load()
            measured = measure(seconds)
        except (BrokerFailed, OSError) as error:
            raise click.ClickException(str(error)) from error
        path.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")
    results = msgspec.json.decode(path.read_bytes(), type=Results)
    publish(results)
    click.echo(tables(results))


if __name__ == "__main__":
    main()
