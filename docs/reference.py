"""The reference pages, made from the code that they describe: settings, commands, errors, events.

`python -m docs.reference` writes them; with `--check` it changes nothing, and fails when a page is not what the code
says.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from lockgate import errors, settings
from lockgate.adapters.coap.mapping import code_of
from lockgate.adapters.coap.messages import Code, dotted
from lockgate.adapters.mqtt.mapping import connack_code, reason_code, suback_code
from lockgate.adapters.mqtt.packets import V5, V311, PacketType, ReasonCode
from lockgate.cli import cli
from lockgate.errors import LockgateError
from lockgate.events import Event
from lockgate.net.failures import TlsReason
from lockgate.scan.checks import ALL_CHECKS
from lockgate.scan.finding import Severity
from lockgate.settings import Settings
from tests.conformance import report
from tests.interop import faults, features

FOLDER = Path(__file__).parent / "reference"
SOURCE = Path(settings.__file__).parent
NOTE = "<!-- Made by `python -m docs.reference` from the source. Do not edit. -->\n"
LEVELS = ("debug", "info", "warning", "error", "exception")
ANSWERS = (
    PacketType.CONNACK,
    PacketType.PUBACK,
    PacketType.PUBREC,
    PacketType.SUBACK,
    PacketType.UNSUBACK,
    PacketType.DISCONNECT,
)


def main() -> int:
    """Write the pages, or check them; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    only_check = parser.parse_args().check
    stale = outdated()
    if only_check:
        for path in stale:
            print(f"error: {path.relative_to(FOLDER.parent.parent)} is not what the code says", file=sys.stderr)
        if stale:
            print("fix: python -m docs.reference", file=sys.stderr)
        return 1 if stale else 0
    made = pages()
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return 0


