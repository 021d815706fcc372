"""`lockgate device add-many`: many devices from one table."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lockgate.ca.desk import Desk
from lockgate.cli.folders import PROVING_KINDS, look_over
from lockgate.cli.output import actor, console, home_option, json_option, print_json, safe
from lockgate.home import Home
from lockgate.model.device import CredentialKind
from lockgate.provision.bulk import Line, add_many, read_table
from lockgate.provision.bundle import NewCredential, make_bundle
from lockgate.registry.registrar import Registrar


@click.command(name="add-many")
@click.argument("table", metavar="TABLE.csv", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder for the devices' folders.")
@click.option(
    "--auth", type=click.Choice(PROVING_KINDS),
    default=CredentialKind.JWT_ES256.value,
    show_default=True, help="How a device proves who it is when its line does not say.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["pem", "nvs"]), default="pem", show_default=True,
    help="nvs: with a CSV for ESP-IDF's nvs_partition_gen.py in each folder.",
)  # fmt: skip
@click.option("--skip-registered", is_flag=True, help="Leave out devices that are registered: go on with a table.")
@home_option
@json_option
def add_table(table: Path, out: Path, auth: str, form: str, skip_registered: bool, home: Path, as_json: bool) -> None:
    """Register the devices of a table, and make a folder for each under --out.

    TABLE.csv has a header; its columns are name, and as wanted auth, groups (with ; between), public_key, csr,
    certificate and psk (files), and metadata.KEY. Nothing is made while any line is wrong; then
    batches of 200, each whole or not at all.
    """
    opened = Home.open(home)
    lines = read_table(table, CredentialKind(auth))
    address, root = opened.hub_address(), opened.root_pem()
    settings = opened.settings()
    hub_key_pem = opened.raw_public_pem() if any(line.kind is CredentialKind.RPK for line in lines) else b""
    begun = time.monotonic()
    with opened.registry() as registry:
        desk = Desk(opened, registry, actor()) if any(line.kind is CredentialKind.X509 for line in lines) else None

        def make(line: Line, folder: Path) -> NewCredential:
            return make_bundle(
                line.kind, line.name, folder, address, desk, root, settings.identity.jwt_audience, time.time(),
                given=line.given, with_nvs=form == "nvs", is_durable=False, hub_key_pem=hub_key_pem,
            )  # fmt: skip

        with _progress() as progress:
            task = progress.add_task("devices", total=len(lines))
            done = add_many(
                table, lines, out, Registrar(registry, actor(), limits=settings.registry), make,
                look_over=lambda line: look_over(opened, line.kind, line.name, line.given),
                skip_registered=skip_registered, on_added=lambda count: progress.advance(task, count),
            )  # fmt: skip
    seconds = time.monotonic() - begun
    if as_json:
        print_json({"added": done.added, "skipped": done.skipped, "folder": str(out), "seconds": round(seconds, 3)})
        return
    skipped = f", {done.skipped} were registered already" if done.skipped else ""
    console().print(f"[green]added[/] {done.added} devices in {seconds:.1f} s{skipped}; the folders are in {safe(out)}")


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
