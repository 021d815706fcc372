"""`lockgate ca`: the chain shown, rotated, retired; lists made; foreign CAs let in and out; the root's key exported."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lockgate.pki.authority import Authority
from lockgate.pki.revocation import build_crl, crls_to_pem
from lockgate.provision.folder import CERTIFICATE_FILE
from tests.support.cli import CommandLine


@pytest.mark.requirement("F13")
def test_show_prints_the_chain_as_a_tree(lockgate: CommandLine) -> None:
    lockgate.adds("sensor", "x509")
    shown = lockgate.does("ca", "show").out
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[0].startswith("root     CN=lockgate root CA ")
    assert lines[0].endswith("its key is in this home")
    assert lines[1].startswith("└── issuing  CN=lockgate issuing CA ")
    assert lines[2].startswith("├── server: hub.example, 127.0.0.1, until ")
    assert lines[3] == "└── devices: 1 valid, 0 expired, 0 revoked"
    facts = lockgate.does("ca", "show", "--json").json()
    assert facts["is_root_key_here"] is True
    assert facts["issuers"][0]["devices"] == {"valid": 1, "expired": 0, "revoked": 0}


def test_a_revoked_device_is_in_the_list_at_once_and_openssl_refuses_it(lockgate: CommandLine) -> None:
    folders = {name: lockgate.adds(name, "x509") for name in ("gone", "kept")}
    lockgate.does("device", "revoke", "gone")
    ca = lockgate.home / "ca"
    for name, told in (("gone", "certificate revoked"), ("kept", "OK")):
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-crl_check", "-CRLfile", ca / "crl.pem",
             "-CAfile", ca / "root.crt", "-untrusted", ca / "issuing.crt", folders[name] / CERTIFICATE_FILE],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told in done.stdout + done.stderr
    assert "1 revoked" in lockgate.does("ca", "show").out
    assert "revocation list 1, the next one by " in lockgate.does("ca", "show").out


def test_a_list_is_made_by_hand_and_written_where_asked(lockgate: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "list.pem"
    assert "made list 1 of CN=lockgate issuing CA" in lockgate.does("ca", "crl", "--out", out).out
    assert out.read_bytes() == (lockgate.home / "ca" / "crl.pem").read_bytes()
    (told,) = lockgate.does("ca", "crl", "--json").json()
    assert told["number"] == 2
    assert told["next_update"] > time.time() + 6 * 86_400


def test_a_list_that_cannot_be_made_leaves_the_device_revoked_and_says_so(lockgate: CommandLine) -> None:
    lockgate.adds("gone", "x509")
    (lockgate.home / "ca" / "issuing.key").write_text("broken")
    done = lockgate("device", "revoke", "gone")
    assert done.code == 0
    assert done.err.startswith("warning: no new revocation list was made")
    assert lockgate.does("device", "show", "gone", "--json").json()["credentials"][0]["is_revoked"]


def test_rotate_and_retire(lockgate: CommandLine) -> None:
    before = lockgate.does("ca", "show", "--json").json()["issuers"][0]["id"]
    said = lockgate.does("ca", "rotate").out
    assert f"lockgate ca retire {before[:16]}" in said
    shown = lockgate.does("ca", "show").out
    assert "issuing  CN=" in shown
    assert "older  CN=" in shown
    assert lockgate.does("ca", "rotate", "--json").json()["older"] != before
    lockgate.does("ca", "retire", before[:16])
    assert "no single older CA" in lockgate.refuses("ca", "retire", before)
    lockgate.adds("sensor", "x509")
    older = lockgate.does("ca", "rotate", "--json").json()["older"]
    assert "1 credentials rest on" in lockgate.refuses("ca", "retire", older)
    assert lockgate.does("ca", "retire", older, "--force", "--json").json()["state"] == "retired"


def test_the_roots_key_is_exported_and_asked_for_again(
    lockgate: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, passphrase = tmp_path / "root-key.pem", tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\nanother line\n")
    lockgate.does("ca", "export-root-key", path, "--passphrase-file", passphrase)
    assert "its key is kept elsewhere" in lockgate.does("ca", "show").out
    assert "--root-key FILE" in lockgate.refuses("ca", "rotate")
    lockgate.does("ca", "rotate", "--root-key", path, "--passphrase-file", passphrase)
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery staple\n"))
    lockgate.does("ca", "rotate", "--root-key", path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("wrong horse\n"))
    assert "does not open" in lockgate.refuses("ca", "rotate", "--root-key", path, fix=False)


def test_a_foreign_ca_is_trusted_and_not_any_more(lockgate: CommandLine, tmp_path: Path) -> None:
    plant = Authority.create_root("Plant CA", now=time.time())
    (tmp_path / "plant.pem").write_bytes(plant.certificate_pem())
    (tmp_path / "plant.crl").write_bytes(crls_to_pem([build_crl(plant, [], 1, time.time())]))
    assert "trusted CN=Plant CA" in lockgate.does(
        "ca", "trust", tmp_path / "plant.pem", "--crl", tmp_path / "plant.crl"
    ).out.replace("\n", " ")
    assert "foreign  CN=Plant CA" in lockgate.does("ca", "show").out
    assert "no longer trusted CN=Plant CA" in lockgate.does("ca", "untrust", plant.thumbprint[:8].upper()).out
    assert "foreign" not in lockgate.does("ca", "show").out
    assert lockgate.does("ca", "trust", tmp_path / "plant.pem", "--json").json()["name"] == "CN=Plant CA"


def test_a_server_certificate_of_another_ca_and_an_older_root_are_shown(lockgate: CommandLine) -> None:
    other = Authority.create_root("Public CA", now=time.time())
    root = lockgate.home / "ca" / "root.crt"
    root.write_bytes(root.read_bytes() + other.certificate_pem())
    (lockgate.home / "server.crt").write_bytes(other.certificate_pem())
    shown = lockgate.does("ca", "show").out
    assert "older root CN=Public CA" in shown
    assert "server of another CA:" in shown


def test_ticket_keys_and_the_server_certificate_are_rotated_by_word(lockgate: CommandLine) -> None:
    before = (lockgate.home / "server.crt").read_bytes()
    assert "hub.example" in lockgate.does("server-cert", "rotate").out
    assert (lockgate.home / "server.crt").read_bytes() != before
    assert "rotated" in lockgate.does("server-cert", "rotate-tickets").out
    assert lockgate.does("server-cert", "renew", "--json").json()["names"] == ["hub.example", "127.0.0.1"]


def test_a_new_root_is_made_in_two_steps(lockgate: CommandLine) -> None:
    old = (lockgate.home / "ca" / "root.crt").read_bytes()
    assert "lockgate ca rotate --finish-root" in lockgate.does("ca", "rotate", "--root").out
    out = lockgate.adds("sensor", "x509")
    assert (out / "ca.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 2
    assert "older root CN=" in lockgate.does("ca", "show").out
    assert "is on its way" in lockgate.refuses("ca", "rotate")
    lockgate.misused("ca", "rotate", "--root", "--finish-root")
    assert "the hub now shows the chain to CN=lockgate root CA" in lockgate.does("ca", "rotate", "--finish-root").out
    assert old not in (lockgate.home / "ca" / "root.crt").read_bytes()
    assert "no new root" in lockgate.refuses("ca", "rotate", "--finish-root")
