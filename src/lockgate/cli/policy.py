"""`lockgate policy`: who may publish or receive what."""

from __future__ import annotations

from pathlib import Path

import click

from lockgate.cli.output import actor, console, home_option, json_option, print_json, safe, table
from lockgate.errors import NotFound
from lockgate.home import Home
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.topic import topic_filter, topic_name
from lockgate.policy import Grant, PolicyEngine
from lockgate.registry.registrar import Registrar
from lockgate.registry.registry import Registry


@click.group(short_help="Say who may publish and receive what, and ask why.")
def policy() -> None:
    """Look at the rules, change them, and ask why they decide as they do."""


@policy.command()
@click.argument("name")
@click.argument("operation", type=click.Choice([operation.value for operation in Operation]))
@click.argument("topic")
@click.option("--qos", type=click.IntRange(0, 2), default=0, show_default=True, help="The message's QoS.")
@click.option("--retain", is_flag=True, help="The message is retained.")
@click.option("--client-id", metavar="ID", help="The client id it connects with, if not its name.")
@home_option
@json_option
def explain(
    name: str, operation: str, topic: str, qos: int, retain: bool, client_id: str | None, home: Path, as_json: bool
) -> None:
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
            answer = engine.authorize(principal, Operation(operation), topic_name(topic), qos, retain)
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
    made = table("rule", "who", "says", "what", "filter", "up to QoS", "retain")
    made.add_row("built in", "every device", "allow", "publish, receive", "devices/${device}/#", "2", "yes")
    for rule in rules:
        retain = "yes" if rule.retain else "no"
        made.add_row(
            str(rule.id), rule.subject, rule.effect, rule.operation, safe(rule.filter), str(rule.max_qos), retain
        )
    console().print(made)


@policy.command()
@click.option("--device", "device", metavar="NAME", help="For this device.")
@click.option("--group", "group", metavar="G", help="For all devices of this group.")
@click.option("--everyone", is_flag=True, help="For every device.")
@click.option("--publish", multiple=True, metavar="FILTER", help="Topics; may hold ${device} and ${client_id}.")
@click.option("--receive", multiple=True, metavar="FILTER", help="Topics; may hold ${device} and ${client_id}.")
@click.option("--qos", type=click.IntRange(0, 2), default=2, show_default=True, help="The highest QoS it allows.")
@click.option("--no-retain", is_flag=True, help="Retained messages are not allowed.")
@home_option
@json_option
def allow(
    device: str | None, group: str | None, everyone: bool, publish: tuple[str, ...], receive: tuple[str, ...],
    qos: int, no_retain: bool, home: Path, as_json: bool,
) -> None:  # fmt: skip
    """Allow something. A running hub follows at once."""
    subject = _subject(device, group, everyone)
    _add(home, [
        *(Rule(subject, Operation.PUBLISH, text, Effect.ALLOW, qos, not no_retain) for text in publish),
        *(Rule(subject, Operation.RECEIVE, text, Effect.ALLOW, qos) for text in receive),
    ], as_json)  # fmt: skip


@policy.command()
@click.option("--device", "device", metavar="NAME", help="For this device.")
@click.option("--group", "group", metavar="G", help="For all devices of this group.")
@click.option("--everyone", is_flag=True, help="For every device.")
@click.option("--publish", multiple=True, metavar="FILTER", help="Topics; may hold ${device} and ${client_id}.")
@click.option("--receive", multiple=True, metavar="FILTER", help="Topics; may hold ${device} and ${client_id}.")
@home_option
@json_option
def deny(
    device: str | None, group: str | None, everyone: bool, publish: tuple[str, ...], receive: tuple[str, ...],
    home: Path, as_json: bool,
) -> None:  # fmt: skip
    """Deny something. Deny wins over every allow; a running hub follows at once."""
    subject = _subject(device, group, everyone)
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


@policy.command()
@click.argument("group")
@click.argument("devices", metavar="NAME...", nargs=-1, required=True)
@home_option
@json_option
def join(group: str, devices: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Make devices members of GROUP."""
    with Home.open(home).registry() as registry:
        registrar = Registrar(registry, actor())
        for name in devices:
            registrar.join(name, group)
            if not as_json:
                console().print(f"[green]joined[/] {safe(name)} to {safe(group)}")
    if as_json:
        print_json([{"device": name, "group": group, "done": "joined"} for name in devices])


@policy.command()
@click.argument("group")
@click.argument("devices", metavar="NAME...", nargs=-1, required=True)
@home_option
@json_option
def leave(group: str, devices: tuple[str, ...], home: Path, as_json: bool) -> None:
    """End the membership of devices in GROUP."""
    with Home.open(home).registry() as registry:
        registrar = Registrar(registry, actor())
        for name in devices:
            registrar.leave(name, group)
            if not as_json:
                console().print(f"[green]left[/]: {safe(name)} is no longer in {safe(group)}")
    if as_json:
        print_json([{"device": name, "group": group, "done": "left"} for name in devices])


def _subject(device: str | None, group: str | None, everyone: bool) -> str:
    if [device is not None, group is not None, everyone].count(True) != 1:
        raise click.UsageError("say for whom: exactly one of --device NAME, --group G and --everyone")
    if everyone:
        return "everyone"
    return f"device:{device}" if device is not None else f"group:{group}"


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
