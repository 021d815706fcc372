"""`lockgate policy`: who may publish or receive what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from lockgate.cli.group import group
from lockgate.cli.output import Noun, actor, console, home_option, json_option, print_json, safe, table
from lockgate.cli.policy_files import check_policy, export_policy, import_policy
from lockgate.cli.policy_reach import reach
from lockgate.cli.policy_role import role
from lockgate.errors import NotFound
from lockgate.home import Home
from lockgate.model.permission import EVERYONE, QOS_LEVELS, Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.topic import topic_filter, topic_name
from lockgate.policy import Grant, PolicyEngine
from lockgate.registry.registrar import Registrar
from lockgate.registry.registry import Registry

_F = TypeVar("_F", bound=Callable[..., Any])
_FILTER_HELP = "Topics; may hold ${device}, ${group} and ${client_id}."


@click.group(cls=Noun, short_help="Say who may publish and receive what, and ask why.")
def policy() -> None:
    """Look at the rules, change them, and ask why they decide as they do."""


for command in (role, export_policy, import_policy, check_policy, reach):
    policy.add_command(command)


@policy.command()
@click.argument("name")
@click.argument("operation", type=click.Choice([operation.value for operation in Operation]))
@click.argument("topic")
@click.option("--qos", type=click.IntRange(0, 2), default=0, show_default=True, help="The message's QoS.")
@click.option("--retain", is_flag=True, help="The message is retained.")
@click.option("--payload", type=click.IntRange(0), default=0, metavar="BYTES", help="How large its payload is.")
@click.option("--client-id", metavar="ID", help="The client id it connects with, if not its name.")
@home_option
@json_option
def explain(
    name: str, operation: str, topic: str, qos: int, retain: bool, payload: int, client_id: str | None, home: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Say whether device NAME may publish on, or receive, TOPIC, and which rule says so.

    With receive, TOPIC may be a topic filter, as in a subscription. Exit code 0: it may; 1: it may not.
    """
    opened = Home.open(home)
    with opened.registry(read_only=True) as database:
        registry = Registry(database)
        found = registry.device(name)
        if found is None:
            raise NotFound(f"there is no device {name}", fix="lockgate device list shows the devices")
        good = [c.id for c in found.credentials if not c.is_revoked]
        principal = Principal(name, client_id or name, "explain", good[0] if good else 0)
        engine = PolicyEngine(registry)
        if operation == Operation.RECEIVE and ("+" in topic or "#" in topic):
            answer = engine.authorize_filter(principal, topic_filter(topic))
        else:
            answer = engine.authorize(principal, Operation(operation), topic_name(topic), qos, retain, payload)
    decision = answer.decision
    rule = str(decision.rule) if decision.rule is not None else None
    is_allowed = isinstance(answer, Grant)
    if as_json:
        facts = {"is_allowed": is_allowed, "reason": decision.reason, "rule": rule, "fix": decision.fix}
        print_json({"device": name, "operation": operation, "topic": topic, **facts})
    else:
        out = console()
        verdict = "[green]yes[/]" if is_allowed else "[red]no[/]"
        out.print(f"{verdict}: {safe(name)} {operation} {safe(topic)}: {safe(decision.reason)}")
        if rule is not None:
            out.print(f"    rule: {safe(rule)}")
        if decision.fix:
            out.print(f"    fix:  [green]{safe(decision.fix)}[/]")
    if not is_allowed:
        raise SystemExit(1)


@policy.command(name="list")
@home_option
@json_option
def list_rules(home: Path, as_json: bool) -> None:
    """List the rules."""
    with Home.open(home).registry(read_only=True) as registry:
        rules = registry.rules()
    if as_json:
        print_json(rules)
        return
    made = table("rule", "who", "says", "what", "filter", "QoS", "retain", "bytes", "rate")
    made.add_row("built in", "every device", "allow", "publish, receive", "devices/${device}/#", "0,1,2", "yes", "", "")
    for rule in rules:
        retain = "yes" if rule.retain else "no"
        levels = ",".join(map(str, rule.qos))
        size = "" if rule.max_payload_bytes is None else str(rule.max_payload_bytes)
        rate = "" if rule.messages_per_second is None else f"{rule.messages_per_second:g}/s"
        limits = (levels, retain, size, rate) if rule.effect is Effect.ALLOW else ("", "", "", "")
        made.add_row(str(rule.id), rule.subject, rule.effect, rule.operation, safe(rule.filter), *limits)
    console().print(made)


