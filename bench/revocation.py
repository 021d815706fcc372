"""The bench of revocation: from the command to silence, with live TLS sessions and traffic.

Run it with `python -m bench.revocation`, from the top of the source; it writes bench/results/revocation.md. The test
tests/interop/test_revocation_load.py runs the same with fewer sessions, and judges everything but the times.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import msgspec

from lockgate.adapters.mqtt.packets import Publish
from lockgate.home import Home
from lockgate.model.permission import Operation, Rule
from lockgate.registry.registrar import Registrar
from tests.support.fleet import Fleet, Spread, enlist
from tests.support.hub import RunningHub, eventually

TOP = Path(__file__).resolve().parent.parent
RESULT = TOP / "bench" / "results" / "revocation.md"
GROUP = "stolen"
SETTLE_SECONDS = 30.0
TURNS_PER_SECOND = 100.0
"""In each turn two victims hear a message and two send one."""


class Outcome(msgspec.Struct, frozen=True):
    """What one run saw.

    `one_by_one` and `in_group` are the times from before the command to the last byte or the end of each connection, at
    the client; `committed` how long the command itself took to come back (a commit to the disk).
    """

    sessions: int
    one_by_one: Spread
    in_group: Spread
    committed: Spread
    codes: dict[int, int]
    dropped: list[str]
    """Devices that nobody revoked, and whose connection ended all the same."""
    still_open: list[str]
    """Victims whose connection did not end."""
    let_in_again: list[str]
    """Victims that a new connection was granted to."""
    heard_late: int
    """Messages that somebody heard from victims after their last connection had ended."""
    deliveries: int
    """Messages that the fleet heard while it was measured."""


def measure(folder: Path, sessions: int, one_by_one: int, in_group: int) -> Outcome:
    """Connect a fleet, let it talk, revoke victims one by one and then a group at once, and look who is silent.

    Args:
        folder: an empty folder; the home and the devices' keys go there.
        sessions: how many devices are connected.
        one_by_one: how many of them are revoked each by itself.
        in_group: how many more are revoked as one group.
    """
    assert one_by_one + in_group < sessions
    names = [f"d{number:05}" for number in range(sessions)]
    victims, gang = names[:one_by_one], names[one_by_one : one_by_one + in_group]
    condemned = [*victims, *gang]
    rules = {
        "watcher": [Rule("device:watcher", Operation.RECEIVE, "devices/+/out")],
        "feeder": [Rule("device:feeder", Operation.PUBLISH, "devices/+/in")],
    }
    settings = '[log]\nlevel = "warning"\n'
    with RunningHub(folder, settings=settings) as hub:
        home = Home.open(hub.home)
        passes = enlist(home, folder / "keys", [*names, *rules], dict.fromkeys(gang, (GROUP,)), rules)
        latest: dict[str, float] = {}

        def note(who: str, publish: Publish) -> None:
            if who == "watcher":
                latest[publish.topic.split("/")[1]] = time.monotonic()

        with Fleet(hub.port, hub.ca_path, passes, on_publish=note) as fleet:
            answers = fleet.connect()
            assert all(answer is not None and answer.code == 0 for answer in answers.values()), Counter(
                None if answer is None else answer.code for answer in answers.values()
            )
            fleet.subscribe_all({name: f"devices/{name}/in" for name in names} | {"watcher": "devices/+/out"})
            fleet.chat(TURNS_PER_SECOND, lambda turn: _say(turn, condemned))
            eventually(lambda: len(latest) >= len(condemned), SETTLE_SECONDS, "a word from each victim")
            heard_before = sum(member.heard for member in fleet.members.values())
            begun, committed = _revoke_one_by_one(home, victims)
            _wait_for_silence(fleet, victims)
            begun |= _revoke_group(home, gang, committed)
            _wait_for_silence(fleet, gang)
            deliveries = sum(member.heard for member in fleet.members.values()) - heard_before
            time.sleep(0.5)  # whatever was on its way arrives
            fleet.hush()
            survivors = names[one_by_one + in_group :]
            alive = fleet.are_alive([*survivors, "watcher", "feeder"])
            silent = {name: fleet.members[name].silent_at for name in condemned}
            codes = Counter(
                member.goodbye.code if member.goodbye is not None else -1
                for member in (fleet.members[name] for name in condemned)
            )
            seconds = {name: at - begun[name] for name, at in silent.items() if at is not None}
            # What the hub had already passed on may still be on its way to the watcher: a second is ample.
            late = sum(latest[name] > (at or 0.0) + 1.0 for name, at in silent.items())
            again = fleet.connect(random.Random(7).sample(condemned, min(20, len(condemned))))
    return Outcome(
        sessions=len(passes),
        one_by_one=Spread.of(seconds[name] for name in victims if name in seconds),
        in_group=Spread.of(seconds[name] for name in gang if name in seconds),
        committed=Spread.of(committed),
        codes=dict(codes),
        dropped=sorted({*survivors, "watcher", "feeder"} - set(alive)),
        still_open=[name for name, at in silent.items() if at is None],
        let_in_again=[name for name, answer in again.items() if answer is not None and answer.code == 0],
        heard_late=late,
        deliveries=deliveries,
    )


def _say(turn: int, condemned: list[str]) -> list[tuple[str, str, bytes]]:
    chosen = [condemned[(2 * turn + each) % len(condemned)] for each in range(2)]
    words = str(turn).encode()
    return [("feeder", f"devices/{name}/in", words) for name in chosen] + [
        (name, f"devices/{name}/out", words) for name in chosen
    ]


def _revoke_one_by_one(home: Home, victims: list[str]) -> tuple[dict[str, float], list[float]]:
    begun: dict[str, float] = {}
    committed: list[float] = []
    pauses = random.Random(5)
    with home.registry() as registry:
        registrar = Registrar(registry, "bench")
        for name in victims:
            begun[name] = time.monotonic()
            registrar.revoke(name)
            committed.append(time.monotonic() - begun[name])
            time.sleep(pauses.uniform(0.01, 0.05))  # so that they fall anywhere between two looks of the gate
    return begun, committed


def _revoke_group(home: Home, gang: list[str], committed: list[float]) -> dict[str, float]:
    with home.registry() as registry:
        at = time.monotonic()
        Registrar(registry, "bench").revoke_group(GROUP)
        committed.append(time.monotonic() - at)
    return dict.fromkeys(gang, at)


def _wait_for_silence(fleet: Fleet, names: list[str]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline and any(fleet.members[name].closed_at is None for name in names):
        time.sleep(0.02)


def page(outcomes: list[Outcome], machine: str) -> str:
    """Give the results as a page."""
    lines = [
        "<!-- Made by `python -m bench.revocation`. Do not edit. -->",
        "# From the command to silence",
        "",
        machine,
        "",
        "| sessions | revoked | count | median | p99 | most |",
        "|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        for what, spread in (("one by one", each.one_by_one), ("a group at once", each.in_group)):
            lines.append(
                f"| {each.sessions:,} | {what} | {spread.count} | {spread.median:.0f} ms | {spread.p99:.0f} ms "
                f"| {spread.most:.0f} ms |"
            )
    lines += [
        "",
        "The time runs from before the command (its commit to the disk included: median "
        f"{outcomes[-1].committed.median:.0f} ms) until the victim's end of the TLS connection has seen its last byte. "
        "Meanwhile the victims hear and send some 400 messages a second. In every run all victims were silent, nobody "
        "else lost a connection, and no victim was let in again.",
        "",
    ]
    return "\n".join(lines)


@click.command()
@click.option("--sessions", default=1000, show_default=True, help="How many devices are connected.")
@click.option("--one-by-one", default=150, show_default=True, help="How many are revoked each by itself.")
@click.option("--in-group", default=100, show_default=True, help="How many more are revoked as one group.")
@click.option("--runs", default=3, show_default=True, help="How often, each with a fresh hub.")
@click.option("--keep", is_flag=True, help=f"Write {RESULT.relative_to(TOP)}.")
def main(sessions: int, one_by_one: int, in_group: int, runs: int, keep: bool) -> None:
    """Measure how long revocation takes."""
    from bench.machine import describe_machine

    outcomes: list[Outcome] = []
    for number in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            outcome = measure(Path(folder) / "run", sessions, one_by_one, in_group)
        problems = outcome.dropped + outcome.still_open + outcome.let_in_again
        if problems or outcome.heard_late:
            raise click.ClickException(f"run {number + 1}: {outcome}")
        click.echo(f"run {number + 1}: {outcome}")
        outcomes.append(outcome)
    facts = describe_machine({})
    text = page(outcomes, f"{facts.date}; {facts.cpu}, {facts.cores} cores; Python {facts.python}; {facts.revision}.")
    click.echo(text)
    if keep:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
