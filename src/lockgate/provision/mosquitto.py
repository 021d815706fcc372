"""A mosquitto's configuration as lockgate sees it: devices, rules, and a word on every line.

What is the same here is taken over. What is decided otherwise is said: mosquitto asks who may publish, lets anybody use
any client id and subscribe to anything; here a client id belongs to a device, and a subscription must be allowed. What
has no place here is said as well, with what to do instead. Nothing is passed over in silence.
Source: mosquitto.conf(5), and mosquitto 2.0's security_default.c for the order of its decisions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from lockgate.errors import LockgateError
from lockgate.model.device import Credential, CredentialKind, check_name
from lockgate.model.mosquitto_hash import MosquittoHash
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.topic import topic_filter
from lockgate.provision.mosquitto_files import AclLine, Line, PasswordLine, read_acl, read_conf, read_passwords
from lockgate.provision.mosquitto_options import OPTIONS, Verdict, with_prefix

EVERYONE = "everyone"
_OPERATIONS = {
    "read": (Operation.RECEIVE,),
    "write": (Operation.PUBLISH,),
    "readwrite": (Operation.PUBLISH, Operation.RECEIVE),
    "deny": (Operation.PUBLISH, Operation.RECEIVE),
}


class Taken(StrEnum):
    """What became of a line."""

    OVER = "taken over"
    SAME = "as it is here"
    DIFFERS = "differs"
    BY_HAND = "by hand"
    NOT = "not taken over"


class Note(msgspec.Struct, frozen=True):
    """One line of the report: where it stood, what it said, what became of it, and why."""

    file: str
    number: int
    line: str
    taken: Taken
    why: str


class NewDevice(msgspec.Struct, frozen=True):
    """A device to register: its password's hash as mosquitto kept it, and its rules."""

    name: str
    credential: Credential
    rules: tuple[Rule, ...]


class Plan(msgspec.Struct, frozen=True):
    """What an import would do."""

    devices: tuple[NewDevice, ...]
    rules: tuple[Rule, ...]
    notes: tuple[Note, ...]


class _Reading:
    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.credentials: dict[str, Credential] = {}
        self.rules: defaultdict[str, list[Rule]] = defaultdict(list)
        self.acl_lines: list[AclLine] = []
        self.has_acl = False

    def note(self, line: Line | AclLine | PasswordLine, taken: Taken, why: str, shown: str = "") -> None:
        text = shown or (line.user if isinstance(line, PasswordLine) else line.shown)
        self.notes.append(Note(line.file, line.number, text, taken, why))


def read_mosquitto(conf: Path, known: frozenset[str] = frozenset()) -> Plan:
    """Give what an import of a mosquitto.conf would do, and a note on each line.

    Args:
        conf: the path of mosquitto.conf; files that it names are looked for where it says, then beside it.
        known: names of devices that are there already: these are left as they are.

    Raises:
        InvalidSettings: a file cannot be read.
    """
    reading = _Reading()
    lines = read_conf(conf)
    is_bridge = False
    for line in lines:
        is_bridge = line.word == "connection" or (is_bridge and line.word != "listener")
        if line.word == "password_file":
            reading.note(line, Taken.OVER, "its users become devices; see its lines")
            _take_users(reading, read_passwords(_beside(conf, line.rest)), known)
        elif line.word == "acl_file":
            reading.has_acl = True
            reading.note(line, Taken.OVER, "its lines become rules; see there")
            reading.acl_lines += read_acl(_beside(conf, line.rest))
        elif is_bridge:
            reading.note(line, Taken.NOT, "a bridge to another broker: there are none here")
        else:
            _note_option(reading, line)
    for acl in reading.acl_lines:
        _take_acl(reading, acl)
    reading.notes += [Note(str(conf), 0, line, taken, why) for line, taken, why in _in_general(reading.has_acl)]
    devices = tuple(
        NewDevice(name, credential, tuple(reading.rules.pop(f"device:{name}", ())))
        for name, credential in reading.credentials.items()
    )
    return Plan(devices, tuple(reading.rules[EVERYONE]), tuple(reading.notes))