def _subject_options(command: _F) -> _F:
    """Give a command what says for whom a rule is, and about which topics."""
    for option in reversed((
        click.option("--device", metavar="NAME", help="For this device."),
        click.option("--group", metavar="G", help="For all devices of this group."),
        click.option("--role", metavar="R", help="For all who hold this role."),
        click.option("--everyone", is_flag=True, help="For every device."),
        click.option("--publish", multiple=True, metavar="FILTER", help=_FILTER_HELP),
        click.option("--receive", multiple=True, metavar="FILTER", help=_FILTER_HELP),
    )):  # fmt: skip
        command = option(command)
    return command


@policy.command()
@_subject_options
@click.option("--qos", metavar="LEVELS", default="0,1,2", show_default=True, help="The QoS levels it allows.")
@click.option("--max-qos", type=click.IntRange(0, 2), help="All QoS levels up to this one, in place of --qos.")
@click.option("--no-retain", is_flag=True, help="Retained messages are not allowed.")
@click.option("--max-payload", type=click.IntRange(0), metavar="BYTES", help="The largest payload it allows.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Messages per second and device.")
@home_option
@json_option
def allow(
    device: str | None, group: str | None, role: str | None, everyone: bool, publish: tuple[str, ...],
    receive: tuple[str, ...], qos: str, max_qos: int | None, no_retain: bool, max_payload: int | None,
    rate: float | None, home: Path, as_json: bool,
) -> None:  # fmt: skip
    """Allow something. A running hub follows at once.

    --no-retain and --rate limit what is published; --qos and --max-payload bound what is received as well.
    """
    subject = _subject(device, group, role, everyone)
    levels = _levels(qos) if max_qos is None else QOS_LEVELS[: max_qos + 1]
    if rate is not None and not publish:
        raise click.UsageError("--rate is for what is published: --publish FILTER")
    _add(home, [
        *(Rule(subject, Operation.PUBLISH, text, Effect.ALLOW, levels, not no_retain, 0, max_payload, rate)
          for text in publish),
        *(Rule(subject, Operation.RECEIVE, text, Effect.ALLOW, levels, max_payload_bytes=max_payload)
          for text in receive),
    ], as_json)  # fmt: skip


@policy.command()
@_subject_options
@home_option
@json_option
def deny(
    device: str | None, group: str | None, role: str | None, everyone: bool, publish: tuple[str, ...],
    receive: tuple[str, ...], home: Path, as_json: bool,
) -> None:  # fmt: skip
    """Deny something. Deny wins over every allow; a running hub follows at once."""
    subject = _subject(device, group, role, everyone)
    _add(home, [
        *(Rule(subject, Operation.PUBLISH, text, Effect.DENY) for text in publish),
        *(Rule(subject, Operation.RECEIVE, text, Effect.DENY) for text in receive),
    ], as_json)  # fmt: skip


@policy.command()
@click.argument("numbers", metavar="RULE...", type=int, nargs=-1, required=True)
@home_option
@json_option
def remove(numbers: tuple[int, ...], home: Path, as_json: bool) -> None:
    """Remove rules by their numbers."""
    with Home.open(home).registry() as registry:
        registrar = Registrar(registry, actor())
        for number in numbers:
            registrar.remove_rule(number)
            if not as_json:
                console().print(f"[green]removed[/] rule {number}")
    if as_json:
        print_json([{"rule": number, "done": "removed"} for number in numbers])


for older, text in (
    (group.commands["join"], "The same as `lockgate group join`, by its older name."),
    (group.commands["leave"], "The same as `lockgate group leave`, by its older name."),
):
    policy.add_command(click.Command(older.name, params=older.params, callback=older.callback, help=text, hidden=True))


def _subject(device: str | None, group: str | None, role: str | None, everyone: bool) -> str:
    named = [
        f"{kind}:{name}" for kind, name in (("device", device), ("group", group), ("role", role)) if name is not None
    ]
    chosen = [*named, *([EVERYONE] if everyone else [])]
    if len(chosen) != 1:
        raise click.UsageError("say for whom: exactly one of --device NAME, --group G, --role R and --everyone")
    return chosen[0]


def _levels(text: str) -> tuple[int, ...]:
    levels = sorted(set(text.split(",")))
    if not set(levels) <= {"0", "1", "2"}:
        raise click.UsageError(f"--qos takes levels such as 0,1: not {text!r}")
    return tuple(int(level) for level in levels)


def _add(home: Path, rules: list[Rule], as_json: bool) -> None:
    if not rules:
        raise click.UsageError("say what: --publish FILTER, --receive FILTER, or both")
    with Home.open(home).registry() as registry:
        registrar = Registrar(registry, actor())
        added = [registrar.add_rule(rule) for rule in rules]
    if as_json:
        print_json(added)
        return
    for rule in added:
        console().print(f"[green]added[/] {safe(rule)}")
