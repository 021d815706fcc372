"""The bench of rotation: everything that trust rests on changes while TLS sessions are connected and talk.

Run it with `python -m bench.rotation`, from the top of the source; with --keep it writes bench/results/rotation.md. The
test tests/interop/test_rotation_load.py runs the same with fewer sessions, and judges everything but the times.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import uvloop

from bench.rotation_steps import KINDS, PROBE, VOICE, Attempt, Seen, Stage
from lockgate.adapters.mqtt.packets import Publish
from lockgate.home import Home
from lockgate.model.permission import Operation, Rule
from lockgate.net.context import TlsContexts
from lockgate.net.keeper import ContextKeeper
from lockgate.pki.revocation import RevokedCertificate, build_crl, crls_to_pem
from tests.support.fleet import Fleet, Spread, enlist
from tests.support.hub import RunningHub

TOP = Path(__file__).resolve().parent.parent
RESULT = TOP / "bench" / "results" / "rotation.md"
TURNS_PER_SECOND = 100.0
"""In each turn two devices hear a message and two send one."""
QUIET_SECONDS = 3.0
SETTLE_SECONDS = 10.0
BEAT_SECONDS = 0.001
SWITCH_SECONDS = 0.0002
"""As in the hub: who changes something shares this process with the fleet and the watch, and must not hold them up."""
LISTS = (0, 1_000, 10_000)


class Talk:
    """What the fleet says, who should hear it, and when it was heard.

    Args:
        names: the devices that talk.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.said: dict[tuple[str, bytes], float] = {}
        self.heard: Counter[tuple[str, bytes]] = Counter()
        self.delays: list[tuple[float, float]] = []
        """When each message was said, and how long it took; seconds."""

    def say(self, turn: int) -> list[tuple[str, str, bytes]]:
        """Give what is said in a turn: `feeder` speaks to two devices, and they to `watcher`."""
        chosen = [self.names[(2 * turn + each) % len(self.names)] for each in range(2)]
        words = str(turn).encode()
        now = time.monotonic()
        for name in chosen:
            self.said[f"devices/{name}/in", words] = self.said[f"devices/{name}/out", words] = now
        return [("feeder", f"devices/{name}/in", words) for name in chosen] + [
            (name, f"devices/{name}/out", words) for name in chosen
        ]

    def hear(self, _who: str, publish: Publish) -> None:
        """Note what somebody heard."""
        key = (publish.topic, publish.payload)
        said_at = self.said[key]
        self.heard[key] += 1
        self.delays.append((said_at, time.monotonic() - said_at))


class Outcome(msgspec.Struct, frozen=True):
    """What one run saw."""

    sessions: int
    seen: list[Seen]
    attempts: list[Attempt]
    unexplained: list[Attempt]
    """Attempts that failed as they must, and of which `lockgate why` does not know the reason."""
    turned_away: int
    dropped: list[str]
    """Devices that may be connected, and whose connection ended all the same."""
    still_open: list[str]
    """Devices that were revoked, and whose connection did not end."""
    said: int
    lost: int
    doubled: int
    quiet: Spread
    """How long a message took before the first change."""
    meanwhile: Spread
    """How long those took that were said within 300 ms of a change."""

    @property
    def is_clean(self) -> bool:
        """Whether nobody was dropped or let in who should not have been, and nothing lost."""
        return not (
            self.turned_away or self.dropped or self.still_open or self.lost or self.doubled or self.unexplained
            or any(each.stale for each in self.seen) or any(each.outcome == "in" for each in self.attempts)
        )  # fmt: skip


