"""`lockgate device`: the devices of this hub."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
from rich.console import Console

from lockgate.cli.acts import add_act, registrar_of
from lockgate.cli.enrol import enrol, renew
from lockgate.cli.folders import (
    PROVING_KINDS,
    brought_options,
    expires_option,
    hub_address,
    look_over,
    make_folder,
    next_identity,
    read_given,
)
from lockgate.cli.moments import end_moment
from lockgate.cli.output import Noun, console, home_option, json_option, moment, print_json, safe, table
from lockgate.cli.provision import add_table
from lockgate.errors import InvalidSettings, NotFound
from lockgate.home import Home
from lockgate.model.device import Credential, CredentialKind, Device, check_name
from lockgate.model.handles import shown_handle
from lockgate.model.permission import EVERYONE, Operation, Rule
from lockgate.provision.bundle import NewCredential, take_given
from lockgate.provision.folder import CERTIFICATE_FILE, KEY_FILE, VERSION, DeviceFile, read_folder
from lockgate.provision.guide import CommandLines, command_lines
from lockgate.provision.token import make_token, parse_duration
from lockgate.registry.journal import CREDENTIAL_SEEN
from lockgate.registry.passwords import check_password
from lockgate.store.messages_reader import Seen, read_seen

COUNTS_UP = (
    "the name {name} counts up from another's: who knows one knows them all. A name proves nothing, so that is no "
    "danger here; but never make a password or a key from it"
)
NO_PROTECTION = (
    "{name} has no protection at all: whoever can send from {address} may do what it may, and whoever is on the way "
    "reads and changes what it says. lockgate scan counts it as a severe finding; lockgate device revoke {name} ends it"
)


@click.group(cls=Noun)
def device() -> None:
    """Add devices, look at them, shut them out."""


device.add_command(enrol)
device.add_command(renew)


@device.command()
@click.argument("name")
@click.option(
    "--auth", type=click.Choice([kind.value for kind in CredentialKind]), required=True,
    help="How the device proves who it is; nosec: not at all.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR",
    help="The folder to make for the device; --certificate needs none.",
)  # fmt: skip
@click.option("--group", "groups", multiple=True, metavar="G", help="A group it belongs to. Repeat it for more.")
@click.option("--publish", multiple=True, metavar="FILTER", help="Topics it may publish on, beside its own tree.")
@click.option("--receive", multiple=True, metavar="FILTER", help="Topics it may receive, beside its own tree.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Something to remember about it.")
@brought_options
@click.option("--address", metavar="ADDRESS", default="", help="The only address that it may send from (nosec).")
@click.option(
    "--accept-no-security", is_flag=True,
    help="Yes: whoever can send from that address may be this device, and everybody on the way reads along (nosec).",
)  # fmt: skip
@expires_option
@click.option(
    "--format", "form", type=click.Choice(["pem", "nvs"]), default="pem", show_default=True,
    help="nvs: with a CSV for ESP-IDF's nvs_partition_gen.py.",
)  # fmt: skip
@click.option("--hub", metavar="HOST_OR_IP", help="The name of the hub for this device, if not the first one.")
@home_option
@json_option
def add(
    name: str,
    auth: str,
    out: Path | None,
    groups: tuple[str, ...],
    publish: tuple[str, ...],
    receive: tuple[str, ...],
    metadata: tuple[str, ...],
    public_key: BinaryIO | None,
    csr: BinaryIO | None,
    certificate: BinaryIO | None,
    password_file: BinaryIO | None,
    psk_file: BinaryIO | None,
    address: str,
    accept_no_security: bool,
    expires: str | None,
    form: str,
    hub: str | None,
    home: Path,
    as_json: bool,
) -> None:
    """Register a device and make the folder with its credentials.

    The private key, or the password, is in that folder and nowhere else; a key that the device shares with the hub
    (psk, oscore) is kept by the hub as well, sealed. The device may publish and receive under
    devices/NAME/# and what you allow with --publish and --receive.
    """
    kind = CredentialKind(auth)
    if out is None and certificate is None and kind is not CredentialKind.NOSEC:
        raise click.UsageError("Missing option '--out': the folder to make for the device.")
    _check_exception(kind, address, accept_no_security)
    check_name(name)
    opened = Home.open(home)
    subject = f"device:{name}"
    rules = [Rule(subject, Operation.PUBLISH, f) for f in publish] + [
        Rule(subject, Operation.RECEIVE, f) for f in receive
    ]
    described = dict(_pair(each) for each in metadata)
    given = look_over(opened, kind, name, read_given(public_key, csr, password_file, certificate, psk_file))
    given = msgspec.structs.replace(given, address=address)
    if given.password:
        check_password(given.password, name, described.values())
    expires_at = end_moment(expires, time.time()) if expires is not None else None
    if out is None:
        hub_address(opened, hub).port_for(kind)  # or why there is none, before anything is registered
    with registrar_of(home) as registrar:
        registrar.check_new(name, groups, rules, described)

        def register(credential: NewCredential) -> None:
            registrar.add_device(name, [credential], groups, rules, described)

        if out is None:
            register(take_given(kind, name, given, expires_at))
        else:
            make_folder(
                opened, kind, name, out, hub, given=given, with_nvs=form == "nvs", expires_at=expires_at,
                register=register,
            )  # fmt: skip
        warnings = [COUNTS_UP.format(name=name)] if registrar.counts_up(name) else []
    if kind is CredentialKind.NOSEC:
        warnings.append(NO_PROTECTION.format(name=name, address=address))
    lines = command_lines(read_folder(out), out) if out is not None else _bare_lines(opened, name, kind, hub)
    if as_json:
        facts = {"device": name, "auth": auth, "folder": None if out is None else str(out), "warnings": warnings}
        print_json({**facts, **_fields(lines.subscribe, lines.publish)})
        return
    for warning in warnings:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[yellow]note:[/] {safe(warning)}")
    show = console()
    if kind is CredentialKind.NOSEC:
        show.print(f"[green]added[/] {safe(name)}, [red]without any protection[/]")
    elif out is None:
        show.print(f"[green]added[/] {safe(name)} with the certificate that it has; its key stays where it is")
        show.print(f"give it the hub's root ({safe(opened.root_path)}), and beside its device.crt and device.key:")
    else:
        show.print(f"[green]added[/] {safe(name)}; its credentials are in {safe(out)}")
    show.print("listen in one terminal, speak in another:")
    show.print()
    show.out(lines.subscribe, highlight=False)
    show.print()
    show.out(lines.publish, highlight=False)


@device.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to make with the new secret.")
@click.option(
    "--auth", type=click.Choice(PROVING_KINDS),
    help="How it proves who it is from now on, if not as before.",
)  # fmt: skip
@click.option(
    "--overlap", default="7d", show_default=True, metavar="TIME",
    help="How long what it had still holds: 0s, 12h, 30d.",
)  # fmt: skip
@click.option("--hub", metavar="HOST_OR_IP", help="The name of the hub for this device, if not the first one.")
@home_option
@json_option
def rotate(name: str, out: Path, auth: str | None, overlap: str, hub: str | None, home: Path, as_json: bool) -> None:
    """Make a new secret for a device. The old ones hold as well until the overlap is over, and then end by themselves.

    Live sessions go on. A device whose credentials were all revoked gets a way in again.
    """
    overlap_seconds = parse_duration(overlap)
    opened = Home.open(home)
    with registrar_of(home) as registrar:
        known = registrar.device(name)
        registrar.check_room(name)
        good = [c for c in known.credentials if not c.is_revoked] or list(known.credentials)
        kind = CredentialKind(auth) if auth is not None else good[-1].kind
        if kind is CredentialKind.NOSEC:
            raise InvalidSettings(
                f"{name} has no secret that could be renewed", fix=f"lockgate device rotate {name} --auth psk --out DIR"
            )
        ending: list[int] = []
        identity = next_identity(known) if kind is CredentialKind.PSK else ""
        make_folder(
            opened, kind, name, out, hub, identity=identity,
            register=lambda made: ending.append(registrar.rotate(name, made, overlap_seconds)[1]),
        )  # fmt: skip
    until = time.time() + overlap_seconds
    if as_json:
        facts = {"device": name, "auth": kind, "folder": str(out), "ending": ending[0], "old_until": until}
        print_json({**facts, "psk_identity": identity} if identity else facts)
        return
    show = console()
    show.print(f"[green]rotated[/] {safe(name)}; its new credentials are in {safe(out)}")
    if identity:
        show.print(f"the new key has an identity of its own: {safe(identity)}")
    if ending[0]:
        show.print(f"those that it had hold until {moment(until)}")


@device.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--for", "lifetime", default="1h", show_default=True, metavar="TIME", help="Its life: 90s, 30m, 12h.")
def token(folder: Path, lifetime: str) -> None:
    """Print a JWT signed with the key in DIR: what an MQTT client shows as its password. Needs no home."""
    click.echo(make_token(folder, parse_duration(lifetime)))


@device.command(name="list")
@home_option
@json_option
def list_devices(home: Path, as_json: bool) -> None:
    """List the devices: how each proves itself, whether it is shut out, when it last connected and published."""
    opened = Home.open(home)
    with opened.registry(read_only=True) as registry:
        devices = registry.devices()
    seen = read_seen(opened.messages_path)
    if as_json:
        print_json([_facts(each, seen.get(each.name, {})) for each in devices])
        return
    if not devices:
        console().print("no devices yet: lockgate device add NAME --auth x509 --out DIR")
        return
    made = table("device", "auth", "groups", "state", "last connect", "last message")
    for each in devices:
        last = [moment(_last(seen.get(each.name, {}), kind)) for kind in ("connect", "message")]
        made.add_row(each.name, _auths(each), ", ".join(each.groups), _state(each), *last)
    console().print(made)


@device.command()
@click.argument("name")
@home_option
@json_option
def show(name: str, home: Path, as_json: bool) -> None:
    """Show one device: credentials, rules, groups, last connect and last error."""
    opened = Home.open(home)
    with opened.registry(read_only=True) as registry:
        found = registry.device(name)
        if found is None:
            raise NotFound(f"there is no device {name}", fix="lockgate device list shows the devices")
        subjects = (f"device:{name}", *(f"group:{group}" for group in found.groups), EVERYONE)
        rules = [rule for subject in subjects for rule in registry.rules(subject)]
    seen = {
        kind: each
        for kind, each in read_seen(opened.messages_path, name).get(name, {}).items()
        if not kind.startswith(CREDENTIAL_SEEN)
    }
    if as_json:
        facts = _facts(found, seen)
        facts["rules"] = [str(rule) for rule in rules]
        facts["seen"] = {kind: {"at": each.at, "text": each.text} for kind, each in seen.items()}
        print_json(facts)
        return
    out = console()
    out.print(f"[bold]{safe(found.name)}[/]  {_state(found)}  added {moment(found.created_at)}")
    if found.groups:
        out.print(f"groups: {safe(', '.join(found.groups))}")
    if found.blocked_groups:
        out.print(f"blocked by the groups: {safe(', '.join(found.blocked_groups))}")
    if found.gateways:
        out.print(f"gateways that may speak for it: {safe(', '.join(found.gateways))}")
    for key, value in found.metadata.items():
        out.print(f"{safe(key)}: {safe(value)}")
    for credential in found.credentials:
        out.print(f"credential {credential.id}: {safe(_describe(credential))}")
    out.print(f"may: publish and receive devices/{safe(name)}/#")
    for rule in rules:
        out.print(f"     {safe(rule)}")
    for kind, each in seen.items():
        out.print(f"last {kind}: {moment(each.at)}  {safe(each.text)}".rstrip())


@device.command()
@click.argument("name")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Something to remember about it.")
@click.option("--forget", multiple=True, metavar="KEY", help="Something to remember no longer.")
@home_option
@json_option
def describe(name: str, metadata: tuple[str, ...], forget: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Change what is remembered about a device: a site, a serial number, whose it is."""
    if not metadata and not forget:
        raise click.UsageError("Say what to remember, or what to forget: --metadata KEY=VALUE, --forget KEY.")
    with registrar_of(home) as registrar:
        kept = {key: value for key, value in registrar.device(name).metadata.items() if key not in forget}
        described = {**kept, **dict(_pair(each) for each in metadata)}
        registrar.describe(name, described)
    if as_json:
        print_json({"device": name, "metadata": described})
        return
    console().print(f"[green]described[/] {safe(name)}: {safe(', '.join(described)) or 'nothing is remembered'}")


