"""`lockgate claim`: made, shown once, listed, revoked."""

from __future__ import annotations

from lockgate.home import Home
from lockgate.store import claims
from tests.support.cli import CommandLine


def test_a_claim_is_made_and_its_token_shown_once(lockgate: CommandLine) -> None:
    facts = lockgate.does(
        "claim", "add", "--name-pattern", "sensor-*", "--uses", "100", "--group", "hall", "--json"
    ).json()
    assert (facts["pattern"], facts["max_uses"], facts["groups"], facts["state"]) == ("sensor-*", 100, ["hall"], "good")
    with Home.open(lockgate.home).registry() as registry:
        assert claims.prove(registry, facts["token"]).id == facts["claim"]
    for command in (("list",), ("show", facts["claim"]), ("list", "--json"), ("show", facts["claim"], "--json")):
        assert facts["token"].rpartition("_")[2] not in lockgate.does("claim", *command).out


def test_people_read_it_too(lockgate: CommandLine) -> None:
    assert "no claims yet" in lockgate.does("claim", "list").out
    out = lockgate.does("claim", "add", "--name-pattern", "gateway-7", "--for", "30m").out
    assert "one use, until" in out
    token = next(line for line in out.splitlines() if line.startswith("lgc_"))
    assert out.splitlines()[-1].startswith(
        "lockgate device enrol gateway-7 --hub https://hub.example:8443 --ca-sha256 "
    )
    identifier = token.split("_")[1]
    with Home.open(lockgate.home).registry() as registry:
        claims.spend(registry, identifier, "gateway-7", "192.0.2.7", 0.0)
    assert "gateway-7" in lockgate.does("claim", "list").out
    assert "used up" in lockgate.does("claim", "list").out
    assert "gateway-7 from 192.0.2.7" in lockgate.does("claim", "show", identifier).out
    assert "revoked" in lockgate.does("claim", "revoke", identifier).out
    assert lockgate.does("claim", "revoke", identifier, "--json").json() == [{"claim": identifier, "done": "revoked"}]
    assert "revoked" in lockgate.does("claim", "show", identifier).out


def test_what_cannot_be_is_refused(lockgate: CommandLine) -> None:
    lockgate.refuses("claim", "add", "--name-pattern", "a/b")
    lockgate.refuses("claim", "add", "--name-pattern", "x", "--for", "soon")
    lockgate.refuses("claim", "show", "nobody")
    lockgate.refuses("claim", "revoke", "nobody")
    lockgate.misused("claim", "add")
