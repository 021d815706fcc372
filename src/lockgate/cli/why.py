"""`lockgate why`: why somebody was turned away, and what would mend it."""

from __future__ import annotations

import difflib
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from lockgate.cli.moments import past_moment
from lockgate.cli.output import console, home_option, json_option, moment, print_json, safe
from lockgate.errors import NotFound, Step
from lockgate.home import Home
from lockgate.identity.jwt import CLOCK_SHIFT, span
from lockgate.model.refusal import Refusal
from lockgate.registry.refusals import as_reference
from lockgate.store import messages_reader, office_refusals

MAX_REFUSALS = 10_000
FOLLOW_SECONDS = 0.5
MANY_DEVICES = 3
"""So many devices that are off alike are less likely than one hub that is."""
ALIKE_SECONDS = 300.0


@click.command(short_help="Show why somebody was refused, and what fixes it.")
@click.argument("reference", required=False)
@click.option("--device", metavar="NAME", help="Only refusals of this device (or of who claimed to be it).")
@click.option("--step", type=click.Choice([step.value for step in Step]), help="Only refusals at this step.")
@click.option(
    "--since", metavar="WHEN", help="Only refusals since then: 10m, 2h, 1d ago, or 2027-01-15T08:00:00 (UTC)."
)
@click.option("--last", type=click.IntRange(1, MAX_REFUSALS), default=10, show_default=True, help="How many to show.")
@click.option("--follow", is_flag=True, help="Go on, and show each as it comes, until Ctrl-C.")
@home_option
@json_option
def why(
    home: Path,
    reference: str | None,
    device: str | None,
    step: str | None,
    since: str | None,
    last: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show why the last refusals happened, newest first, and what would fix each.

    REFERENCE is what the refused client was told, like K7Q2-9XMD.
    """
    opened = Home.open(home)
    if reference is not None:
        found = [_find(opened, reference)]
    else:
        found = _read(opened, None, device, last, step, 0.0 if since is None else past_moment(since, time.time()))
    if follow and reference is None:
        _follow(opened, found, device, step, as_json)
    elif as_json:
        print_json([msgspec.to_builtins(refusal) for refusal in found])
    else:
        _show(found)


def explain(refusal: Refusal) -> list[str]:
    """Give a refusal as lines for a terminal: what, who, why, and the fix."""
    times = f", {refusal.count} times" if refusal.count > 1 else ""
    lines = [
        f"[bold]{safe(refusal.reference)}[/]  [red]{safe(refusal.reason)}[/]  "
        f"(step {refusal.step}, {moment(refusal.at)}{times})"
    ]
    who = " from ".join(part for part in (refusal.door, refusal.address) if part)
    if refusal.device:
        who += f", device {refusal.device}" + ("" if refusal.is_verified else " (claimed, not verified)")
    if refusal.client_id and refusal.client_id != refusal.device:
        who += f", client id {refusal.client_id}"
    lines.append(f"    who: {safe(who)}")
    lines.append(f"    why: {safe(refusal.message)}")
    lines.extend(f"         {safe(name)}: {safe(value)}" for name, value in refusal.evidence.items())
    if refusal.fix:
        lines.append(f"    fix: [green]{safe(refusal.fix)}[/]")
    return lines


def shared_shift(refusals: Sequence[Refusal]) -> str:
    """Say when several devices' clocks are off by the same: then it is this hub's that is wrong. "" else."""
    shifts: dict[str, float] = {}
    for refusal in refusals:
        text = refusal.evidence.get(CLOCK_SHIFT, "").removesuffix(" s")
        if refusal.device and text:
            shifts.setdefault(refusal.device, float(text))
    if len(shifts) < MANY_DEVICES:
        return ""
    middle = statistics.median(shifts.values())
    alike = [each for each in shifts.values() if abs(each - middle) <= ALIKE_SECONDS]
    if len(alike) < MANY_DEVICES or 2 * len(alike) <= len(shifts):
        return ""
    direction = "behind" if middle > 0 else "ahead"
    return (
        f"{len(alike)} devices' clocks differ from this hub's by about {span(abs(middle))} alike: "
        f"look at this hub's clock first, it may be {direction}."
    )


def _show(found: Sequence[Refusal]) -> None:
    out = console()
    if not found:
        out.print("nobody was refused")
    for refusal in found:
        for line in explain(refusal):
            out.print(line)
    hint = shared_shift(found)
    if hint:
        out.print(f"[bold]{hint}[/]")


def _read(
    home: Home,
    reference: str | None = None,
    device: str | None = None,
    last: int = 10,
    step: str | None = None,
    since: float = 0.0,
) -> list[Refusal]:
    """Give the latest refusals of gate and office, newest first."""
    wanted = reference, device, last, step, since
    found = messages_reader.read_refusals(home.messages_path, *wanted)
    found += office_refusals.read_refusals(home.registry_path, *wanted)
    return sorted(found, key=lambda refusal: refusal.at, reverse=True)[:last]


def _find(home: Home, reference: str) -> Refusal:
    """Give the refusal of a reference; one that is mistyped is told what it may have been."""
    wanted = as_reference(reference)
    found = _read(home, wanted)
    if found:
        return found[0]
    known = [refusal.reference for refusal in _read(home, last=MAX_REFUSALS)]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.7)
    fix = f"did you mean {' or '.join(near)}?" if near else "lockgate why shows the last ones"
    raise NotFound(f"no refusal has the reference {reference}", fix=fix)


def _follow(home: Home, found: list[Refusal], device: str | None, step: str | None, as_json: bool) -> None:
    """Show what was found, oldest first, and then each refusal when it comes, and when it has come twice as often."""
    out = console()
    shown: dict[str, int] = {}
    while True:
        for refusal in reversed(found):
            if refusal.count >= 2 * shown.get(refusal.reference, 0):
                shown[refusal.reference] = refusal.count
                if as_json:
                    click.echo(msgspec.json.encode(refusal).decode())
                else:
                    for line in explain(refusal):
                        out.print(line)
        try:
            time.sleep(FOLLOW_SECONDS)
        except KeyboardInterrupt:
            return
        since = max((refusal.at for refusal in found), default=0.0)
        found = _read(home, None, device, MAX_REFUSALS, step, since) or found
