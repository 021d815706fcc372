"""`lockgate scan`: is this home, and the hub that runs on it, fit to go live?"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from lockgate.cli.output import console, home_option, json_option, print_json, safe, table
from lockgate.errors import InvalidSettings
from lockgate.fitness import gather
from lockgate.home import Home, write_private
from lockgate.scan.checks import ALL_CHECKS
from lockgate.scan.finding import Check, Finding, Report, Severity
from lockgate.scan.runner import chosen, parse_acceptance, require_known
from lockgate.scan.runner import scan as run_checks
from lockgate.scan.sarif import to_sarif

STYLES = {
    Severity.SEVERE: "bold white on red",
    Severity.HIGH: "bold red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "dim",
}


@click.command(short_help="Check whether this home and its running hub are fit to go live.")
@click.option("--only", multiple=True, metavar="ID", help="Make this check alone. Repeat it for more.")
@click.option("--skip", multiple=True, metavar="ID=REASON", help="Live with what this check finds, and say why.")
@click.option(
    "--fail-on", type=click.Choice(["severe", "high", "medium"]), default="severe", show_default=True,
    help="End with exit code 1 when something at least so bad stands.",
)  # fmt: skip
@click.option(
    "--sarif", "sarif_path", metavar="FILE", help="Write the report as SARIF 2.1.0, too; - for standard output."
)
@click.option("--list", "only_list", is_flag=True, help="List all checks, and make none.")
@home_option
@json_option
def scan(
    home: Path,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    fail_on: str,
    sarif_path: str | None,
    only_list: bool,
    as_json: bool,
) -> None:
    """Check whether this home, and the hub that runs on it, are fit to go live.

    Nothing is changed. Where a hub runs, its doors are tried as clients would that ought to be refused; the hub notes
    these refusals, of the client lockgate-scan. What somebody lives with stands in lockgate.toml with the reason:
    [scan] accept = {"LG-HOST-003" = "no network here"}.
    """
    if only_list:
        _list_checks(as_json)
        return
    opened = existing_home(home)
    checks = chosen(ALL_CHECKS, only)
    report = examine(opened, checks, dict(map(parse_acceptance, skip)))
    if sarif_path is not None:
        _write_sarif(report, checks, sarif_path)
    if as_json:
        print_json(facts(report))
    elif sarif_path != "-":
        show(report, console())
    if report.standing(Severity(fail_on)):
        sys.exit(1)


def existing_home(path: Path) -> Home:
    """Give the home at `path`, in order or not: what is wrong with it is for the checks to say."""
    if not (path / "lockgate.toml").exists():
        raise InvalidSettings(f"there is no home at {path}", fix=f"lockgate init --home {path}")
    return Home(path.absolute())


def examine(home: Home, checks: Iterable[Check], skipped: dict[str, str] | None = None) -> Report:
    """Run checks over a home, with what its settings accept and what the command line skips.

    Raises:
        NotFound: when an id that is accepted or skipped is none.
    """
    subject = gather(home, time.time())
    accepted = {**(subject.settings.scan.accept if subject.settings is not None else {}), **(skipped or {})}
    require_known(ALL_CHECKS, accepted)
    return run_checks(subject, tuple(checks), accepted=accepted)


def refuse_unfit(home: Home) -> None:
    """Come back when nothing severe stands in a home that is about to go live; else say what does, and exit with 1."""
    report = examine(home, [check for check in ALL_CHECKS if not check.needs_hub])
    standing = report.standing(Severity.SEVERE)
    if not standing:
        return
    stderr = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    for finding in standing:
        stderr.print(f"[bold red]error:[/] {safe(sentence(finding))}")
        stderr.print(f"[bold]fix:[/] {safe(finding.fix)}")
    sys.exit(1)


def sentence(finding: Finding) -> str:
    """Say a finding in one sentence."""
    return f"not fit for production: {finding.title} ({finding.check}): {finding.text}"


def facts(report: Report) -> dict[str, Any]:
    """Give a report as `--json` prints it."""
    counts = {severity.value: sum(f.severity is severity for f in report.findings) for severity in Severity}
    return {**msgspec.to_builtins(report), "counts": counts}


def show(report: Report, out: Console) -> None:
    """Print a report for people: what was found, by severity, with fixes; then what could not be checked."""
    for severity in Severity:
        found = [f for f in report.findings if f.severity is severity and not f.accepted]
        if found:
            out.print(f"[{STYLES[severity]}]{severity.upper()}[/]")
        for finding in found:
            out.print(f"  [bold]{finding.check}[/]  {safe(finding.title)}")
            out.print(f"      {safe(finding.text)}")
            out.print(f"      fix: [green]{safe(finding.fix)}[/]")
    accepted = [f for f in report.findings if f.accepted]
    if accepted:
        out.print("[bold]ACCEPTED[/]")
    for finding in accepted:
        out.print(f"  [bold]{finding.check}[/]  {safe(finding.title)} ({finding.severity}): {safe(finding.text)}")
        out.print(f"      why: {safe(finding.accepted)}")
    if report.unchecked:
        out.print("[bold]COULD NOT BE CHECKED[/]")
    for reason in dict.fromkeys(each.reason for each in report.unchecked):
        ids = ", ".join(each.check for each in report.unchecked if each.reason == reason)
        out.print(f"  {ids}: {safe(reason)}")
    standing = len([f for f in report.findings if not f.accepted])
    out.print(
        f"{len(report.passed)} checks passed, {standing} findings stand, {len(accepted)} accepted, "
        f"{len(report.unchecked)} checks could not be made"
    )


def _list_checks(as_json: bool) -> None:
    if as_json:
        print_json(
            [{"id": c.id, "severity": c.severity, "title": c.title, "needs_hub": c.needs_hub} for c in ALL_CHECKS]
        )
        return
    made = table("check", "severity", "what it finds")
    for check in ALL_CHECKS:
        made.add_row(check.id, check.severity.value, check.title)
    console().print(made)


def _write_sarif(report: Report, checks: Iterable[Check], path: str) -> None:
    text = msgspec.json.format(msgspec.json.encode(to_sarif(report, tuple(checks)))) + b"\n"
    if path == "-":
        click.echo(text.decode(), nl=False)
        return
    write_private(Path(path).absolute(), text)
