"""`lockgate service`: a unit that starts the hub and takes away from it what it does not need."""

from __future__ import annotations

import grp
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import CommandLine

HARDENING = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "RemoveIPC": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0077",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
}


def lines(text: str) -> list[tuple[str, str]]:
    """Split a unit into its settings."""
    plain = [line for line in text.splitlines() if line and line[0] not in "#["]
    assert all("=" in line for line in plain)
    return [(name, value) for name, _, value in (line.partition("=") for line in plain)]


def test_print_shows_a_hardened_unit_for_this_home_and_changes_nothing(lockgate: CommandLine) -> None:
    text = lockgate.does("service", "install", "--print", "--user", "hub", "--unit-dir", lockgate.folder / "no").out
    found = lines(text)
    assert [line for line in text.splitlines() if line.startswith("[")] == ["[Unit]", "[Service]", "[Install]"]
    facts = dict(found)
    assert {name: facts[name] for name in HARDENING} == HARDENING
    assert [value for name, value in found if name == "SystemCallFilter"] == [
        "@system-service",
        "~@privileged @resources",
    ]
    assert set(facts["RestrictAddressFamilies"].split()) == {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"}
    assert facts["ReadWritePaths"] == str(lockgate.home)
    assert facts["ExecStart"].endswith(f" up --home {lockgate.home}")
    assert (facts["User"], facts["Restart"], facts["WantedBy"]) == ("hub", "on-failure", "multi-user.target")
    assert len({name for name, _ in found}) == len(found) - 1  # only SystemCallFilter stands twice
    assert not (lockgate.folder / "no").exists()


@pytest.mark.parametrize("setting", ["mqtt.port", "mqtt.websocket_port", "coap.port"])
def test_a_port_below_1024_gets_the_one_capability_that_it_needs(lockgate: CommandLine, setting: str) -> None:
    (lockgate.home / "lockgate.toml").write_text(f"{setting} = 443\n")
    facts = dict(lines(lockgate.does("service", "install", "--print").out))
    assert facts["CapabilityBoundingSet"] == facts["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"


@pytest.mark.parametrize(
    ("home", "python", "protected"),
    [
        ("/home/me/hub", "/usr", "read-only"),
        ("/root/hub", "/usr", "read-only"),
        ("/srv/hub", "/home/me/venv", "read-only"),
        ("/srv/hub", "/usr", "yes"),
    ],
)
def test_homes_of_users_stay_hidden_unless_the_hub_or_its_python_lives_there(
    lockgate: CommandLine, monkeypatch: pytest.MonkeyPatch, home: str, python: str, protected: str
) -> None:
    monkeypatch.setattr(Path, "resolve", lambda self: Path(home) if self == lockgate.home else self)
    monkeypatch.setattr(sys, "prefix", python)
    monkeypatch.setattr(sys, "base_prefix", python)
    monkeypatch.setattr(sys, "executable", f"{python}/bin/python3")
    monkeypatch.setattr("shutil.which", lambda _name: f"{python}/bin/lockgate")
    assert dict(lines(lockgate.does("service", "install", "--print").out))["ProtectHome"] == protected


def test_install_writes_the_unit_and_says_what_comes_next(lockgate: CommandLine) -> None:
    out = lockgate.does("service", "install", "--unit-dir", lockgate.folder).out
    assert "wrote" in out
    assert "systemctl daemon-reload && systemctl enable --now lockgate" in out
    printed = lockgate.does("service", "install", "--print").out
    assert (lockgate.folder / "lockgate.service").read_text() == printed


def test_install_starts_it_where_systemd_runs_and_says_when_that_fails(
    lockgate: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    codes = [0, 0, 1]

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[bytes]:
        ran.append(command)
        return subprocess.CompletedProcess(command, codes.pop(0))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(Path, "write_text", lambda _self, _text: 0)
    monkeypatch.setattr(Path, "exists", lambda _self: True)
    assert "started" in lockgate.does("service", "install").out
    assert ran == [["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", "lockgate"]]
    assert "systemctl daemon-reload failed" in lockgate("service", "install").err
    assert "next:" in lockgate.does("service", "install", "--no-start").out


def test_a_place_that_cannot_be_written_is_refused(lockgate: CommandLine) -> None:
    error = lockgate.refuses("service", "install", "--unit-dir", lockgate.folder / "no")
    assert "sudo" in error


@pytest.mark.parametrize("user", ["", "a b", "root\nExecStartPre=/bin/sh", "%u", "a/b", "-x"])
def test_a_user_that_cannot_be_one_is_refused(lockgate: CommandLine, user: str) -> None:
    assert "is no name of a user" in lockgate.refuses("service", "install", "--print", f"--user={user}")


@pytest.mark.parametrize("folder", ["a b", "a%b", 'a"b', "a'b", "a\\b", "a\nb"])
def test_a_path_that_a_unit_cannot_hold_is_refused(lockgate: CommandLine, folder: str) -> None:
    lockgate.home.rename(lockgate.folder / folder)
    error = lockgate.refuses("service", "install", "--print", "--home", lockgate.folder / folder)
    assert "a character that a unit cannot" in error


def test_two_users_have_two_units_and_a_home_laid_out_for_both(
    lockgate: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: dict[str, tuple[int, int]] = {}
    lockgate.adds("lamp", "psk")
    monkeypatch.setattr("os.chown", lambda path, user, group, **_: owners.update({Path(path).name: (user, group)}))
    options = ("--user", "daemon", "--office-user", "bin", "--unit-dir", lockgate.folder)
    out = lockgate.does("service", "install", "--no-start", *options).out
    assert "systemctl enable --now lockgate lockgate-office" in out
    hub = dict(lines((lockgate.folder / "lockgate.service").read_text()))
    office = dict(lines((lockgate.folder / "lockgate-office.service").read_text()))
    assert hub["ExecStart"].endswith(f" up --no-office --home {lockgate.home}")
    assert office["ExecStart"].endswith(f" office --home {lockgate.home}")
    assert (hub["User"], office["User"]) == ("daemon", "bin")
    gate, office_id = pwd.getpwnam("daemon").pw_uid, pwd.getpwnam("bin").pw_uid
    assert [owners[name][0] for name in ("messages.db", "issuing.key", "registry.db")] == [gate, office_id, office_id]
    assert {group for _, group in owners.values()} == {grp.getgrnam("daemon").gr_gid}
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (lockgate.home, *lockgate.home.rglob("*"))}
    assert (modes["home"], modes["ca"], modes["run"]) == (0o3770, 0o2750, 0o2770)
    assert (modes["issuing.key"], modes["issuing.crt"], modes["registry.db"]) == (0o600, 0o640, 0o660)
    assert modes["secrets.key"] == 0o640
    lockgate.does("device", "list")


def test_a_user_that_does_not_exist_is_said(lockgate: CommandLine) -> None:
    lockgate.refuses("service", "install", "--office-user", "no-such-user", "--unit-dir", lockgate.folder)
