"""`lockgate policy reach`: whom a device can reach, and by which topic and rules."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from lockgate.cli.output import console, home_option, json_option, print_json, safe, table
from lockgate.errors import NotFound
from lockgate.home import Home
from lockgate.policy.reach import Reach, Reached
from lockgate.registry.registry import Registry


@click.command()
@click.argument("name")
@click.argument("other", metavar="[OTHER]", required=False)
@click.option("--all", "every", is_flag=True, help="Ask about every other device, both ways.")
@home_option
@json_option
def reach(name: str, other: str | None, every: bool, home: Path, as_json: bool) -> None:
    """Say whether device NAME can ever publish what OTHER receives, or receive what OTHER publishes.

    For each way: a topic with the rules that allow it, or why there is none. Exit code 0: there is a way; 1: none.
    """
    if (other is None) is not every:
        raise click.UsageError("say whom: OTHER, or --all")
    with Home.open(home).registry(read_only=True) as database:
        devices = database.devices()
        search = Reach(Registry(database), devices)
        known = {device.name for device in devices}
        for each in (name, other):
            if each is not None and each not in known:
                raise NotFound(f"there is no device {each}", fix="lockgate device list shows the devices")
        if other is not None:
            ways = [search.find(name, other), search.find(other, name)]
        else:
            ways = [way for way in (*search.from_device(name), *search.to_device(name)) if way.is_possible]
    if as_json:
        print_json([{**msgspec.to_builtins(way), "is_possible": way.is_possible} for way in ways])
    elif other is not None:
        for way in ways:
            _show(way)
    else:
        _list(ways, len(devices) - 1)
    if not any(way.is_possible for way in ways):
        raise SystemExit(1)


def _show(way: Reached) -> None:
    out = console()
    verdict = "[red]yes[/]" if way.is_possible else "[green]no[/]"
    out.print(
        f"{verdict}: {safe(way.publisher)} to {safe(way.receiver)}{safe(f': {way.reason}' if way.reason else '')}"
    )
    if way.is_possible:
        out.print(f"    topic:     {safe(way.topic)}")
        out.print(f"    published: as {safe(way.publishes_as)}, {safe(way.publish)}")
        out.print(f"    received:  as {safe(way.receives_as)}, {safe(way.receive)}")
    for barrier in way.barriers:
        out.print(f"    {safe(barrier.overlap)}: {safe(barrier.publish)}; {safe(barrier.receive)}")
        for rule in barrier.denied_by:
            out.print(f"        denied by {safe(rule)}")


def _list(ways: list[Reached], others: int) -> None:
    if ways:
        made = table("from", "to", "topic", "published by", "received by")
        for way in ways:
            made.add_row(*map(safe, (way.publisher, way.receiver, way.topic, way.publish, way.receive)))
        console().print(made)
    console().print(f"{len(ways)} ways, of {2 * others} asked about")
