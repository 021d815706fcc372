"""`lockgate audit`: who did what to which device, and what the hub did about it; nobody rewrites it unseen."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from lockgate.cli.moments import past_moment
from lockgate.cli.output import Noun, actor, console, home_option, json_option, moment, print_json, safe, table
from lockgate.errors import InvalidSettings
from lockgate.events import Event
from lockgate.home import Home
from lockgate.registry.trail import ANCHOR_SUBJECT, Trail, anchor, as_line
from lockgate.store.chain import SECURITY, Record


@click.group(cls=Noun, short_help="Read, export and verify the audit trail.")
def audit() -> None:
    """Read the audit trail: administrative acts and security events, each chained to all before it."""


def _since(text: str | None, now: float, default: float) -> float:
    """Turn "24h" (ago) or a date, as in 2026-03-01 or 2026-03-01T12:00Z, into unix seconds."""
    return default if text is None else past_moment(text, now)


def _window_options(command: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--device", metavar="NAME", help="Only what is about this device."),
        click.option("--until", metavar="WHEN", help="The end: 1h (ago), or a date. Without it: now."),
        click.option("--since", metavar="WHEN", help="The beginning: 24h or 7d (ago), or a date (UTC)."),
    ):
        command = option(command)
    return command


@audit.command(name="list")
@_window_options
@click.option("--last", type=click.IntRange(1), default=50, show_default=True, help="How many to show.")
@home_option
@json_option
def list_records(
    since: str | None, until: str | None, device: str | None, last: int, home: Path, as_json: bool
) -> None:
    """Show the latest records of the audit trail, the newest last."""
    found = _records(Home.open(home), since, until, device)[-last:]
    if as_json:
        print_json([as_line(record) for record in found])
        return
    made = table("when", "who", "did", "to", "details")
    for record in found:
        details = ", ".join(f"{name} {text}" for name, text in record.details.items())
        made.add_row(moment(record.at), safe(record.actor), safe(record.event), safe(record.subject), safe(details))
    console().print(made)


@audit.command()
@_window_options
@home_option
def export(since: str | None, until: str | None, device: str | None, home: Path) -> None:
    """Write the audit trail as JSON lines, for a report on an incident.

    Each line holds what was hashed, the hash before it and its own, so that others can verify it.
    """
    for record in _records(Home.open(home), since, until, device):
        line = {**as_line(record), "at": datetime.fromtimestamp(record.at, UTC).isoformat(timespec="milliseconds")}
        click.echo(msgspec.json.encode(line).decode())


@audit.command()
@click.option("--head", "known", multiple=True, metavar="HASH", help="A hash noted earlier. Repeat it for more.")
@home_option
@json_option
def verify(known: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Find out whether a record was changed, taken away or put in. Exit code 0: none was; 1: the first is named.

    Note the hashes that it prints outside of the hub: given back with --head, they prove that nothing up to there was
    rewritten, whoever had the home meanwhile.
    """
    opened = Home.open(home)
    with Trail(opened.registry_path, opened.messages_path) as trail:
        whole = trail.verify(known)
    if as_json:
        print_json({"is_whole": not whole.problems, "problems": whole.problems, "chains": whole.chains})
    else:
        out = console()
        for verdict in whole.chains:
            dropped = f" (after {verdict.head.trimmed} trimmed)" if verdict.head.trimmed else ""
            out.print(f"{verdict.trail}: {verdict.records} records sound{dropped}, head {verdict.head.hash}")
        for problem in whole.problems:
            out.print(f"[red]broken[/] {safe(problem)}")
        if not whole.problems:
            out.print("[green]whole[/]; note the heads elsewhere, and give them back later with --head")
    if whole.problems:
        raise SystemExit(1)


@audit.command(name="anchor")
@home_option
@json_option
def anchor_now(home: Path, as_json: bool) -> None:
    """Note in the audit trail where the security events stand; also after messages.db was put aside on purpose."""
    head = note_anchor(Home.open(home), actor())
    if as_json:
        print_json(head)
    else:
        console().print(f"[green]noted[/] record {head['record']}, hash {head['hash']}")


def note_anchor(home: Home, who: str) -> dict[str, str]:
    """Write an anchor of the security events into the audit trail; give its details."""
    with Trail(home.registry_path, home.messages_path) as trail:
        heads = trail.heads()
    if SECURITY.table not in heads:
        raise InvalidSettings(f"{home.messages_path} is not there yet", fix="lockgate up makes it")
    details = anchor(SECURITY.table, heads[SECURITY.table])
    with home.registry() as registry, registry.write() as write:
        write.note_audit(Event.AUDIT_ANCHORED, ANCHOR_SUBJECT, who, time.time(), details)
    return details


def _records(home: Home, since: str | None, until: str | None, device: str | None) -> list[Record]:
    now = time.time()
    with Trail(home.registry_path, home.messages_path) as trail:
        return list(trail.records(_since(since, now, 0.0), _since(until, now, float("inf")), device))
