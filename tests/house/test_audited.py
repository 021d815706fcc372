"""Who did what: every command that changes something leaves a record by whoever ran it, and no event goes unsorted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.cli import cli
from lockgate.cli.output import actor
from lockgate.events import Event
from lockgate.home import Home
from lockgate.pki.authority import Authority
from lockgate.store.chain import Record
from tests.support.cli import CommandLine
from tests.unit.model.test_mosquitto_hash import ONCE

NOW = 1_790_000_000.0


class Act(msgspec.Struct, frozen=True):
    """A command, what it must leave in the audit trail, and what of its --json answer later ones need."""

    command: str
    event: Event
    learns: Mapping[str, str] = {}


# One life of a home: each command that writes, in an order in which all of them can be done.
STORY = (
    Act("init --name hub.example", Event.HOME_CREATED),
    Act("device add lamp --auth x509 --group hall --out {dir}/lamp", Event.DEVICE_ADDED),
    Act("device add gate --auth jwt-es256 --publish out/# --out {dir}/gate", Event.DEVICE_ADDED),
    Act("device add-many {dir}/table.csv --out {dir}/many", Event.DEVICE_ADDED),
    Act("device rotate lamp --out {dir}/lamp-2", Event.CREDENTIAL_ADDED),
    Act("device describe lamp --metadata site=north", Event.DEVICE_DESCRIBED),
    Act("device block lamp", Event.DEVICE_BLOCKED),
    Act("device unblock lamp", Event.DEVICE_UNBLOCKED),
    Act("credential add gate --auth jwt-es256 --public-key {dir}/public.pem", Event.CREDENTIAL_ADDED),
    Act("credential expire 2 --at 30d", Event.CREDENTIAL_EXPIRES),
    Act("credential revoke 2", Event.CREDENTIAL_REVOKED),
    Act("device add valve --auth psk --out {dir}/valve", Event.DEVICE_ADDED),
    Act("credential reseal", Event.SECRETS_RESEALED),
    Act("gateway bind gate lamp", Event.GATEWAY_BOUND),
    Act("gateway unbind gate lamp", Event.GATEWAY_UNBOUND),
    Act("group add yard", Event.GROUP_ADDED),
    Act("group join yard lamp", Event.GROUP_JOINED),
    Act("group block yard", Event.GROUP_BLOCKED),
    Act("group unblock yard", Event.GROUP_UNBLOCKED),
    Act("group leave yard lamp", Event.GROUP_LEFT),
    Act("group remove yard", Event.GROUP_REMOVED),
    Act("policy join attic lamp", Event.GROUP_JOINED),
    Act("policy leave attic lamp", Event.GROUP_LEFT),
    Act("policy allow --device lamp --publish out/#", Event.RULE_ADDED),
    Act("policy deny --everyone --receive secret/#", Event.RULE_ADDED),
    Act("policy remove 2", Event.RULE_REMOVED),
    Act("policy role add writer", Event.ROLE_ADDED),
    Act("policy role grant writer --group hall", Event.ROLE_GRANTED),
    Act("policy role revoke writer --group hall", Event.ROLE_REVOKED),
    Act("policy role remove writer", Event.ROLE_REMOVED),
    Act("policy import {dir}/policy.toml", Event.RULE_ADDED),
    Act("import mosquitto {dir}/mosquitto.conf", Event.DEVICE_ADDED),
    Act("claim add --name-pattern sensor-* --json", Event.CLAIM_ADDED, {"claim": "claim"}),
    Act("claim revoke {claim}", Event.CLAIM_REVOKED),
    Act("server-cert add-name hub.local", Event.SERVER_CERTIFICATE_ISSUED),
    Act("server-cert rotate", Event.SERVER_CERTIFICATE_ISSUED),
    Act("server-cert renew", Event.SERVER_CERTIFICATE_ISSUED),
    Act("server-cert rotate-tickets", Event.TICKET_KEYS_ROTATED),
    Act("ca trust {dir}/foreign.pem", Event.AUTHORITY_TRUSTED),
    Act("ca untrust {foreign} --force", Event.AUTHORITY_DISTRUSTED),
    Act("ca crl", Event.REVOCATION_LIST_PUBLISHED),
    Act("ca rotate --json", Event.AUTHORITY_ROTATED, {"older": "older"}),
    Act("ca retire {older} --force", Event.AUTHORITY_RETIRED),
    Act("ca rotate --root", Event.ROOT_ADDED),
    Act("ca rotate --finish-root", Event.ROOT_ROTATED),
    Act("audit anchor", Event.AUDIT_ANCHORED),
    Act("backup {dir}/file --passphrase-file {dir}/passphrase", Event.HOME_BACKED_UP),
    Act("ca export-root-key {dir}/root.key --passphrase-file {dir}/passphrase", Event.ROOT_KEY_EXPORTED),
    Act("revoke gate --reason stolen", Event.REVOCATION_BEGUN),
    Act("revoke lamp", Event.DEVICE_REVOKED),
    Act("group revoke hall", Event.GROUP_REVOKED),
    Act("device revoke one", Event.DEVICE_REVOKED),
    Act("device remove one", Event.DEVICE_REMOVED),
    Act("restore {dir}/file --passphrase-file {dir}/passphrase --home {dir}/restored", Event.HOME_RESTORED),
)

READS = """
    audit export, audit list, audit verify, ca show, claim list, claim show, credential list, device list, device show,
    gateway list, group list, group show, policy check, policy explain, policy export, policy list, policy reach,
    policy role list, scan, server-cert show, why
