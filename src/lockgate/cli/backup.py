"""`lockgate backup` and `lockgate restore`: all of a home in one file, and back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lockgate.backup import MIN_PASSPHRASE, make_backup, restore_backup
from lockgate.cli.output import actor, console, home_option, json_option, print_json, safe
from lockgate.errors import InvalidSettings
from lockgate.home import Home

VARIABLE = "LOCKGATE_BACKUP_PASSPHRASE"

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Read the passphrase from the first line of FILE. Without it: ${VARIABLE}, then a question.",
)


@click.command(short_help="Write all of a home into one file, while the hub runs.")
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
@click.option("--without-ca-keys", is_flag=True, help="Leave the keys of the certificate authority out.")
@home_option
@json_option
def backup(file: Path, passphrase_file: Path | None, without_ca_keys: bool, home: Path, as_json: bool) -> None:
    """Write all of a home into FILE: databases, settings, certificates, and private keys encrypted by a passphrase.

    The hub may run meanwhile. FILE is readable by you alone: it holds stored messages and password hashes as they are.
    """
    opened = Home.open(home)
    passphrase = read_passphrase(passphrase_file, is_new=True)
    with _bars() as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=done, total=total)

        manifest = make_backup(
            opened, file, passphrase, actor=actor(), with_ca_keys=not without_ca_keys, on_progress=show
        )
    size = file.stat().st_size
    if as_json:
        print_json(
            {"file": str(file), "bytes": size, "files": len(manifest.files), "with_ca_keys": not without_ca_keys}
        )
        return
    console().print(f"[green]written[/] {safe(file)}: {len(manifest.files)} files, {size:,} bytes")
    if without_ca_keys:
        console().print("the keys of the certificate authority are not in it: keep ca/*.key elsewhere")


@click.command(short_help="Make a home from a backup.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@passphrase_option
@home_option
@json_option
def restore(file: Path, passphrase_file: Path | None, home: Path, as_json: bool) -> None:
    """Make a home from the backup FILE. Nothing may be at --home yet; when something is wrong, nothing is written."""
    made = restore_backup(file, home, lambda: read_passphrase(passphrase_file, is_new=False), actor=actor())
    has_ca_key = made.issuing_key_path.exists()
    if as_json:
        print_json({"home": str(home), "names": made.server_names(), "has_ca_keys": has_ca_key})
        return
    out = console()
    out.print(f"[green]restored[/] {safe(home)}, from {safe(file)}")
    if not has_ca_key:
        out.print("it can issue no certificates until ca/issuing.key is back in its place")
    out.print(f"next: [bold]lockgate up --home {safe(home)}[/]")


def read_passphrase(file: Path | None, is_new: bool) -> str:
    """Give the passphrase: out of a file, the environment, or by asking.

    Raises:
        InvalidSettings: there is nobody to ask, or the file is empty.
    """
    if file is not None:
        lines = file.read_text(encoding="utf-8").splitlines()
        if not lines or not lines[0]:
            raise InvalidSettings(f"{file} is empty", fix="put the passphrase into its first line")
        return lines[0]
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    if not sys.stdin.isatty():
        raise InvalidSettings("no passphrase was given", fix=f"--passphrase-file FILE, or the variable {VARIABLE}")
    question = f"passphrase (at least {MIN_PASSPHRASE} characters)" if is_new else "passphrase"
    return str(click.prompt(question, hide_input=True, confirmation_prompt=is_new, err=True))


def _bars() -> Progress:
    """Give bars on standard error, which show on a terminal only."""
    stderr = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
    return Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
