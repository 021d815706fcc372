"""`lockgate ca`: the certificate authority of this hub."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.tree import Tree

from lockgate.ca import rotation
from lockgate.ca.desk import Desk
from lockgate.ca.tree import CaFacts, CertificateFacts, IssuerFacts, facts_of
from lockgate.cli.output import Noun, actor, console, home_option, json_option, moment, print_json, safe
from lockgate.home import Home

_FILE = click.Path(path_type=Path, dir_okay=False)
_force = click.option("--force", is_flag=True, help="Revoke what it issued and is still good; live sessions end.")
_passphrase_file = click.option(
    "--passphrase-file", type=_FILE, help="Read the passphrase from the first line of a file instead of asking."
)


@click.group(cls=Noun, short_help="Show and rotate the hub's certificate authority.")
def ca() -> None:
    """Look at the certificate authority, rotate it, and say whom else to trust; a running hub follows by itself."""


@ca.command()
@home_option
@json_option
def show(home: Path, as_json: bool) -> None:
    """Show the chain as a tree: root, issuing CAs, server certificate, and the devices' certificates in numbers."""
    opened = Home.open(home)
    with opened.registry(read_only=True) as registry:
        facts = facts_of(opened, registry, time.time())
    if as_json:
        print_json(facts)
        return
    for tree in trees(facts):
        console().print(tree)


@ca.command()
@click.option("--out", type=_FILE, help="Also write the lists to this file, as PEM.")
@home_option
@json_option
def crl(out: Path | None, home: Path, as_json: bool) -> None:
    """Make the next revocation list of each issuing CA; a running hub takes it up by itself.

    `device revoke` and `device remove` do that too, and where an office runs it keeps the lists fresh.
    """
    with _desk(home) as desk:
        pem = desk.publish_crls(time.time())
        if out is not None:
            out.write_bytes(pem)
        facts = facts_of(desk.home, desk.registry, time.time())
    lists = [each for each in facts.issuers if each.list_number is not None]
    if as_json:
        print_json([{"id": e.id, "number": e.list_number, "next_update": e.next_list_at} for e in lists])
        return
    for each in lists:
        console().print(
            f"[green]made[/] list {each.list_number} of {safe(each.certificate.name)}: "
            f"{each.devices['revoked']} revoked, the next one by {moment(each.next_list_at)}"
        )


@ca.command()
@click.option("--root-key", type=_FILE, help="The encrypted key of the root, where it is kept elsewhere.")
@click.option("--root", "with_root", is_flag=True, help="Make a new root too; devices are given both from then on.")
@click.option("--finish-root", is_flag=True, help="Show the chain to the new root, once every device holds it.")
@_passphrase_file
@home_option
@json_option
def rotate(
    root_key: Path | None, with_root: bool, finish_root: bool, passphrase_file: Path | None, home: Path, as_json: bool
) -> None:
    """Make a new issuing CA under the root, and the server's certificate anew by it.

    What the old one issued stays good until `lockgate ca retire`. Nobody is disconnected.
    """
    if finish_root and (with_root or root_key is not None):
        raise click.UsageError("--finish-root goes alone: the new root was made by --root before")
    passphrase = _ask(passphrase_file, is_new=False) if root_key is not None else None
    with _desk(home) as desk:
        if finish_root:
            rotation.finish_root(desk, time.time())
            _say(
                "the hub now shows the chain to", facts_of(desk.home, desk.registry, time.time()).roots[0].name, as_json
            )
            return
        old = desk.issuing.thumbprint
        act = rotation.rotate_root if with_root else rotation.rotate_issuing
        new = act(desk, rotation.read_root(desk.home, root_key, passphrase), time.time()).issuing
    name = new.certificate.subject.rfc4514_string()
    if as_json:
        print_json({"id": new.thumbprint, "name": name, "older": old})
        return
    console().print(f"[green]rotated[/] to {safe(name)}; the server's certificate is issued anew")
    console().print(f"the old one stays trusted until: [bold]lockgate ca retire {old[:16]}[/]")
    if with_root:
        console().print("give every device the new ca.pem (it holds both roots: ca/root.crt), and then:")
        console().print("[bold]lockgate ca rotate --finish-root[/]")


@ca.command(name="retire")
@click.argument("authority", metavar="ID")
@_force
@home_option
@json_option
def retire_old(authority: str, force: bool, home: Path, as_json: bool) -> None:
    """Stop trusting an older issuing CA, by the beginning of its ID (`lockgate ca show`)."""
    with _desk(home) as desk:
        name = rotation.retire(desk, authority.lower(), time.time(), force).certificate.subject.rfc4514_string()
    _say("retired", name, as_json)


