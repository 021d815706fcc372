"""`lockgate policy export`, `import` and `check`: the policy as a file, and what people expect of it."""

from __future__ import annotations

from pathlib import Path

import click

from lockgate.cli.output import actor, console, home_option, json_option, print_json, safe, table
from lockgate.errors import InvalidSettings, in_words
from lockgate.home import Home
from lockgate.policy.engine import RuleSource
from lockgate.policy.expectations import Outcome, WrittenRules, check, described_devices, read_expectations
from lockgate.registry.policy_file import Document, describe, plan, read_policy, write_policy
from lockgate.registry.registry import Registry
from lockgate.registry.rules import RoleBook
from lockgate.store.registry_db import RegistryDb
from lockgate.store.rules import held_roles, roles, roles_by_holder

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="export")
@click.argument("file", metavar="[FILE]", type=_FILE, required=False)
@home_option
@json_option
def export_policy(file: Path | None, home: Path, as_json: bool) -> None:
    """Write all rules and roles as TOML, to FILE or standard output; the same policy gives the same text."""
    with Home.open(home).registry(read_only=True) as registry:
        document = _document(registry)
    if as_json:
        print_json(document)
    elif file is None:
        click.echo(write_policy(document), nl=False)
    else:
        _write(file, write_policy(document))
        console().print(f"[green]wrote[/] {len(document.rules)} rules to {safe(file)}")


@click.command(name="import")
@click.argument("file", type=_FILE)
@click.option("--replace", is_flag=True, help="Remove the rules and roles that are not in FILE.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@home_option
@json_option
def import_policy(file: Path, replace: bool, dry_run: bool, home: Path, as_json: bool) -> None:
    """Bring in the rules and roles of FILE: all of them, or, when one cannot be, none."""
    document = read_policy(_read(file), str(file))
    with Home.open(home).registry(read_only=dry_run) as registry:
        change = plan(_document(registry), document, replace)
        if not dry_run and not change.is_empty:
            RoleBook(registry, actor()).change(change)
    lines = describe(change)
    if as_json:
        print_json({"changes": lines, "done": not dry_run})
        return
    for line in lines:
        console().print(f"[{'green' if line.startswith('+') else 'red'}]{safe(line)}[/]")
    done = "would change" if dry_run else "changed"
    console().print(f"{done}: {len(lines)} lines" if lines else "nothing to change")


@click.command(name="check")
@click.argument("file", metavar="EXPECTATIONS", type=_FILE)
@click.option("--policy", "policy_file", type=_FILE, metavar="FILE", help="Check this exported policy; needs no home.")
@home_option
@json_option
def check_policy(file: Path, policy_file: Path | None, home: Path, as_json: bool) -> None:
    """Check that the policy answers as EXPECTATIONS (TOML) says. Exit code 1 when an answer is another."""
    expectations = read_expectations(_read(file), str(file))
    if policy_file is not None:
        document = read_policy(_read(policy_file), str(policy_file))
        written = WrittenRules(document.rules, roles_by_holder(document.held), described_devices(expectations))
        outcomes = check(expectations, written)
    else:
        with Home.open(home).registry(read_only=True) as registry:
            source: RuleSource = Registry(registry)
            outcomes = check(expectations, source)
    failed = [outcome for outcome in outcomes if not outcome.is_met]
    if as_json:
        print_json(outcomes)
    else:
        _show(outcomes, failed)
    if failed:
        raise SystemExit(1)


def _show(outcomes: list[Outcome], failed: list[Outcome]) -> None:
    if failed:
        made = table("device", "asks to", "expected", "came", "why", "rule")
        for outcome in failed:
            each = outcome.expectation
            expected = "allowed" if each.allowed else "denied"
            came = "allowed" if outcome.is_allowed else "denied"
            by = f" by {each.rule}" if each.rule else ""
            asked = f"{each.operation} {each.topic}"
            made.add_row(*map(safe, (each.device, asked, expected + by, came, outcome.reason, outcome.rule)))
        console().print(made)
    met = len(outcomes) - len(failed)
    console().print(f"{met} of {len(outcomes)} expectations are met")


def _document(registry: RegistryDb) -> Document:
    return Document(tuple(registry.rules()), tuple(roles(registry)), tuple(held_roles(registry)))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{file} cannot be read: {in_words(error)}", fix="name a TOML file") from error


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidSettings(f"{file} cannot be written: {in_words(error)}", fix="name another file") from error
