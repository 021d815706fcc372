"""Whether DTLS handshakes hold up the devices that are in: 200 a second, while others ask as they always do.

Run it with `python -m bench.coap_storm`, from the top of the source; with --keep it writes bench/results/coap-storm.md.
The test tests/interop/test_dtls.py counts how many go on in one turn of the loop, and judges no time.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from bench.coap import PATH, OurCoap, Security
from bench.fleet import Fleet
from bench.generator import COAP_LOAD, build_load, generator
from bench.machine import TOP, describe_machine
from bench.measures import Context, wait_until_quiet
from bench.processes import BrokerFailed

RESULT = TOP / "bench" / "results" / "coap-storm.md"
HANDSHAKES_PER_SECOND, AT_ONCE = 200, 50
CALM, CALM_PER_SECOND = 20, 50
LEAD_SECONDS = 0.5
"""The storm begins so long before those who are calm are measured, and ends so long after."""
GOAL_MS = 50.0


class Outcome(msgspec.Struct, frozen=True):
    """What those who are in felt of one kind of storm; milliseconds from when a request was due to its answer."""

    storm: str
    handshakes_per_second: float
    hub_share: float
    """How much of one core the hub used."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    resent: int


def weather(name: str, place: Path, context: Context, security: Security | None, is_together: bool) -> Outcome:
    """Measure in one kind of weather: a storm by a kind of credential, or none."""
    folder = place / name.replace(" ", "-").replace(",", "")
    folder.mkdir()
    broker, storm = OurCoap(), None
    with broker.serving(folder, context, "psk") as (pid, where):
        calm = ("--do", "calm", "--clients", str(CALM), "--rate", str(CALM_PER_SECOND), *seconds(context.seconds))
        with generator((*where, "--path", PATH, *calm), name, COAP_LOAD) as load:
            load.wait_until_warm()
            wait_until_quiet(pid)
            if security is not None:
                storm = begin(broker, context, security, where, is_together)
                time.sleep(LEAD_SECONDS)
            result = load.go(pid)
        thrown = end(storm) if storm is not None else {}
    took = result.said["milliseconds"]
    rate = thrown["count"] / thrown["elapsed_seconds"] if thrown else 0.0
    share = result.broker_cpu_seconds / result.said["elapsed_seconds"]
    return Outcome(name, rate, share, took["p50"], took["p99"], took["max"], result.said["resent"])


def begin(
    broker: OurCoap, context: Context, security: Security, where: tuple[str, ...], is_together: bool
) -> subprocess.Popen[str]:
    """Let a storm begin."""
    shown = broker.shown(context, security)
    words = ("--do", "storm", "--clients", str(AT_ONCE), "--rate", str(HANDSHAKES_PER_SECOND))
    lasts = seconds(context.seconds + 2 * LEAD_SECONDS)
    together = ("--together",) if is_together else ()
    yields = ["nice", "-n", "15"]  # to the hub and to the generator that measures: on two cores it takes what is left
    command = [*yields, str(COAP_LOAD), *where[:2], *shown, "--path", PATH, *words, *lasts, *together]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(storm: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait until a storm is over; give what it says.

    Raises:
        BrokerFailed: a handshake came to nothing.
    """
    said, trouble = storm.communicate(timeout=60)
    if storm.returncode:
        raise BrokerFailed(f"the storm: {trouble.strip()[-300:]}")
    return msgspec.json.decode(said, type=dict[str, Any])


def seconds(number: float) -> tuple[str, str]:
    """Give how long something lasts, as an option."""
    return "--seconds", f"{number:g}"


def table(outcomes: list[Outcome]) -> str:
    """Give the outcomes as a table."""
    head = "| weather | handshakes per second | the hub's core | median | 99th percentile | longest | sent again |\n"
    rows = "".join(
        f"| {each.storm} | {each.handshakes_per_second:.0f} | {each.hub_share:.0%} | {each.p50_ms:.2f} ms "
        f"| {each.p99_ms:.2f} ms | {each.max_ms:.1f} ms | {each.resent} |\n"
        for each in outcomes
    )
    return f"{head}| --- | --- | --- | --- | --- | --- | --- |\n{rows}"


WEATHERS: tuple[tuple[str, Security | None, bool], ...] = (
    ("quiet", None, False),
    ("pre-shared keys, one after the other", "psk", False),
    (f"pre-shared keys, {AT_ONCE} at once", "psk", True),
    ("certificates, one after the other", "x509", False),
    (f"certificates, {AT_ONCE} at once", "x509", True),
)


@click.command()
@click.option("--seconds", "length", default=5.0, show_default=True, help="How long each weather lasts.")
@click.option("--keep", is_flag=True, help=f"Write {RESULT.relative_to(TOP)}.")
def main(length: float, keep: bool) -> None:
    """Measure how long the answers to devices take while 200 others a second shake hands."""
    build_load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = Context(Fleet(folder / "fleet", 0, 0, 0), length, False)
        outcomes = []
        for storm, security, is_together in WEATHERS:
            outcomes.append(outcome := weather(storm, folder, context, security, is_together))
            click.echo(outcome, err=True)
        facts = describe_machine({"lockgate": OurCoap().version()})
    text = (
        "# DTLS handshakes, and those who are in\n\n"
        f"{CALM} DTLS sessions ask for a retained message in turn, {CALM_PER_SECOND} times a second, while "
        f"{HANDSHAKES_PER_SECOND} devices a second shake hands, ask once and leave. A request's time counts from when "
        f"it was due. The goal: a 99th percentile below {GOAL_MS:g} ms. The hub has one core, the generator that "
        "measures the other, and the storm what is left of both. `python -m bench.coap_storm --keep` writes this page."
        f"\n\n{table(outcomes)}\n"
        f"{facts.date}; {facts.cpu}, {facts.cores} cores; Python {facts.python}; {facts.revision}. "
        f"Load of the machine (/proc/loadavg), with this bench: {os.getloadavg()[1]:.1f}; niceness {os.nice(0)}.\n"
    )
    click.echo(text)
    if keep:
        RESULT.write_text(text, encoding="utf-8")
    worst = max(outcomes, key=lambda outcome: outcome.p99_ms)
    if worst.p99_ms >= GOAL_MS:
        raise click.ClickException(f"{worst.storm}: {worst.p99_ms:.1f} ms")


if __name__ == "__main__":
    main()