def outdated() -> list[Path]:
    """Give the pages that are missing or differ from what the code says."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def pages() -> dict[Path, str]:
    """Give the text of each page."""
    return {
        FOLDER / "settings.md": NOTE + settings_page(),
        FOLDER / "cli.md": NOTE + cli_page(),
        FOLDER / "errors.md": NOTE + errors_page(),
        FOLDER / "events.md": NOTE + events_page(),
        FOLDER / "scan.md": NOTE + scan_page(),
        FOLDER / "interop.md": NOTE + features.page(),
        FOLDER / "why.md": NOTE + faults.page(),
        FOLDER / "conformance.md": NOTE + report.page(),
    }


# Settings


def settings_page() -> str:
    """Give the page of all settings: type, default and meaning, by section."""
    notes = attribute_docstrings(inspect.getsource(settings))
    parts = [
        "# Settings\n\n"
        "All settings stand in `lockgate.toml` in the home. What is left out has its default. A misspelt setting is "
        "refused with its path. The unit is in the name.\n"
    ]
    for section in msgspec.structs.fields(Settings):
        kind = section.type
        parts.append(f"## `[{section.name}]`\n\n{_after_colon(inspect.getdoc(kind) or '')}\n")
        rows = [
            [
                f"`{field.name}`",
                _type_words(field.type),
                f"`{_toml(_default(field))}`",
                notes[kind.__name__, field.name],
            ]
            for field in msgspec.structs.fields(kind)
        ]
        parts.append(_table(["setting", "type", "default", "what it does"], rows))
    return "\n".join(parts)


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def attribute_docstrings(source: str) -> dict[tuple[str, str], str]:
    """Give the string that follows each attribute of each class, by class and attribute."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        for line, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(line, ast.AnnAssign):
                target: ast.expr = line.target
            elif isinstance(line, ast.Assign):
                target = line.targets[0]
            else:
                continue
            if (
                isinstance(target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                found[node.name, target.id] = " ".join(after.value.value.split())
    return found


def _type_words(kind: object) -> str:
    found = msgspec.inspect.type_info(kind)
    if isinstance(found, msgspec.inspect.LiteralType):
        return " or ".join(f"`{value}`" for value in found.values)
    if isinstance(found, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        what = "whole number" if isinstance(found, msgspec.inspect.IntType) else "number"
        if found.gt is not None:
            return f"{what}, above {found.gt:,}"
        if found.le is not None:
            return f"{what}, {found.ge or 0:,} to {found.le:,}"
        return f"{what}, at least {found.ge:,}" if found.ge is not None else what
    if isinstance(found, msgspec.inspect.BoolType):
        return "`true` or `false`"
    if isinstance(found, msgspec.inspect.StrType):
        return "text"
    if isinstance(found, msgspec.inspect.VarTupleType):
        return "list of texts"
    if isinstance(found, msgspec.inspect.DictType):
        return "table of texts"
    raise TypeError(f"no words for a setting of type {kind}")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


# Commands


def cli_page() -> str:
    """Give the page of all commands, with their arguments and options."""
    parts = [
        "# Command line\n\n"
        "Exit codes: 0 done, 1 refused or failed with one sentence on standard error, 2 wrong usage. `--json` prints "
        "facts for programs. `--home` is the hub's folder: the environment variable `LOCKGATE_HOME`, or "
        "`./lockgate-home`, when it is left out.\n"
    ]
    for context in walk(root()):
        parts.append(_command(context))
    return "\n".join(parts)


def root() -> click.Context:
    """Give the context of `lockgate` itself, with its settings: a command keeps the help option that it first gives."""
    return click.Context(cli, info_name="lockgate", **cli.context_settings)


def walk(context: click.Context) -> Iterator[click.Context]:
    """Give the context of each command under this one, groups before what they hold."""
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            if not child.hidden:
                yield from walk(click.Context(child, info_name=name, parent=context))


def _command(context: click.Context) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = f"## `{context.command_path}`\n\n```text\n{usage}\n```\n\n{_help(command.help or '')}\n"
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and "--help" not in parameter.opts:
            rows.append([f"`{record[0]}`", record[1].replace("  [", " [")])
    return f"{text}\n{_table(['option', 'what it does'], rows)}" if rows else text


def _help(text: str) -> str:
    """Give a command's help as Markdown; a block after \\b keeps its lines."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            paragraphs.append(f"```text\n{inspect.cleandoc(paragraph.lstrip(chr(8)).strip())}\n```")
        else:
            paragraphs.append(" ".join(paragraph.split()))
    return "\n\n".join(paragraphs)


# Errors


def errors_page() -> str:
    """Give the page of all errors and the codes of MQTT and CoAP that stand for them."""
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, LockgateError) and kind is not LockgateError
    ]
    kinds.sort(key=lambda kind: inspect.getsourcelines(kind)[1])
    parts = [
        "# Errors\n\n"
        "Inside lockgate every failure is one of these. `lockgate why` shows its reason, the step that refused and "
        "what would mend it. Anything else that goes wrong is logged with a reference, and the client hears 0x80, "
        "unspecified error.\n",
        _table(
            ["error", "what it says", "reason, unless a closer one is known", "step"],
            [_error_row(kind) for kind in kinds],
        ),
        "## MQTT 5.0\n\n"
        "The reason code in each packet. Where the best code is not legal in a packet (MQTT 5.0 section 2.4), the "
        "nearest legal one stands. A hub that stops says 0x8B, server shutting down, in DISCONNECT. Too many "
        "wrong passwords are 0x89, server busy, in CONNACK.\n",
        _table(
            ["error", *(answer.name for answer in ANSWERS)],
            [[f"`{kind.__name__}`", *(_code(reason_code(kind(), answer)) for answer in ANSWERS)] for kind in kinds],
        ),
        "## MQTT 3.1.1\n\n"
        "3.1.1 has return codes in CONNACK and one failure code in SUBACK. A refused PUBLISH has no answer: the "
        "connection is closed, or the message dropped (setting `mqtt.on_refused_publish`).\n",
        _table(
            ["error", "CONNACK", "SUBACK"],
            [
                [f"`{kind.__name__}`", str(connack_code(kind(), V311)), f"0x{suback_code(kind(), V311):02X}"]
                for kind in kinds
            ],
        ),
        "## CoAP\n\n"
        "The response code. A refused request's payload says why, with a reference; anything else that goes wrong is "
        "5.00.\n",
        _table(
            ["error", "code"],
            [
                [
                    f"`{kind.__name__}`",
                    f"{dotted(code_of(kind()))} {Code(code_of(kind())).name.lower().replace('_', ' ')}",
                ]
                for kind in kinds
            ],
        ),
        "## TLS\n\n"
        "A client that does not get through TCP or TLS never reaches MQTT; where TLS has an alert for it, the alert is "
        "sent. These are the reasons that `lockgate why` shows:\n",
        "\n".join(f"- {reason.value}" for reason in TlsReason) + "\n",
        "## Codes\n\n" + _table(["code", "name"], [[f"0x{code:02X}", _words(code)] for code in ReasonCode]),
    ]
    assert all(connack_code(kind(), V5) == reason_code(kind(), PacketType.CONNACK) for kind in kinds)
    return "\n".join(parts)


def _error_row(kind: type[LockgateError]) -> list[str]:
    return [f"`{kind.__name__}`", _one_line(kind), kind.default_reason, kind.default_step.value]


def _code(code: int) -> str:
    return f"0x{code:02X}"


def _words(code: ReasonCode) -> str:
    return code.name.lower().replace("_", " ").replace("qos", "QoS")


# Events


def events_page() -> str:
    """Give the page of all events: the level and the fields of each, and whether it is in the audit trail."""
    said = _logged()
    audited = _audited()
    rows, silent = [], []
    for event in Event:
        levels, fields = said.get(event.name, (set(), []))
        if not levels and event.name not in audited:
            silent.append(f"`{event.value}`")
            continue
        rows.append(
            [
                f"`{event.value}`",
                ", ".join(sorted(levels)) or "not logged",
                ", ".join(f"`{field}`" for field in fields),
                "yes" if event.name in audited else "no",
            ]
        )
    parts = [
        "# Events\n\n"
        "What the hub tells on standard error: lines for people on a terminal, one JSON object per line elsewhere "
        "(`event`, `level`, `timestamp` and the fields below). The setting `log.level` hides what is less severe. "
        "What administrators do, and sessions that the hub ends, are also kept in the databases as an "
        "[audit trail](../explain/audit.md) that nobody can rewrite unseen. No event holds a key, a password, a "
        "token or a payload.\n",
        _table(["event", "level", "fields", "audit trail"], rows),
    ]
    if silent:
        parts.append(f"Reserved names, not said by this release: {', '.join(silent)}.\n")
    return "\n".join(parts)


def _logged() -> dict[str, tuple[set[str], list[str]]]:
    """Give for each event the levels at which it is logged and the fields that go with it, read from the source."""
    found: dict[str, tuple[set[str], list[str]]] = {}
    for call in _calls():
        level = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        names = _event_names(call)
        if level == "_refuse":  # the journal's one way to log a refusal
            call, level = _refuse_log(), "warning"
        if level not in LEVELS:
            continue
        for name in names:
            levels, fields = found.setdefault(name, (set(), []))
            levels.add("error" if level == "exception" else level)
            fields += [k.arg for k in call.keywords if k.arg and k.arg not in fields and k.arg != "exc_info"]
    return found


AUDITING = ("append", "note_audit", "note_device", "_own_row", "_anchor", "save_audit")
"""Calls that put an event into the audit trail."""


def _audited() -> set[str]:
    """Give the events that go into the audit trail: those that the registry writes, and the journal's own."""
    registry = (SOURCE / "store" / "registry_db.py").read_text(encoding="utf-8")
    home = (SOURCE / "home.py").read_text(encoding="utf-8")
    names = {name for text in (registry, home) for name in _names_in(ast.parse(text))}
    for call in _calls():
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in AUDITING:
            names |= _names_in(call)
    return names


def _refuse_log() -> ast.Call:
    tree = ast.parse((SOURCE / "registry" / "journal.py").read_text(encoding="utf-8"))
    refuse = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "_refuse")
    return next(
        n
        for n in ast.walk(refuse)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "warning"
    )


def _calls() -> Iterator[ast.Call]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield node


def _event_names(call: ast.Call) -> set[str]:
    return _names_in(call.args[0]) if call.args else set()


def _names_in(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event"
    }


# Scan


def scan_page() -> str:
    """Give the page of all checks of `lockgate scan`: what each finds, how bad that is, and what mends it."""
    notes = attribute_docstrings(inspect.getsource(inspect.getmodule(Severity) or Severity))
    parts = [
        f"# Checks\n\nThe {len(ALL_CHECKS)} checks of `lockgate scan`. Those marked with * need a running hub. "
        "[Fit to go live?](../guides/go-live.md) tells how to use them.\n",
        _table(
            ["severity", "what it means"], [[severity.value, notes["Severity", severity.name]] for severity in Severity]
        ),
        "`up --production` refuses to start while a severe finding stands that needs no running hub to be seen.\n",
        _table(
            ["check", "severity", "what it finds"],
            [[f"[{c.id}](#{c.id.lower()})" + " \\*" * c.needs_hub, c.severity.value, c.title] for c in ALL_CHECKS],
        ),
    ]
    for check in ALL_CHECKS:
        text = f"## {check.id}\n\n**{check.title}** ({check.severity})\n\n{check.meaning}\n\nFix: {check.fix}\n"
        parts.append(text + (f"\nSee: {check.reference}\n" if check.reference else ""))
    return "\n".join(parts)


# Markdown


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _one_line(kind: type[object]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _after_colon(text: str) -> str:
    """Give a section's docstring without the name that stands before its colon."""
    said = " ".join(text.split()).partition(": ")[2]
    return said[:1].upper() + said[1:]


if __name__ == "__main__":
    sys.exit(main())
