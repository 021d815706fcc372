"""The bench: what a broker spends on a message, a handshake, a connection, ours beside the others, in one run.

Run it with `python -m bench.run`, from the top of the source; bench/README.md says how the numbers are made.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.brokers import Broker, BrokerFailed, Lockgate, Mosquitto, Provisioned, lockgate_command
from bench.canary import CanaryWrong
from bench.coap import COAP_MEASURES, COAP_ROWS, AioCoap, CoapMeasure, Libcoap, OurCoap
from bench.fleet import Fleet, make_fleet
from bench.generator import SCRATCH, build_load
from bench.machine import LOAD_CORE, PINNED, TOP, describe_machine
from bench.measures import Context, Measure, brokers_of
from bench.peers.aedes import Aedes
from bench.peers.amqtt import Amqtt
from bench.peers.nats import Nats
from bench.peers.rabbitmq import RabbitMq
from bench.plots import cost_plot, ratio_plot
from bench.render import number, render_figures, render_goals
from bench.report import Elsewhere, Report, Sample, replace_table, summarise_all
from bench.rows import MEASURES, NEW_HOME, ONE_RULE, ROWS

RESULTS = TOP / "bench" / "results"
README, FIGURES = TOP / "README.md", TOP / "docs" / "explain" / "figures.md"
CANARY_WRONG = "the policy did not decide"
ELSEWHERE = TOP / "bench" / "elsewhere.json"


def every_broker(fleet: Fleet) -> list[Broker]:
    """Give all brokers that are here, ours first."""
    shared = Provisioned.of(fleet)
    variants = [
        Lockgate(Provisioned.of(fleet, fleet.all_allowing), ONE_RULE),
        Lockgate(Provisioned.of(fleet, fleet.new), NEW_HOME),
    ]
    return [Lockgate(shared), *variants, *(kind(shared) for kind in (Mosquitto, Nats, RabbitMq, Aedes, Amqtt))]


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # It redraws between runs only: a redraw during one would take the load generator's core.
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as progress:
        progress.add_task("starting", total=total)
        yield progress


class Turn(NamedTuple):
    """One measure on one broker."""

    measure: str
    broker: str
    run: Callable[[Path, Context], Sample]


def turns_of(
    fleet: Fleet, measures: Sequence[Measure], coap_measures: Sequence[CoapMeasure], chosen: Sequence[str], quick: bool
) -> tuple[list[Turn], dict[str, str]]:
    """Give what is measured on what, the brokers taking turns within each measure; and the brokers' versions."""
    turns, versions = [], {}
    for broker in every_broker(fleet):
        wanted = [each for each in measures if broker.name in brokers_of(each, quick)]
        if wanted and (not chosen or broker.name in chosen):
            versions[broker.name] = broker.version()
            turns += [Turn(each.name, broker.name, partial(each.run, broker)) for each in wanted]
    for server in (OurCoap(), Libcoap(), AioCoap()):
        asked = [each for each in coap_measures if server.name in each.brokers]
        if asked and (not chosen or server.name in chosen):
            versions[server.name] = server.version()
            turns += [Turn(each.name, server.name, partial(each.run, server)) for each in asked]
    order = [*(each.name for each in measures), *(each.name for each in coap_measures)]
    return sorted(turns, key=lambda turn: order.index(turn.measure)), versions


def run_all(turns: Sequence[Turn], repeats: int, context: Context, console: Console) -> list[Sample]:
    """Give every sample: all turns, and all again."""
    samples: list[Sample] = []
    with _progress(console, len(turns) * repeats) as progress:
        for n in range(repeats):
            for turn in turns:
                progress.update(progress.task_ids[0], description=f"{turn.measure} · {turn.broker}", refresh=True)
                began = time.monotonic()
                sample = run_one(turn, context)
                samples.append(sample)
                console.print(_line(n, sample, time.monotonic() - began), highlight=False, soft_wrap=True)
                progress.advance(progress.task_ids[0])
    return samples


def run_one(turn: Turn, context: Context) -> Sample:
    """Give the sample of one fresh broker; what went wrong is in it, and refuses the ratio."""
    # On the disk that the source is on, which is one: what is durable is measured as well.
    with tempfile.TemporaryDirectory(prefix="run-", dir=SCRATCH) as place:
        try:
            return turn.run(Path(place), context)
        except CanaryWrong as error:
            return Sample(turn.measure, turn.broker, {}, f"{CANARY_WRONG}: {error}")
        except (BrokerFailed, OSError) as error:
            why = str(error).splitlines()[0]
            return Sample(turn.measure, turn.broker, {}, f"{turn.broker}: {why}", said={"error": str(error)})


