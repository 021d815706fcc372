"""`lockgate claim`: tokens by which devices enrol themselves."""

from __future__ import annotations

import time
from pathlib import Path

import click
from cryptography.hazmat.primitives import hashes

from lockgate.cli.output import Noun, actor, console, home_option, json_option, moment, print_json, safe, table
from lockgate.home import Home
from lockgate.pki.certificates import certificates_from_pem
from lockgate.provision.token import parse_duration
from lockgate.store import claims
from lockgate.store.claims import Claim


@click.group(cls=Noun)
def claim() -> None:
    """Make tokens by which devices enrol themselves, look at them, take them back."""


@claim.command()
@click.option(
    "--name-pattern", "pattern", required=True, metavar="NAME",
    help="The device that it may make, or a pattern with one * for many: 'sensor-*'.",
)  # fmt: skip
@click.option("--for", "lifetime", default="24h", show_default=True, metavar="TIME", help="Its life: 30m, 24h, 7d.")
@click.option(
    "--uses", type=click.IntRange(1, claims.MAX_USES), default=1, show_default=True, help="How often it serves."
)
@click.option(
    "--group", "groups", multiple=True, metavar="G", help="A group that its devices join. Repeat it for more."
)
@home_option
@json_option
def add(pattern: str, lifetime: str, uses: int, groups: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Make a claim token, and print it: once, for the hub keeps its hash only.

    A device enrols with it by `lockgate device enrol`, or by any EST client. A claim with a pattern makes new devices;
    one for a single name also gives that device, should it exist, one more certificate.
    """
    opened = Home.open(home)
    with opened.registry() as registry:
        made, token = claims.add_claim(
            registry, pattern, groups=groups, max_uses=uses, life_seconds=parse_duration(lifetime), actor=actor(),
            now=time.time(),
        )  # fmt: skip
    if as_json:
        print_json({**_facts(made), "token": token})
        return
    out = console()
    out.print(f"[green]made[/] the claim {made.id} for {safe(made.pattern)}: {_allowance(made)}")
    out.print("its token, which is shown this once:")
    out.print()
    out.out(token, highlight=False)
    out.print()
    out.print("on the device, with the token in LOCKGATE_CLAIM or in a file:")
    out.out(enrol_line(opened, made), highlight=False)


@claim.command(name="list")
@home_option
@json_option
def list_claims(home: Path, as_json: bool) -> None:
    """List the claims: for which names, how often used, until when. The tokens are not kept."""
    with Home.open(home).registry(read_only=True) as registry:
        found = claims.claims(registry)
    if as_json:
        print_json([_facts(each) for each in found])
        return
    if not found:
        console().print("no claims yet: lockgate claim add --name-pattern 'sensor-*' --uses 100")
        return
    made = table("claim", "for", "uses", "until", "groups", "state", "made by")
    now = time.time()
    for each in found:
        uses = f"{each.uses} of {each.max_uses}"
        made.add_row(
            each.id, safe(each.pattern), uses, moment(each.expires_at), ", ".join(each.groups), _state(each, now),
            safe(each.created_by),
        )  # fmt: skip
    console().print(made)


@claim.command()
@click.argument("claim_id", metavar="CLAIM")
@home_option
@json_option
def show(claim_id: str, home: Path, as_json: bool) -> None:
    """Show one claim, and which devices it made."""
    with Home.open(home).registry(read_only=True) as registry:
        found = claims.claim_by_id(registry, claim_id)
        uses = claims.uses_of(registry, claim_id)
    if as_json:
        facts = _facts(found)
        facts["used"] = [{"at": use.at, "device": use.device, "address": use.address} for use in uses]
        print_json(facts)
        return
    out = console()
    out.print(f"[bold]{found.id}[/]  {_state(found, time.time())}  for {safe(found.pattern)}: {_allowance(found)}")
    if found.groups:
        out.print(f"groups: {', '.join(found.groups)}")
    out.print(f"made by {safe(found.created_by)}, {moment(found.created_at)}")
    for use in uses:
        out.print(f"{moment(use.at)}  {safe(use.device)} from {safe(use.address)}")


@claim.command()
@click.argument("claim_ids", metavar="CLAIM...", nargs=-1, required=True)
@home_option
@json_option
def revoke(claim_ids: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Make claims worthless from now on. The devices that they made stay."""
    with Home.open(home).registry() as registry:
        for each in claim_ids:
            claims.revoke_claim(registry, each, actor=actor(), now=time.time())
            if not as_json:
                console().print(f"[green]revoked[/] {each}")
    if as_json:
        print_json([{"claim": each, "done": "revoked"} for each in claim_ids])


def enrol_line(home: Home, made: Claim) -> str:
    """Give the command that a device runs to enrol with a claim."""
    name = made.pattern if made.is_exact else made.pattern.replace(claims.ANY, "1")
    running = home.running_office()
    port = running.doors[0].port if running is not None and running.doors else home.settings().office.port or 8443
    host = home.server_names()[0]
    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    root = certificates_from_pem(home.root_pem())[0].fingerprint(hashes.SHA256()).hex()
    return f"lockgate device enrol {name} --hub {url} --ca-sha256 {root} --out ./{name}"


def _facts(claim: Claim) -> dict[str, object]:
    return {
        "claim": claim.id,
        "pattern": claim.pattern,
        "groups": claim.groups,
        "uses": claim.uses,
        "max_uses": claim.max_uses,
        "created_at": claim.created_at,
        "created_by": claim.created_by,
        "expires_at": claim.expires_at,
        "state": claim.state(time.time()),
    }


def _allowance(claim: Claim) -> str:
    count = "one use" if claim.max_uses == 1 else f"{claim.max_uses} uses"
    return f"{count}, until {moment(claim.expires_at)}"


def _state(claim: Claim, now: float) -> str:
    state = claim.state(now)
    return f"[{'green' if state == 'good' else 'red'}]{state}[/]"