add_act(
    device,
    "device",
    "block",
    "Shut a device out until `unblock`. Its live sessions end at once; what waits for it stays.",
    "blocked",
    lambda registrar, name: registrar.block(name),
)
add_act(
    device,
    "device",
    "unblock",
    "Let a blocked device in again.",
    "unblocked",
    lambda registrar, name: registrar.unblock(name),
)
add_act(
    device,
    "device",
    "revoke",
    "Make all credentials of a device worthless, for good: `lockgate revoke NAME` for several, without a report.",
    "revoked",
    lambda registrar, name: registrar.revoke(name),
    is_final=True,
)
add_act(
    device,
    "device",
    "remove",
    "Forget a device: its credentials, rules, sessions. Its folder stays where it is, and is worthless.",
    "removed",
    lambda registrar, name: registrar.remove(name),
    is_final=True,
)
device.add_command(add_table)


def _check_exception(kind: CredentialKind, address: str, is_accepted: bool) -> None:
    """Come back unless a device without protection is asked for half, or by a slip."""
    if kind is CredentialKind.NOSEC and not (address and is_accepted):
        raise click.UsageError(
            "--auth nosec makes a device that anybody can be who sends from its address. "
            "If that is meant: --address ADDRESS --accept-no-security. Else: --auth psk, for small devices."
        )
    if kind is not CredentialKind.NOSEC and (address or is_accepted):
        raise click.UsageError("--address and --accept-no-security are for --auth nosec alone.")