def measure(folder: Path, sessions: int, turns: int) -> Outcome:
    """Connect a fleet, let it talk, and change everything that trust rests on, `turns` times.

    Args:
        folder: an empty folder; the home and the devices' keys go there.
        sessions: how many devices are connected.
        turns: how often.
    """
    names = [f"d{number:05}" for number in range(sessions)]
    victims, changers, talkers = names[:turns], names[turns : 3 * turns], names[3 * turns :]
    allowed = {
        "watcher": [Rule("device:watcher", Operation.RECEIVE, "devices/+/out")],
        "feeder": [Rule("device:feeder", Operation.PUBLISH, "devices/+/in")],
    }
    talk = Talk(talkers)
    with RunningHub(folder, settings='[log]\nlevel = "warning"\n') as hub, Home.open(hub.home).registry() as registry:
        passes = enlist(Home.open(hub.home), folder / "keys", [*names, *allowed, PROBE, VOICE], None, allowed)
        connected = {name: path for name, path in passes.items() if name not in (PROBE, VOICE)}
        with Fleet(hub.port, hub.ca_path, connected, on_publish=talk.hear) as fleet:
            answers = fleet.connect()
            assert all(answer is not None and answer.code == 0 for answer in answers.values())
            fleet.subscribe_all({name: f"devices/{name}/in" for name in talkers} | {"watcher": "devices/+/out"})
            fleet.chat(TURNS_PER_SECOND, talk.say)
            time.sleep(QUIET_SECONDS)
            stage = Stage(hub, folder / "keys", registry, fleet, passes)
            for turn in range(turns):
                stage.take_turn(turn, victims[turn], (changers[2 * turn], changers[2 * turn + 1]))
            stage.renew_by_est(talkers[: 3 * turns])
            stage.close()
            fleet.hush()
            _wait_for_all(talk)
            legitimate = [name for name in fleet.members if name not in victims]
            alive = fleet.are_alive(legitimate)
            still_open = [name for name in victims if fleet.members[name].closed_at is None]
        unexplained = _unexplained(hub, stage.attempts)
    first = stage.seen[0].began_at - 1.0
    changes = [(each.began_at, each.began_at + each.from_begin + 0.3) for each in stage.seen]
    return Outcome(
        sessions=len(connected),
        seen=stage.seen,
        attempts=stage.attempts,
        unexplained=unexplained,
        turned_away=stage.turned_away,
        dropped=sorted(set(legitimate) - set(alive)),
        still_open=still_open,
        said=len(talk.said),
        lost=len(talk.said.keys() - talk.heard.keys()),
        doubled=sum(count > 1 for count in talk.heard.values()),
        quiet=Spread.of(delay for at, delay in talk.delays if at < first),
        meanwhile=Spread.of(delay for at, delay in talk.delays if any(a <= at <= b for a, b in changes)),
    )


def _wait_for_all(talk: Talk) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while len(talk.heard) < len(talk.said) and time.monotonic() < deadline:
        time.sleep(0.05)


def _unexplained(hub: RunningHub, attempts: list[Attempt]) -> list[Attempt]:
    """Give the attempts whose reason `lockgate why` does not know.

    Where a CA of the chain is what TLS does not believe, it never comes to the certificate that names the device.
    """
    told = {(each["device"], each["reason"]) for each in hub.why("--last", "5000")}
    return [each for each in attempts if told.isdisjoint({(each.device, each.reason), ("", each.reason)})]


class Cost(msgspec.Struct, frozen=True):
    """What it costs to build new contexts, in milliseconds.

    `at_once` is how long `TlsContexts.reload` holds who calls it; `held` the longest time that the loop was late while
    the keeper built both doors' contexts, on the loop or beside it.
    """

    listed: int
    at_once: Spread
    held: Spread


