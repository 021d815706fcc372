"""`lockgate up`: what it says of its doors; and the one sentence with which it does not start."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lockgate import app
from lockgate.cli import up as room
from lockgate.home import DoorFacts, Home
from lockgate.net.addresses import machine_addresses
from lockgate.pki.certificates import generate_key, private_key_to_pem
from tests.support.cli import CommandLine


@pytest.fixture(autouse=True)
def _logging_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "configure_logging", lambda _settings: None)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int | None, bool]]:
    """Note with what the gate is run; it opens two doors and ends."""
    ran: list[tuple[Path, int | None, bool]] = []

    def run(
        home: Home,
        lab_port: int | None,
        on_open: Callable[[tuple[DoorFacts, ...]], None],
        until_eof: bool,
        on_office: Callable[[tuple[DoorFacts, ...]], None] | None,
    ) -> None:
        ran.append((home.path, lab_port, until_eof))
        web = DoorFacts("mqtt", "0.0.0.0", 8884, "tls", "websocket")
        on_open((DoorFacts("mqtt", "127.0.0.1", 8883, "tls"), DoorFacts("mqtt", "::1", 1883, "none"), web))
        if on_office is not None:
            on_office((DoorFacts("office", "127.0.0.1", 8443, "tls", "https"),))

    monkeypatch.setattr(app, "run_gate", run)
    return ran


def test_up_says_each_door_with_its_protection(lockgate: CommandLine, ran: list[object]) -> None:
    out = lockgate.does("up", "--lab-port", "1883").out
    assert ran == [(lockgate.home, 1883, False)]
    assert "MQTT on 127.0.0.1:8883: TLS 1.2 and 1.3" in out
    assert "MQTT over WebSocket on 0.0.0.0:8884 (wss://hub.example:8884/mqtt): TLS 1.2 and 1.3" in out
    assert "HTTPS on 127.0.0.1:8443: the office" in out
    assert "MQTT on [::1]:1883: NO ENCRYPTION, NO IDENTITY" in out
    assert "the certificate is for: hub.example, 127.0.0.1" in out


def test_up_as_json_says_the_offices_doors_on_a_line_of_their_own(lockgate: CommandLine, ran: list[object]) -> None:
    lines = lockgate.does("up", "--json").out.splitlines()
    assert [msgspec.json.decode(line)["doors"][0]["door"] for line in lines] == ["mqtt", "office"]


def test_up_as_json_is_one_line(lockgate: CommandLine, ran: list[object]) -> None:
    done = lockgate.does("up", "--json", "--until-eof", "--no-office")
    assert ran == [(lockgate.home, None, True)]
    assert done.out.count("\n") == 1
    facts = done.json()
    assert facts["names"] == ["hub.example", "127.0.0.1"]
    assert facts["doors"][1] == {
        "door": "mqtt",
        "address": "::1",
        "port": 1883,
        "protection": "none",
        "transport": "tcp",
    }


@pytest.mark.parametrize("reachable", [("192.0.2.1", "fd00::1"), ()])
def test_a_door_on_all_addresses_says_which_they_are(
    monkeypatch: pytest.MonkeyPatch, reachable: tuple[str, ...]
) -> None:
    kind = type(machine_addresses())
    monkeypatch.setattr(kind, "reachable", property(lambda _self: reachable))
    lines = room.describe([DoorFacts("mqtt", "0.0.0.0", 8883, "tls"), DoorFacts("mqtt", "hub", 1, "tls")], ["x"])
    assert any((", ".join(reachable) or "none but loopback") in line for line in lines)


def test_an_address_in_a_url_stands_in_brackets() -> None:
    line = room.describe([DoorFacts("mqtt", "::1", 8884, "tls", "websocket")], ["2001:db8::7"])[0]
    assert "(wss://[2001:db8::7]:8884/mqtt)" in line


# It does not start, and says why


def test_without_a_home_it_says_how_to_make_one(bare: CommandLine) -> None:
    error = bare.refuses("up")
    assert f"there is no home at {bare.home}" in error
    assert f"fix: lockgate init --home {bare.home}" in error


@pytest.mark.parametrize("name", [".", "server.key", "ca/issuing.key", "ca/root.key", "registry.db", "lockgate.toml"])
def test_a_home_that_others_can_read_is_refused_and_the_fix_works(lockgate: CommandLine, name: str) -> None:
    path = lockgate.home / name
    path.chmod(path.stat().st_mode | 0o040)
    error = lockgate.refuses("up")
    assert "can be read by other users" in error
    assert f"chmod -R go= {lockgate.home}" in error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mqtt]\nprot = 1", ("unknown setting mqtt.prot", "did you mean port?")),
        ("[mqttt]\n", ("unknown setting mqttt", "did you mean mqtt?")),
        ("[mqtt]\nport = 'x'", ("mqtt.port: expected `int`, got `str`",)),
        ("[mqtt]\nport = 70000", ("mqtt.port: expected `int` <= 65535",)),
        ("[mqtt\n", ("lockgate.toml is no TOML",)),
    ],
)
def test_a_misspelt_or_wrong_setting_is_named_with_its_path(
    lockgate: CommandLine, text: str, words: tuple[str, ...]
) -> None:
    (lockgate.home / "lockgate.toml").write_text(text)
    error = lockgate.refuses("up")
    assert str(lockgate.home / "lockgate.toml") in error
    assert all(each in error for each in words)


@pytest.mark.parametrize("name", ["registry.db", "messages.db"])
@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_database_is_named(lockgate: CommandLine, name: str, damage: bytes) -> None:
    (lockgate.home / name).write_bytes(damage)
    error = lockgate.refuses("up")
    assert str(lockgate.home / name) in error
    assert "restore" in error
    command = ("why",) if name == "messages.db" else ("device", "list")
    assert str(lockgate.home / name) in lockgate.refuses(*command)


def test_a_database_with_a_torn_page_is_named(lockgate: CommandLine) -> None:
    path = lockgate.home / "registry.db"
    content = bytearray(path.read_bytes())
    content[4096 : 3 * 4096] = b"\xaa" * 2 * 4096
    path.write_bytes(content)
    assert f"{path} is damaged" in lockgate.refuses("up")


def test_a_lost_registry_is_not_begun_anew(lockgate: CommandLine) -> None:
    (lockgate.home / "registry.db").unlink()
    assert f"{lockgate.home / 'registry.db'} is missing" in lockgate.refuses("up")


@pytest.mark.parametrize("name", ["server.key", "server.crt", "ca/bundle.crt"])
def test_a_missing_or_broken_key_or_certificate_is_named(lockgate: CommandLine, name: str) -> None:
    path = lockgate.home / name
    path.write_bytes(b"nothing of use")
    done = lockgate("up")
    assert (done.code, done.out) == (1, "")
    path.unlink()
    done = lockgate("up")
    assert (done.code, done.out) == (1, "")
    assert "cannot be read" in done.err
    assert len(done.err.splitlines()) <= 2


def test_a_key_that_does_not_belong_to_the_certificate_is_named(lockgate: CommandLine) -> None:
    (lockgate.home / "server.key").write_bytes(private_key_to_pem(generate_key("ec")))
    error = lockgate.refuses("up")
    assert f"{lockgate.home / 'server.key'} does not belong to the server certificate" in error


def test_a_second_hub_on_one_home_is_refused(lockgate: CommandLine) -> None:
    held = Home(lockgate.home).lock()
    try:
        assert f"runs on {lockgate.home} already" in lockgate.refuses("up")
    finally:
        os.close(held)


def test_a_lab_port_that_is_none_is_wrong_usage(lockgate: CommandLine) -> None:
    lockgate.misused("up", "--lab-port", "65536")
    lockgate.misused("up", "--lab-port", "x")