def _in_general(has_acl: bool) -> Iterator[tuple[str, Taken, str]]:
    """Give what no line says and is otherwise all the same."""
    if not has_acl:
        yield (
            "(no acl_file)", Taken.NOT,
            "mosquitto lets every user do everything then; here each device has devices/NAME/# and no more: allow what"
            " it needs, lockgate policy allow",
        )  # fmt: skip
    yield (
        "(subscriptions)", Taken.DIFFERS,
        "mosquitto grants every subscription and keeps back what may not be read; here a filter that reaches beyond"
        " the rules is refused (SUBACK 0x87)",
    )  # fmt: skip
    yield (
        "(own tree)",
        Taken.DIFFERS,
        "every device may use devices/NAME/#; a deny rule can take it away",
    )
    yield "(sessions)", Taken.NOT, "mosquitto.db is not read: sessions, queues and retained messages begin anew"


def _take_users(reading: _Reading, users: list[PasswordLine], known: frozenset[str]) -> None:
    for user in users:
        try:
            check_name(user.user)
            if user.user in known:
                reading.note(user, Taken.NOT, "there is a device of this name already; it stays as it is")
                continue
            if user.user in reading.credentials:
                reading.note(user, Taken.NOT, "the user stands in a password file before; that one holds")
                continue
            held = MosquittoHash.from_text(user.hash)
        except LockgateError as error:
            reading.note(user, Taken.NOT, f"{error}; add it by lockgate device add, and give the device what it makes")
            continue
        reading.credentials[user.user] = Credential(0, user.user, CredentialKind.PASSWORD, held.text)
        reading.note(
            user, Taken.OVER,
            f"device {user.user} with its password (rehashed to argon2id at its first login); its client ids are"
            f" {user.user} and {user.user}/SUFFIX, mosquitto let it use any",
        )  # fmt: skip


def _take_acl(reading: _Reading, line: AclLine) -> None:
    if line.access == "unknown":
        reading.note(line, Taken.NOT, "no line that mosquitto knows", shown=f"{line.kind} {line.topic}")
    elif line.user is None:
        reading.note(line, Taken.NOT, "about anonymous clients: there are none here")
    elif line.kind == "topic" and line.user not in reading.credentials:
        reading.note(line, Taken.NOT, f"the user {line.user} was not taken over")
    else:
        _take_rule(reading, line)


def _take_rule(reading: _Reading, line: AclLine) -> None:
    subject = f"device:{line.user}" if line.kind == "topic" else EVERYONE
    text = line.topic
    if line.kind == "pattern":
        text = text.replace("%u", "${device}").replace("%c", "${client_id}")
    try:
        topic_filter(text.replace("${device}", "x").replace("${client_id}", "x"))
        if line.kind == "topic" and "${" in text:
            raise LockgateError("a filter here reads ${ as the beginning of a variable")
    except LockgateError as error:
        reading.note(line, Taken.NOT, str(error))
        return
    effect = Effect.DENY if line.access == "deny" else Effect.ALLOW
    reading.rules[subject] += [Rule(subject, operation, text, effect) for operation in _OPERATIONS[line.access]]
    differences = list(_differences(line))
    words = "; ".join((f"{subject}: {effect} {text}", *differences))
    reading.note(line, Taken.DIFFERS if differences else Taken.OVER, words)


def _differences(line: AclLine) -> Iterator[str]:
    if line.kind == "pattern" and line.access == "deny":
        yield "here a deny outranks the user's own topic lines too; in mosquitto those come first"
    if "%c" in line.topic and line.kind == "pattern":
        yield "a client id here is NAME or NAME/SUFFIX, two levels then"


def _note_option(reading: _Reading, line: Line) -> None:
    known = OPTIONS.get(line.word) or with_prefix(line.word)
    if known is None:
        reading.note(line, Taken.NOT, "an option that is unknown here")
        return
    taken, why = _word(known, line.rest)
    reading.note(line, taken, why)


def _word(known: Verdict, value: str) -> tuple[Taken, str]:
    verdict = known(value)
    return Taken(verdict.taken), verdict.why


def _beside(conf: Path, named: str) -> Path:
    """Give a file that mosquitto.conf names: where it says, or, in a folder that was copied, beside it."""
    path = conf.parent / named
    return path if path.exists() else conf.parent / Path(named).name
