"""The bench: CPU per delivered message and throughput, ours beside mosquitto's, in one run with fresh processes.

Run it with `python -m bench.run`, from the top of the source; bench/README.md says how the numbers are made.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.brokers import Broker, BrokerFailed, Lockgate, Mosquitto, cpu_seconds, machine_cpu_seconds, provision
from bench.report import Load, Machine, Report, Run, render, replace_table, summarise

TOP = Path(__file__).resolve().parent.parent
LOAD_SOURCE = TOP / "bench" / "load.c"
SCRATCH = TOP / "build" / "bench"
LOAD = SCRATCH / "load"
RESULTS = TOP / "bench" / "results"
BROKER_CORE, LOAD_CORE = 0, 1


class Workload(msgspec.Struct, frozen=True):
    """One row: how many hear one publisher, at which QoS, and over what."""

    subscribers: int
    qos: int
    tls: bool

    @property
    def name(self) -> str:
        return f"1 to {self.subscribers}, QoS {self.qos}, {'TLS 1.3' if self.tls else 'plain'}"

    def load_arguments(self) -> tuple[str, ...]:
        """Windows bound what is under way: 2000 messages to one subscriber, 200 to each of many; at QoS 1, 20."""
        many = self.subscribers > 1
        window, warm_up = (200, 200) if many else (2000, 10_000)
        options = {
            "subscribers": self.subscribers,
            "publishers": 1,
            "qos": self.qos,
            "payload": 64,
            "window": window,
            "in-flight": 20,
            "warm-up": warm_up,
        }
        return tuple(word for name, value in options.items() for word in (f"--{name}", str(value)))


WORKLOADS = tuple(Workload(s, q, tls) for tls in (False, True) for s in (1, 100) for q in (0, 1))


def build_load() -> None:
    """Compile the load generator, if it changed."""
    parts = (LOAD_SOURCE, *LOAD_SOURCE.with_suffix("").glob("*.h"))
    if LOAD.exists() and LOAD.stat().st_mtime >= max(part.stat().st_mtime for part in parts):
        return
    LOAD.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(LOAD), str(LOAD_SOURCE), "-lssl", "-lcrypto"]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise click.ClickException(f"the load generator needs gcc and libssl-dev: {error}") from error


def measure(broker: Broker, workload: Workload, seconds: float, folder: Path) -> Run:
    """Give one run of `workload` on a fresh `broker`; its CPU is read after the warm-up and after the last delivery."""
    pinned = (os.cpu_count() or 1) > 1
    with broker.running(folder, tls=workload.tls, core=BROKER_CORE if pinned else None) as door:
        command = [str(LOAD), *door.load_arguments, *workload.load_arguments(), "--seconds", str(seconds), "--steps"]
        if pinned:
            command = ["taskset", "-c", str(LOAD_CORE), *command]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            if process.stdout.readline() != "warm\n":
                raise BrokerFailed(f"{broker.name} failed in the warm-up of {workload.name}")
            before, all_before = cpu_seconds(door.pid), machine_cpu_seconds()
            process.stdin.write("go\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise BrokerFailed(f"{broker.name} failed in {workload.name}")
            used, all_used = cpu_seconds(door.pid) - before, machine_cpu_seconds() - all_before
            process.communicate("end\n")
    return Run(workload.name, broker.name, msgspec.json.decode(line, type=Load), used, all_used)


def describe_machine(versions: dict[str, str]) -> Machine:
    """Say where the numbers come from."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    revision = subprocess.run(
        ["git", "-C", str(TOP), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return Machine(
        cpu=models[0] if models else platform.machine(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        lockgate=versions.get("lockgate", "lockgate not run"),
        mosquitto=versions.get("mosquitto", "mosquitto not run"),
        revision=revision or "an unknown revision",
        date=datetime.now(UTC).date().isoformat(),
    )


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # It redraws between runs only: a redraw during one would take the load generator's core.
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as progress:
        progress.add_task("starting", total=total)
        yield progress


def run_all(brokers: Sequence[Broker], repeats: int, seconds: float, folder: Path, console: Console) -> list[Run]:
    """Give every run: the brokers take turns within each workload, and the workloads within each repeat."""
    runs: list[Run] = []
    steps = [(n, workload, broker) for n in range(repeats) for workload in WORKLOADS for broker in brokers]
    with _progress(console, len(steps)) as progress:
        for number, (n, workload, broker) in enumerate(steps):
            progress.update(progress.task_ids[0], description=f"{workload.name} · {broker.name}", refresh=True)
            place = folder / f"run-{number}"
            place.mkdir()
            run = measure(broker, workload, seconds, place)
            shutil.rmtree(place)
            runs.append(run)
            console.print(_line(n, run), highlight=False, soft_wrap=True)
            progress.advance(progress.task_ids[0])
    return runs


def _line(n: int, run: Run) -> str:
    figures = f"{run.cpu_microseconds:8.2f} µs {run.load.delivered_per_second:12,.0f}/s"
    generator = f"generator {run.load.cpu_share:4.0%}  others {run.others_share:4.0%}"
    problem = f"  ! {run.problem}" if run.problem else ""
    return f"{n + 1}  {run.workload:24} {run.broker:10} {figures}  {generator}{problem}"


def write(report: Report, folder: Path) -> None:
    """Keep the report, every run in it, and its table."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = json.dumps(msgspec.to_builtins(report), indent=2, ensure_ascii=False)
    (folder / "latest.json").write_text(encoded + "\n", encoding="utf-8")
    (folder / "latest.md").write_text(render(report), encoding="utf-8")


@click.command()
@click.option("--quick", is_flag=True, help="Two runs of one second each; nothing that we publish is changed.")
@click.option("--repeats", type=click.IntRange(1), help="How many runs of each; 5 unless told.")
@click.option("--seconds", type=click.FloatRange(0.1), help="How long each publishes; 2 unless told.")
@click.option(
    "--only",
    type=click.Choice(["lockgate", "mosquitto"]),
    help="Run one broker alone; as unpublished as --quick.",
)
def main(quick: bool, repeats: int | None, seconds: float | None, only: str | None) -> None:
    """Measure lockgate beside mosquitto and write the table."""
    repeats, seconds = repeats or (2 if quick else 5), seconds or (1.0 if quick else 2.0)
    console = Console(stderr=True)
    build_load()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as name:
        folder = Path(name)
        try:
            provisioned = provision(folder)
            every: list[Broker] = [Lockgate(provisioned), Mosquitto(provisioned)]
            brokers = [broker for broker in every if only in (None, broker.name)]
            versions = {broker.name: broker.version() for broker in brokers}
            runs = run_all(brokers, repeats, seconds, folder, console)
        except (BrokerFailed, OSError) as error:
            raise click.ClickException(str(error)) from error
    rows = [summarise(workload.name, runs) for workload in WORKLOADS]
    report = Report(describe_machine(versions), repeats, seconds, rows, runs)
    table = render(report)
    Console().print(Markdown(table)) if console.is_terminal else click.echo(table)
    if quick or only:
        write(report, SCRATCH)
        return
    write(report, RESULTS)
    if not replace_table(TOP / "README.md", table):
        click.echo("README.md has no place for the table (bench:start and bench:end)", err=True)


if __name__ == "__main__":
    main()