def measure_cost(folder: Path, listed: int, times: int = 20) -> Cost:
    """Build contexts with a revocation list of so many certificates, on the loop and beside it."""
    now = time.time()
    home = Home.create(folder, ["localhost"], now, "bench", 0)
    revoked = [RevokedCertificate(number + 1, now) for number in range(listed)]
    home.crl_path.write_bytes(crls_to_pem([build_crl(home.authority(), revoked, 1, now)]))
    paths = home.server_path, home.server_key_path, home.bundle_path
    doors = [TlsContexts(*paths, crl_path=home.crl_path) for _ in range(2)]
    at_once = [_timed(doors[0].reload) for _ in range(times)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        held = runner.run(_lateness(doors, times))
    return Cost(listed, Spread.of(at_once), Spread.of(held))


def _timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


async def _lateness(doors: list[TlsContexts], times: int) -> list[float]:
    problems: list[Exception] = []
    keeper = ContextKeeper(doors, 3600.0, lambda _why: None, problems.append)
    found: list[float] = []
    for _ in range(times):
        work = asyncio.ensure_future(keeper.work())
        worst = 0.0
        while not work.done():
            begin = time.perf_counter()
            await asyncio.sleep(BEAT_SECONDS)
            worst = max(worst, time.perf_counter() - begin - BEAT_SECONDS)
        found.append(worst)
    assert not problems, problems
    return found


def page(outcomes: list[Outcome], costs: list[Cost], machine: str) -> str:
    """Give the results as a page."""
    by_kind: defaultdict[str, list[Seen]] = defaultdict(list)
    for outcome in outcomes:
        for each in outcome.seen:
            by_kind[each.kind].append(each)
    lines = [
        "<!-- Made by `python -m bench.rotation`. Do not edit. -->",
        "# Trust that changes under live sessions",
        "",
        machine,
        "",
        "| what changes | times | in force after its begin: median | most | after its end: median | most |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        begin = Spread.of(each.from_begin for each in by_kind[kind])
        end = Spread.of(each.from_end for each in by_kind[kind])
        lines.append(
            f"| {kind} | {begin.count} | {begin.median:.0f} ms | {begin.most:.0f} ms | {end.median:.0f} ms "
            f"| {end.most:.0f} ms |"
        )
    sessions, said = outcomes[0].sessions, sum(each.said for each in outcomes)
    quiet, meanwhile = (Spread.of(_seconds(outcomes, name)) for name in ("quiet", "meanwhile"))
    tried = Counter(each.shown for outcome in outcomes for each in outcome.attempts)
    lines += [
        "",
        f"{sessions:,} TLS sessions with client certificates were connected and talked, in {len(outcomes)} runs. "
        f"Sessions dropped: {sum(len(each.dropped) for each in outcomes)}. "
        f"Messages lost: {sum(each.lost for each in outcomes)} of {said:,}. "
        f"New connections turned away that were welcome: {sum(each.turned_away for each in outcomes)}. "
        f"Connections that saw the old after the new: {sum(s.stale for each in outcomes for s in each.seen)}.",
        "",
        f"99 % of the messages took at most {quiet.median:.1f} ms before the first change, and at most "
        f"{meanwhile.median:.1f} ms within 300 ms of one. The fleet and who watches are one process beside the hub, "
        "and take their part of the machine.",
        "",
        "The time runs to the end of the first new connection (or PUBACK, for rules) that shows the new; a watch takes "
        'one after the other. It begins with the call behind the command, or ("after its end") when that came back '
        "with its signatures made and its commits on the disk; for an overlap both are the moment it was to end.",
        "",
        "| shown by somebody who is not welcome | attempts | let in |",
        "|---|---|---|",
    ]
    let_in = Counter(each.shown for outcome in outcomes for each in outcome.attempts if each.outcome == "in")
    lines += [f"| {shown} | {count} | {let_in[shown]} |" for shown, count in tried.items()]
    lines += [
        "",
        "| revocation list of | to build a context, median (most) | the loop is late while the keeper builds two |",
        "|---|---|---|",
    ]
    lines += [
        f"| {cost.listed:,} | {cost.at_once.median:.1f} ms ({cost.at_once.most:.1f} ms) "
        f"| {cost.held.median:.1f} ms ({cost.held.most:.1f} ms) |"
        for cost in costs
    ]
    return "\n".join([*lines, ""])


def _seconds(outcomes: list[Outcome], name: str) -> list[float]:
    return [getattr(each, name).p99 / 1000 for each in outcomes]


@click.command()
@click.option("--sessions", default=1000, show_default=True, help="How many devices are connected.")
@click.option("--turns", default=10, show_default=True, help="How often everything changes.")
@click.option("--runs", default=1, show_default=True, help="How often, each with a fresh hub.")
@click.option("--keep", is_flag=True, help=f"Write {RESULT.relative_to(TOP)}.")
def main(sessions: int, turns: int, runs: int, keep: bool) -> None:
    """Measure how soon a rotation is in force, and that nobody is dropped."""
    from bench.machine import describe_machine

    outcomes: list[Outcome] = []
    sys.setswitchinterval(SWITCH_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            outcomes.append(outcome := measure(Path(folder) / f"run{number}", sessions, turns))
            if not outcome.is_clean:
                raise click.ClickException(f"run {number + 1}: {outcome}")
        costs = [measure_cost(Path(folder) / f"cost{listed}", listed) for listed in LISTS]
    facts = describe_machine({})
    where = (
        f"{facts.date}; {facts.cpu}, {facts.cores} cores; Python {facts.python}; {facts.revision}. "
        f"Load of the machine (/proc/loadavg), with this bench: {os.getloadavg()[1]:.1f}; niceness {os.nice(0)}."
    )
    text = page(outcomes, costs, where)
    click.echo(text)
    if keep:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