"""
# They change no home: they are the device's side (the office audits what it does for one), the machine's, or a show.
NO_HOME = """
    completion, demo eavesdrop, device enrol, device renew, device token, mqtt decode, service install
"""
# They run until they are ended; what they do is audited as it comes.
RUN = "office, up"

# What somebody did by other ways than a command: devices that enrol, and the office by itself.
BY_OTHERS = {Event.CLAIM_USED, Event.DEVICE_ENROLLED, Event.CREDENTIAL_REHASHED, Event.CERTIFICATE_ISSUED}
# What happened, and nobody did: for the log, and for the security events.
HAPPENED = {
    Event.HUB_STARTED, Event.HUB_STOPPED, Event.LAB_DOOR_OPENED, Event.NOSEC_DOOR_OPENED, Event.COAP_DOOR_CLOSED,
    Event.OFFICE_STARTED, Event.OFFICE_STOPPED,
    Event.OFFICE_DIED, Event.CLIENT_CONNECTED, Event.CLIENT_REAUTHENTICATED, Event.CLIENT_DISCONNECTED,
    Event.CLIENT_SLOWED, Event.CLIENT_REFUSED, Event.CLIENT_NAME_UNKNOWN, Event.MESSAGE_DROPPED, Event.WILL_REFUSED,
    Event.SESSION_ENDED, Event.AUDIT_CHAINED, Event.AUDIT_TRIMMED, Event.CERTIFICATES_REFRESHED, Event.TLS_RENEWED,
    Event.TLS_FILE_REFUSED,
    Event.SECRET_UNREADABLE, Event.CHANGE_APPLIED, Event.LOG_LINES_DROPPED, Event.STORE_CREATED, Event.STORE_FAILED,
    Event.UNEXPECTED_ERROR,
}  # fmt: skip


def commands(of: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Give all commands, by the words that one types; a group that does something by itself counts as one."""
    if isinstance(of, click.Group):
        context = click.Context(of)
        for name in of.list_commands(context):
            command = of.get_command(context, name)
            assert command is not None
            yield from commands(command, (*path, name))
    else:
        yield " ".join(path)


def listed(text: str) -> set[str]:
    return {name.strip() for name in text.split(",")}


def test_every_command_is_known_to_write_or_not_to() -> None:
    every = set(commands())
    written = {name for name in every for act in STORY if act.command.startswith(f"{name} ") or act.command == name}
    others = [listed(READS), listed(NO_HOME), listed(RUN)]
    assert sorted(every - written.union(*others)) == [], "new commands: say here what they leave in the audit trail"
    assert sorted(set().union(*others) - every) == [], "no such command"
    assert sum(map(len, others)) + len(written) == len(every), "one that reads does not write"


def test_every_event_is_known_to_be_somebodys_act_or_not() -> None:
    sorted_in = {act.event for act in STORY} | BY_OTHERS | HAPPENED
    assert sorted(set(Event) - sorted_in) == [], "new events: say here which command makes them"
    assert {act.event for act in STORY} & HAPPENED == set()


@pytest.mark.requirement("O11")
def test_whatever_somebody_changes_is_on_record_with_who_did_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = CommandLine(tmp_path, monkeypatch, capsys)
    known = {"dir": str(tmp_path), "foreign": prepare(tmp_path)}
    for act in STORY:
        words = act.command.format(**known).split()
        home = Path(words[words.index("--home") + 1]) if "--home" in words else line.home
        before = records(home)
        done = line.does(*words)
        new = records(home)[len(before) :]
        assert act.event in [each.event for each in new], act.command
        assert {each.actor for each in new if each.event == act.event} == {actor()}, act.command
        for name, field in act.learns.items():
            known[name] = done.json()[field]
    line.does("audit", "verify")


def records(home: Path) -> list[Record]:
    if not (home / "registry.db").exists():
        return []
    with Home.open(home).registry(read_only=True) as registry:
        return registry.audit()


def prepare(folder: Path) -> str:
    """Write the files that the story needs; give the id of a foreign CA."""
    (folder / "table.csv").write_text("name\none\ntwo\n")
    (folder / "passphrase").write_text("correct horse battery staple\n")
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (folder / "public.pem").write_bytes(key.public_bytes(serialization.Encoding.PEM, spki))
    (folder / "policy.toml").write_text('version = 1\n[[rule]]\nfor = "everyone"\nallow = "publish"\ntopic = "more"\n')
    (folder / "mosquitto.conf").write_text("password_file p\n")
    (folder / "p").write_text(f"anna:{ONCE}\n")
    foreign = Authority.create_root("a foreign CA", now=NOW)
    (folder / "foreign.pem").write_bytes(foreign.certificate_pem())
    return foreign.thumbprint