@ca.command()
@click.argument("file", type=_FILE)
@click.option("--crl", "crl_file", type=_FILE, help="Its revocation list, PEM or DER; give the command again to renew.")
@home_option
@json_option
def trust(file: Path, crl_file: Path | None, home: Path, as_json: bool) -> None:
    """Believe device certificates of a foreign CA, whose certificate (PEM) is in FILE.

    Who a device is stays with the registry: only a certificate whose key is registered for a device lets it in.
    """
    with _desk(home) as desk:
        list_bytes = crl_file.read_bytes() if crl_file is not None else None
        certificate = rotation.trust_foreign(desk, file.read_bytes(), list_bytes, time.time())
    _say("trusted", certificate.subject.rfc4514_string(), as_json)


@ca.command()
@click.argument("authority", metavar="ID")
@_force
@home_option
@json_option
def untrust(authority: str, force: bool, home: Path, as_json: bool) -> None:
    """Stop believing a foreign CA, by the beginning of its ID (`lockgate ca show`)."""
    with _desk(home) as desk:
        certificate = rotation.distrust_foreign(desk, authority.lower(), time.time(), force)
    _say("no longer trusted", certificate.subject.rfc4514_string(), as_json)


@ca.command(name="export-root-key")
@click.argument("file", type=_FILE)
@_passphrase_file
@home_option
@json_option
def export_root(file: Path, passphrase_file: Path | None, home: Path, as_json: bool) -> None:
    """Encrypt the root's key into FILE, to be kept elsewhere, and remove it from the home.

    `lockgate ca rotate --root-key FILE` asks for it again; nothing else needs it.
    """
    passphrase = _ask(passphrase_file, is_new=True)
    with _desk(home) as desk:
        rotation.export_root_key(desk, file, passphrase, time.time())
    if as_json:
        print_json({"file": str(file), "done": "exported"})
        return
    console().print(f"[green]exported[/] the root's key to {safe(file)}; it is no longer in the home")
    console().print("keep the file and its passphrase apart, and away from this machine")


def trees(facts: CaFacts) -> Iterator[Tree]:
    """Draw the chain, and each foreign CA by itself."""
    where = "its key is in this home" if facts.is_root_key_here else "its key is kept elsewhere"
    top = Tree(f"[bold]root[/]     {_line(facts.roots[0])}; {where}")
    for issuer in facts.issuers:
        if issuer.state != "foreign":
            _draw(top.add(f"[bold]{issuer.state}[/]  {_line(issuer.certificate)}; id {issuer.id[:16]}"), issuer)
    yield top
    for root in facts.roots[1:]:
        yield Tree(f"[bold]older root[/] {_line(root)}")
    for issuer in facts.issuers:
        if issuer.state == "foreign":
            yield Tree(f"[bold]foreign[/]  {_line(issuer.certificate)}; id {issuer.id[:16]}")
    if facts.foreign_server is not None:
        yield Tree(f"[bold]server[/] of another CA: {_server(facts.foreign_server)}")


def _draw(branch: Tree, issuer: IssuerFacts) -> None:
    if issuer.server is not None:
        branch.add(f"server: {_server(issuer.server)}")
    branch.add("devices: " + ", ".join(f"{number} {state}" for state, number in issuer.devices.items()))
    if issuer.list_number is not None:
        branch.add(f"revocation list {issuer.list_number}, the next one by {moment(issuer.next_list_at)}")


def _server(facts: CertificateFacts) -> str:
    return f"{safe(', '.join(facts.names))}, until {moment(facts.expires_at)}, sha256 {facts.fingerprint[:16]}"


def _line(facts: CertificateFacts) -> str:
    return f"{safe(facts.name)}, until {moment(facts.expires_at)}, sha256 {facts.fingerprint[:16]}"


@contextmanager
def _desk(home: Path) -> Iterator[Desk]:
    opened = Home.open(home)
    with opened.registry() as registry:
        yield Desk(opened, registry, actor())


def _say(verb: str, name: str, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "state": verb})
    else:
        console().print(f"[green]{verb}[/] {safe(name)}")


def _ask(path: Path | None, is_new: bool) -> str:
    if path is not None:
        return path.read_text().partition("\n")[0]
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt("passphrase of the root's key", hide_input=True, confirmation_prompt=is_new, err=True))