def _line(n: int, sample: Sample, seconds: float) -> str:
    figures = "  ".join(f"{name} {number(value)}" for name, value in sample.figures.items())
    shares = f"generator {sample.generator_share:.0%}, others {sample.others_share:.0%}"
    problem = f"  ! {sample.said.get('error', sample.problem)}" if sample.problem else ""
    return f"{n + 1}  {seconds:4.1f} s  {sample.measure:34} {sample.broker:10} {figures}  ({shares}){problem}"


def write(report: Report, folder: Path) -> None:
    """Keep the report with every sample, and its tables."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = json.dumps(msgspec.to_builtins(report), indent=1, ensure_ascii=False)
    (folder / "latest.json").write_text(encoded + "\n", encoding="utf-8")
    (folder / "latest.md").write_text("# What was measured\n\n" + render_figures(report), encoding="utf-8")
    (folder / "cost.svg").write_text(cost_plot(report), encoding="utf-8")
    (folder / "ratios.svg").write_text(ratio_plot(report), encoding="utf-8")


@click.command()
@click.option("--quick", is_flag=True, help="Short runs, one of each; nothing that we publish is changed.")
@click.option("--repeats", type=click.IntRange(1), help="How many runs of each; 5 unless told.")
@click.option("--seconds", type=click.FloatRange(0.1), help="How long each publishes; 2 unless told.")
@click.option("--broker", "chosen", multiple=True, help="Run this broker alone (several times: these); not published.")
@click.option("--only", multiple=True, help="Run the measures whose names hold this alone; not published.")
@click.option("--to", type=click.Path(path_type=Path), help="Write the results to this folder instead.")
def main(
    quick: bool,
    repeats: int | None,
    seconds: float | None,
    chosen: tuple[str, ...],
    only: tuple[str, ...],
    to: Path | None,
) -> None:
    """Measure lockgate beside the other brokers, and write the tables."""
    repeats, seconds = repeats or (1 if quick else 5), seconds or (0.5 if quick else 2.0)
    console = Console(stderr=True)
    os.environ.pop("PYTHONPATH", None)  # what is measured is what is installed
    if PINNED:
        os.sched_setaffinity(0, {LOAD_CORE})
    try:
        build_load()
        console.print("making the home and its devices", highlight=False)
        fleet = make_fleet(lockgate_command(), SCRATCH / ("fleet-quick" if quick else "fleet"), quick=quick)
        measures = [each for each in MEASURES if _is_wanted(each.name, only)]
        coap_measures = [each for each in COAP_MEASURES if _is_wanted(each.name, only)]
        turns, versions = turns_of(fleet, measures, coap_measures, chosen, quick)
    except (BrokerFailed, OSError) as error:
        raise click.ClickException(str(error)) from error
    began = time.monotonic()
    samples = run_all(turns, repeats, Context(fleet, seconds, quick), console)
    names = {turn.measure for turn in turns}
    elsewhere = msgspec.json.decode(ELSEWHERE.read_bytes(), type=Elsewhere)
    lines = summarise_all([row for row in (*ROWS, *COAP_ROWS) if row.measure in names], samples, elsewhere)
    report = Report(describe_machine(versions), repeats, seconds, fleet.rules, lines, samples)
    show(report)
    wrong = [f"{each.measure}: {each.problem}" for each in samples if (each.problem or "").startswith(CANARY_WRONG)]
    console.print(f"measured in {(time.monotonic() - began) / 60:.1f} minutes", highlight=False)
    publish(report, to or (SCRATCH if wrong or quick or chosen or only else RESULTS))
    if wrong:
        raise click.ClickException("\n".join(wrong))


def _is_wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(part in name for part in only)


def show(report: Report) -> None:
    """Print the table of goals."""
    table = render_goals(report)
    console = Console()
    console.print(Markdown(table)) if console.is_terminal else click.echo(table)


def publish(report: Report, folder: Path) -> None:
    """Write the results; and the README's table, when they are the published ones."""
    write(report, folder)
    if folder != RESULTS:
        return
    for path, text in ((README, render_goals(report)), (FIGURES, render_figures(report))):
        where = os.path.relpath(RESULTS, path.parent)
        plots = f"![Ratios to mosquitto]({where}/ratios.svg)\n\n![CPU for one message]({where}/cost.svg)\n\n"
        if not replace_table(path, plots + text):
            click.echo(f"{path.name} has no place for the table (bench:start and bench:end)", err=True)


if __name__ == "__main__":
    main()
