"""`lockgate device enrol` and `renew`: what a device does by itself. They need no home."""

from __future__ import annotations

from pathlib import Path

import click
from cryptography import x509

from lockgate.cli.output import console, json_option, moment, print_json, safe
from lockgate.errors import InvalidSettings
from lockgate.pki.certificates import certificates_from_pem, certificates_to_pem
from lockgate.provision.folder import read_folder
from lockgate.provision.guide import command_lines


@click.command()
@click.argument("name")
@click.option("--hub", "url", required=True, metavar="URL", help="The hub's office: https://HOST:8443.")
@click.option(
    "--claim", "token", metavar="TOKEN", envvar="LOCKGATE_CLAIM",
    help="The claim token. Others on this machine can read a command line: better LOCKGATE_CLAIM or --claim-file.",
)  # fmt: skip
@click.option(
    "--claim-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="A file that holds the token."
)
@click.option(
    "--ca",
    "ca_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The hub's root certificate.",
)
@click.option("--ca-sha256", "fingerprint", metavar="HEX", help="Or its SHA-256 fingerprint.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to make for the device.")
@click.option("--mqtt-port", type=click.IntRange(1, 65_535), metavar="PORT", help="MQTT's, if not what the hub says.")
@json_option
def enrol(
    name: str,
    url: str,
    token: str | None,
    claim_file: Path | None,
    ca_path: Path | None,
    fingerprint: str | None,
    out: Path,
    mqtt_port: int | None,
    as_json: bool,
) -> None:
    """Enrol this device with a claim token: make its key here, and get a certificate for it. Needs no home.

    The folder is as `lockgate device add --auth x509` makes it. Should it be cut short, run it again as it was.
    """
    from lockgate.client import enrolment  # here: `device add` does not wait for the client

    if (ca_path is None) == (fingerprint is None):
        raise click.UsageError("name the hub's root by --ca FILE or by --ca-sha256 HEX")
    if claim_file is not None:
        token = _read(claim_file).decode("utf-8", "replace").strip()
    if not token:
        raise click.UsageError("show a claim token: LOCKGATE_CLAIM, --claim-file FILE or --claim TOKEN")
    if ca_path is not None:
        root = certificates_to_pem(*certificates_from_pem(_read(ca_path)))
    else:
        root = enrolment.fetch_root(url, fingerprint or "")
    leaf = enrolment.enrol(url, name, token, root, out, mqtt_port)
    lines = command_lines(read_folder(out), out)
    if as_json:
        facts = _facts(name, out, leaf)
        print_json({**facts, "subscribe": lines.subscribe, "publish": lines.publish})
        return
    show = console()
    show.print(f"[green]enrolled[/] {safe(name)}, until {moment(_end(leaf))}; its credentials are in {safe(out)}")
    show.print("listen in one terminal, speak in another:")
    show.print()
    show.out(lines.subscribe, highlight=False)
    show.print()
    show.out(lines.publish, highlight=False)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--hub", "url", metavar="URL", help="The hub's office, if not where the device enrolled.")
@click.option("--keep-key", is_flag=True, help="A new certificate for the same key; else a new key as well.")
@click.option("--if-due", is_flag=True, help="Only once two thirds of the certificate's life are over: for a timer.")
@json_option
def renew(folder: Path, url: str | None, keep_key: bool, if_due: bool, as_json: bool) -> None:
    """Put the next certificate into the device's folder DIR, by showing the one that it has. Needs no home.

    The old one stays good until it ends, so that a client that runs goes on, and takes up the new one when it connects
    anew.
    """
    from lockgate.client import enrolment

    name = read_folder(folder).name
    if if_due and not enrolment.is_due(folder):
        if as_json:
            print_json({"device": name, "folder": str(folder), "renewed": False})
        else:
            console().print(f"{safe(name)}: not due yet")
        return
    leaf = enrolment.renew(folder, url, keep_key)
    if as_json:
        print_json({**_facts(name, folder, leaf), "renewed": True})
    else:
        console().print(f"[green]renewed[/] {safe(name)}, until {moment(_end(leaf))}")


def _facts(name: str, folder: Path, leaf: x509.Certificate) -> dict[str, object]:
    return {"device": name, "folder": str(folder), "expires_at": _end(leaf), "serial": f"{leaf.serial_number:x}"}


def _end(leaf: x509.Certificate) -> float:
    return leaf.not_valid_after_utc.timestamp()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror}", fix="check that it is there") from error
