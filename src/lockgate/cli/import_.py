"""`lockgate import`: what another broker knows of its clients."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from lockgate.cli.output import Noun, actor, console, home_option, json_option, print_json, safe, table
from lockgate.home import Home
from lockgate.provision.mosquitto import Plan, Taken, read_mosquitto
from lockgate.registry.registrar import Registrar

COLOURS = {Taken.OVER: "green", Taken.SAME: "green", Taken.DIFFERS: "yellow", Taken.BY_HAND: "yellow", Taken.NOT: "red"}


@click.group(cls=Noun, name="import", short_help="Take devices and rules over from another broker.")
def import_() -> None:
    """Take devices and rules over from another broker, and say line by line what became of them."""


@import_.command()
@click.argument("conf", metavar="CONF", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what would become of each line.")
@home_option
@json_option
def mosquitto(conf: Path, dry_run: bool, home: Path, as_json: bool) -> None:
    """Take over the users, passwords and ACLs of a mosquitto.conf, and say what became of each of its lines.

    Passwords go on to work: their hashes are checked as mosquitto made them. Settings are named, and left to you.
    """
    opened = Home.open(home)
    with opened.registry(read_only=True) as registry:
        known = frozenset(device.name for device in registry.devices())
        rules = {(rule.subject, rule.operation, rule.filter, rule.effect) for rule in registry.rules()}
    plan = read_mosquitto(conf, known)
    added = [rule for rule in plan.rules if (rule.subject, rule.operation, rule.filter, rule.effect) not in rules]
    if not dry_run:
        with opened.registry() as registry:
            registrar = Registrar(registry, actor())
            for rule in added:  # first, so that no device is without a deny for a moment
                registrar.add_rule(rule)
            for device in plan.devices:
                registrar.add_device(device.name, [device.credential], rules=device.rules)
    if as_json:
        names = [device.name for device in plan.devices]
        count = len(added) + sum(len(device.rules) for device in plan.devices)
        print_json({"is_done": not dry_run, "devices": names, "rules": count, "lines": plan.notes})
        return
    _show(plan, len(added), dry_run)


def _show(plan: Plan, rules: int, dry_run: bool) -> None:
    out = console()
    made = table("line", "said", "is", "why")
    for note in plan.notes:
        where = f"{Path(note.file).name}:{note.number}" if note.number else Path(note.file).name
        made.add_row(safe(where), safe(note.line), f"[{COLOURS[note.taken]}]{note.taken}[/]", safe(note.why))
    out.print(made)
    counted = Counter(note.taken for note in plan.notes)
    own = sum(len(device.rules) for device in plan.devices)
    verb = "would take over" if dry_run else "took over"
    out.print()
    out.print(f"{verb} {len(plan.devices)} devices and {rules + own} rules; lines: "
              + ", ".join(f"{counted[each]} {each}" for each in Taken if counted[each]))  # fmt: skip
    out.print("devices need the hub's ca/root.crt, its TLS port, and a client id that is their name or NAME/SUFFIX")
