"""`lockgate why`: why somebody was turned away, and what would mend it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from lockgate.cli.output import console, home_option, json_option, moment, print_json, safe
from lockgate.errors import NotFound
from lockgate.home import Home
from lockgate.model.refusal import Refusal
from lockgate.registry.refusals import as_reference
from lockgate.store.messages_reader import read_refusals


@click.command(short_help="Show why somebody was refused, and what fixes it.")
@click.argument("reference", required=False)
@click.option("--device", metavar="NAME", help="Only refusals of this device (or of who claimed to be it).")
@click.option("--last", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many to show.")
@home_option
@json_option
def why(home: Path, reference: str | None, device: str | None, last: int, as_json: bool) -> None:
    """Show why the last refusals happened, newest first, and what would fix each.

    REFERENCE is what the refused client was told, like K7Q2-9XMD.
    """
    opened = Home.open(home)
    wanted = None if reference is None else as_reference(reference)
    found = read_refusals(opened.messages_path, wanted, device, last)
    if reference is not None and not found:
        raise NotFound(f"no refusal has the reference {reference}", fix="lockgate why shows the last ones")
    if as_json:
        print_json([msgspec.to_builtins(refusal) for refusal in found])
        return
    out = console()
    if not found:
        out.print("nobody was refused")
    for refusal in found:
        for line in explain(refusal):
            out.print(line)


def explain(refusal: Refusal) -> list[str]:
    """Give a refusal as lines for a terminal: what, who, why, and the fix."""
    times = f", {refusal.count} times" if refusal.count > 1 else ""
    lines = [
        f"[bold]{safe(refusal.reference)}[/]  [red]{safe(refusal.reason)}[/]  "
        f"(step {refusal.step}, {moment(refusal.at)}{times})"
    ]
    who = f"{refusal.door} from {refusal.address}" if refusal.door else refusal.address
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