def _bare_lines(home: Home, name: str, kind: CredentialKind, hub: str | None) -> CommandLines:
    address = hub_address(home, hub)
    has_key = kind is CredentialKind.X509
    return command_lines(
        DeviceFile(
            version=VERSION, name=name, auth=kind, host=address.host, port=address.port_for(kind),
            audience=home.settings().identity.jwt_audience, client_id=name, ca_file="root.crt",
            key_file=KEY_FILE if has_key else None, certificate_file=CERTIFICATE_FILE if has_key else None,
        )
    )  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidSettings(f"{text!r} is no KEY=VALUE", fix="write --metadata site=north")
    return key, value


def _fields(subscribe: str, publish: str) -> dict[str, str]:
    return {"subscribe": subscribe, "publish": publish}


def _state(device: Device) -> str:
    if device.is_blocked:
        return "[red]blocked[/]"
    if device.is_shut_out:
        return "[red]group blocked[/]"
    if all(credential.is_revoked for credential in device.credentials):
        return "[red]revoked[/]"
    return "[green]good[/]"


def _auths(device: Device) -> str:
    return ", ".join(dict.fromkeys(c.kind.value for c in device.credentials if not c.is_revoked)) or "none"


def _describe(credential: Credential) -> str:
    words = [credential.kind.value]
    if credential.thumbprint:
        words.append(f"key {shown_handle(credential.thumbprint)}")
    if credential.expires_at is not None:
        words.append(f"until {moment(credential.expires_at)}")
    if credential.is_revoked:
        words.append("REVOKED")
    return ", ".join(words)


def _last(seen: Mapping[str, Seen], kind: str) -> float | None:
    return seen[kind].at if kind in seen else None


def _facts(device: Device, seen: Mapping[str, Seen]) -> dict[str, object]:
    return {
        "name": device.name,
        "is_blocked": device.is_blocked,
        "created_at": device.created_at,
        "groups": device.groups,
        "blocked_groups": device.blocked_groups,
        "gateways": device.gateways,
        "metadata": device.metadata,
        "last_connect": _last(seen, "connect"),
        "last_message": _last(seen, "message"),
        "last_error": _last(seen, "error"),
        "credentials": [_credential_facts(credential) for credential in device.credentials],
    }


def _credential_facts(credential: Credential) -> dict[str, object]:
    return {
        "id": credential.id,
        "kind": credential.kind,
        "thumbprint": credential.thumbprint,
        "expires_at": credential.expires_at,
        "is_revoked": credential.is_revoked,
    }
