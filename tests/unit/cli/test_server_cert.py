"""`lockgate server-cert`: its names shown, added, renewed."""

from __future__ import annotations

import time

from tests.support.cli import CommandLine


def test_show_tells_names_issuer_and_end(lockgate: CommandLine) -> None:
    facts = lockgate.does("server-cert", "show", "--json").json()
    assert facts["names"] == ["hub.example", "127.0.0.1"]
    assert facts["expires_at"] > time.time() + 86_400
    assert "hub.example" in lockgate.does("server-cert", "show").out


def test_add_name_keeps_the_others_and_adds_each_once(lockgate: CommandLine) -> None:
    before = (lockgate.home / "server.key").read_bytes()
    out = lockgate.does("server-cert", "add-name", "hub.local", "10.0.0.7", "hub.example").out
    assert out == "issued for: hub.example, 127.0.0.1, hub.local, 10.0.0.7\n"
    assert (lockgate.home / "server.key").read_bytes() != before
    assert lockgate.does("server-cert", "add-name", "x.example", "--json").json()["names"][-1] == "x.example"


def test_renew_keeps_the_names_or_takes_those_given(lockgate: CommandLine) -> None:
    assert lockgate.does("server-cert", "renew", "--json").json() == {"names": ["hub.example", "127.0.0.1"]}
    assert lockgate.does("server-cert", "renew", "--name", "new.example").out == "issued for: new.example\n"


def test_renew_makes_a_certificate_that_was_lost(lockgate: CommandLine) -> None:
    (lockgate.home / "server.crt").unlink()
    assert "server.crt" in lockgate.refuses("server-cert", "show")
    assert "server certificate cannot be read" in lockgate.refuses("device", "add", "x", "--auth", "x509", "--out", "y")
    lockgate.does("server-cert", "renew", "--name", "hub.example")
    lockgate.does("server-cert", "show")


def test_names_that_no_certificate_can_hold_change_nothing(lockgate: CommandLine) -> None:
    before = (lockgate.home / "server.crt").read_bytes()
    for name in ("*", "a b", "", "http://x", "x" * 300):
        lockgate.refuses("server-cert", "add-name", name, fix=False)
    lockgate.misused("server-cert", "add-name")
    assert (lockgate.home / "server.crt").read_bytes() == before


def test_a_lost_or_damaged_authority_is_said(lockgate: CommandLine) -> None:
    key = lockgate.home / "ca" / "issuing.key"
    key.write_bytes(b"no key")
    lockgate.refuses("server-cert", "renew", fix=False)
    key.unlink()
    assert "the issuing CA cannot be read" in lockgate.refuses("server-cert", "renew")
    (lockgate.home / "server.crt").write_bytes(b"no certificate")
    lockgate.refuses("server-cert", "show", fix=False)
