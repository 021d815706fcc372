"""`lockgate revoke`: make a device, a credential or a group worthless for good, and show what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lockgate.cli.output import actor, console, home_option, json_option, print_json, safe, table
from lockgate.home import Home
from lockgate.model.outcome import Traces
from lockgate.revocation import Report, Retained, Subject
from lockgate.revocation import revoke as revoke_now

MANY = 20
"""From so many devices on, waiting shows a bar, and a report is one table for all."""
WORDS = {
    "connections": "connections",
    "sessions": "sessions",
    "subscriptions": "subscriptions",
    "queued": "messages waiting for it",
    "unsettled": "sent, not acknowledged",
    "wills": "wills",
    "retained": "retained messages it published",
}


@click.command(short_help="Revoke a device, a credential or a group, and prove it.")
@click.argument("device", metavar="[NAME]", required=False)
@click.option("--credential", type=click.IntRange(1), metavar="NUMBER", help="One credential; others stay good.")
@click.option("--group", metavar="G", help="All members of a group.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it stands in the audit trail.")
@click.option(
    "--retained", type=click.Choice(["keep", "clear"]),
    help="What becomes of retained messages that it published; otherwise as hub.retained_of_revoked says.",
)  # fmt: skip
@click.option("--report", is_flag=True, help="Wait for the hub; show what it found, what it ended, and what remains.")
@home_option
@json_option
def revoke(
    device: str | None,
    credential: int | None,
    group: str | None,
    reason: str,
    retained: Retained | None,
    report: bool,
    home: Path,
    as_json: bool,
) -> None:
    """Make credentials worthless, for good: those of device NAME, one of them, or those of a group's members.

    Live sessions end, and with them queues, wills, pending deliveries, the rights to speak for others, and tickets of
    TLS sessions. `lockgate device revoke`, `group revoke` and `credential revoke` do the same to several at once, and
    neither wait nor report. `lockgate device block NAME` shuts out for a while only.
    """
    if sum(each is not None for each in (device, credential, group)) != 1:
        raise click.UsageError("Name a device, or --credential NUMBER, or --group G: one of them.")
    subject = Subject(device or "", credential or 0, group or "")
    opened = Home.open(home)
    waits = report or as_json
    options: dict[str, Any] = {"reason": reason, "retained": retained, "waits": waits}
    if group is not None and waits and not as_json:
        with Progress(TextColumn("silencing"), BarColumn(), MofNCompleteColumn(), transient=True) as bar:
            task = bar.add_task("", total=None)
            reports = revoke_now(
                opened, subject, actor(), **options, on_device=lambda count: bar.update(task, completed=count)
            )
    else:
        reports = revoke_now(opened, subject, actor(), **options)
    if as_json:
        print_json([_facts(each) for each in reports])
    elif report:
        _print(subject, reports)
    else:
        console().print(f"[green]revoked[/] {safe(subject)}" + ("" if device else f": {len(reports)} devices"))


def _facts(report: Report) -> dict[str, object]:
    return {
        **msgspec.to_builtins(report),
        "ended": msgspec.to_builtins(report.ended),
        "is_silent": report.is_silent,
    }


def _print(subject: Subject, reports: list[Report]) -> None:
    out = console()
    out.print(f"[bold]{safe(subject)}[/] is revoked" + ("" if subject.device else f": {len(reports)} devices"))
    made = table("", "found", "ended", "remains", "on the disk")
    found, remaining = _sum(r.found for r in reports), _sum(r.remaining for r in reports)
    stored = _sum(r.stored.traces for r in reports)
    for name, words in WORDS.items():
        counts = [getattr(each, name) for each in (found, found - remaining, remaining)]
        on_disk = "-" if name in ("connections", "unsettled") else str(getattr(stored, name))
        made.add_row(words, *map(str, counts), on_disk)
    out.print(made)
    rights = [each.rights for each in reports]
    out.print(f"credentials that still hold: {sum(each.credentials for each in rights)}")
    out.print(f"certificates that still hold: {sum(each.certificates for each in rights)}")
    out.print(f"devices that it may still speak for: {sum(each.devices for each in rights)}")
    out.print("TLS sessions: the hub keeps none; a ticket of a revoked key is refused in the handshake")
    passed_on = sum(each.stored.passed_on for each in reports)
    if passed_on:
        out.print(f"messages that it sent before, and that wait for others: {passed_on} (they are theirs, and stay)")
    times = sorted(each.silence_ms for each in reports if each.silence_ms is not None)
    if times:
        slowest = f", the slowest {times[-1]:.0f} ms" if len(times) > 1 else ""
        out.print(f"from the command to silence: {times[len(times) // 2]:.0f} ms{slowest}")
    elif reports:
        out.print("no hub runs: the databases were cleared, and nothing of it comes back when one starts")
    left = [each for each in reports if not each.is_silent]
    if not left:
        kept = " but the retained messages that were to stay" if any(each.keeps_retained for each in reports) else ""
        out.print(f"[green]nothing remains{kept}[/]")
    elif all(each.is_other_credential for each in left):
        out.print("what remains belongs to other credentials of the device, which are as good as before")
    else:
        out.print(f"[red]something remains[/]: {safe(', '.join(each.device for each in left[:MANY]))}")


def _sum(all_traces: Any) -> Traces:
    return sum(all_traces, Traces())
