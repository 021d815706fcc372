"""The home: made whole or not at all, for its owner's eyes alone, and for one running hub."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest

from lockgate import home as room
from lockgate.errors import Conflict, InvalidSettings, StoreDamaged, Unavailable
from lockgate.events import Event
from lockgate.home import DoorFacts, Home, RunFacts, default_names, write_private
from lockgate.net.addresses import machine_addresses
from lockgate.net.context import load_context
from lockgate.pki.certificates import certificates_from_pem, names_of
from lockgate.provision.folder import HubAddress
from lockgate.store.registry_db import ChangeKind
from tests.support.registry import NOW


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", ["hub.example", "127.0.0.1"], NOW, "anna", 0)


def running(home: Home, *doors: DoorFacts, pid: int | None = None) -> None:
    write_private(home.doors_path, msgspec.json.encode(RunFacts(os.getpid() if pid is None else pid, doors)))


def test_a_new_home_holds_all_that_a_hub_needs_for_its_owner_alone(home: Home, tmp_path: Path) -> None:
    assert os.listdir(tmp_path) == ["home"]
    for path in (home.path, *home.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert Home.open(home.path).settings().mqtt.port == 0
    assert home.server_names() == ("hub.example", "127.0.0.1")
    assert load_context(home.server_path, home.server_key_path, home.bundle_path).covers("hub.example")
    assert certificates_from_pem(home.root_pem())
    assert home.authority().certificate_pem() == home.issuing_path.read_bytes()
    with home.registry() as registry:
        assert [(each.event, each.actor) for each in registry.audit()] == [(Event.HOME_CREATED, "anna")]


def test_without_names_it_is_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_resolves", lambda _name: False)
    made = Home.create(tmp_path / "home", [], NOW, "anna")
    assert made.server_names() == default_names()
    assert made.server_names()[0] == "localhost"
    monkeypatch.setattr(room, "_resolves", lambda _name: True)
    assert default_names()[0] == machine_addresses().names[0]


def test_a_name_resolves_or_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, _port: [name])
    assert room._resolves("hub.example")

    def unknown(_name: str, _port: None) -> None:
        raise OSError("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not room._resolves("hub.example")


def test_a_home_that_cannot_be_finished_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "MessagesDb", full)
    with pytest.raises(InvalidSettings, match="No space left on device"):
        Home.create(tmp_path / "home", ["hub.example"], NOW, "anna")
    assert os.listdir(tmp_path) == []


def test_a_home_is_not_made_over_another_or_over_something_else(home: Home, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="a home already"):
        Home.create(home.path, ["hub.example"], NOW, "anna")
    with pytest.raises(Conflict, match="is no home"):
        Home.create(tmp_path, ["hub.example"], NOW, "anna")
    (tmp_path / "empty").mkdir()
    assert Home.create(tmp_path / "empty", ["hub.example"], NOW, "anna").settings_path.exists()


def shared(home: Home) -> Home:
    """Lay a home out for a group, as `lockgate service install --office-user` does."""
    for path in (home.path, *home.path.rglob("*")):
        in_ca = "ca" in path.relative_to(home.path).parts
        if path.is_dir():
            path.chmod(0o3770 if path == home.path else 0o2750 if in_ca else 0o2770)
        else:
            path.chmod(0o600 if room.is_authority_key(path) else 0o640 if in_ca else 0o660)
    return home


def test_a_home_of_two_users_is_theirs_and_the_cas_keys_are_of_one(home: Home) -> None:
    shared(home)
    Home.open(home.path)
    home.issuing_key_path.chmod(0o640)
    with pytest.raises(InvalidSettings, match=r"issuing\.key can be read by other users") as caught:
        Home.open(home.path)
    assert caught.value.fix == f"chmod go= {home.issuing_key_path}"
    home.issuing_key_path.chmod(0o600)
    home.server_key_path.chmod(0o664)
    with pytest.raises(InvalidSettings, match=r"server\.key can be read by other users") as caught:
        Home.open(home.path)
    assert caught.value.fix == f"chmod o= {home.server_key_path}"


def test_what_is_written_there_is_the_groups_but_for_the_cas_keys(home: Home) -> None:
    shared(home)
    for path, mode in (
        (home.server_key_path, 0o660),
        (home.crl_path, 0o640),
        (home.issuing_path, 0o640),
        (home.issuing_key_path, 0o600),
        (home.old_authorities_path / "a.key", 0o600),
    ):
        write_private(path, b"x")
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_secret_that_others_could_use_is_refused(home: Home, mode: int) -> None:
    for path in (
        home.issuing_key_path,
        home.root_key_path,
        home.server_key_path,
        home.registry_path,
        home.messages_path,
    ):
        path.chmod(mode)
        with pytest.raises(InvalidSettings, match="can be read by other users") as caught:
            Home.open(home.path)
        assert caught.value.fix == f"chmod -R go= {home.path}"
        path.chmod(0o600)
    Home.open(home.path)


def test_a_place_without_a_home_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="there is no home at") as caught:
        Home.open(tmp_path / "nothing")
    assert caught.value.fix == f"lockgate init --home {tmp_path / 'nothing'}"


def test_a_new_server_certificate_is_told_to_the_gate(home: Home) -> None:
    with home.registry(read_only=True) as reader:
        before = reader.last_sequence
        assert home.issue_server_certificate(["new.example"], NOW, "anna") == ("new.example",)
        assert [change.kind for change in reader.changes_since(before)] == [ChangeKind.SERVER_CERTIFICATE]
    assert names_of(certificates_from_pem(home.server_path.read_bytes())[0]) == ("new.example",)
    assert load_context(home.server_path, home.server_key_path, home.bundle_path).covers("new.example")


def test_each_lost_file_is_named(home: Home) -> None:
    for path in (home.issuing_key_path, home.root_path, home.server_path):
        path.unlink()
    for look in (home.authority, home.root_pem, home.server_names):
        with pytest.raises(InvalidSettings, match="cannot be read") as caught:
            look()
        assert caught.value.fix


def test_what_runs_is_known_by_its_process(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.running() is None
    running(home)
    facts = home.running()
    assert facts is not None
    assert facts.pid == os.getpid()

    def of_another_user(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", of_another_user)
    assert home.running() is not None

    def gone(_pid: int, _signal: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    assert home.running() is None
    monkeypatch.undo()
    home.doors_path.write_bytes(b"{")
    assert home.running() is None


def test_devices_are_told_the_open_port_or_else_the_set_one(home: Home) -> None:
    with pytest.raises(Unavailable, match="port is not known"):
        home.hub_address()
    web = DoorFacts("mqtt", "::1", 4712, "tls", "websocket")
    running(home, DoorFacts("mqtt", "::1", 1883, "none"), web, DoorFacts("mqtt", "::1", 4711, "tls"))
    assert (home.hub_address().host, home.hub_address().port) == ("hub.example", 4711)
    home.doors_path.unlink()
    home.settings_path.write_text("[mqtt]\nport = 9000\n")
    assert home.hub_address().port == 9000


@pytest.mark.parametrize(("port", "beside"), [(8883, 8884), (9000, 9001), (0, 0), (65_535, 0)])
def test_the_websocket_door_gets_the_port_beside(tmp_path: Path, port: int, beside: int) -> None:
    made = Home.create(tmp_path / "home", ["hub.example"], NOW, "anna", port)
    assert (made.settings().mqtt.port, made.settings().mqtt.websocket_port) == (port, beside)


def test_one_hub_at_a_time_holds_the_home(home: Home) -> None:
    held = home.lock()
    with pytest.raises(Conflict, match=r"a hub runs on"):
        home.lock()
    running(home)
    with pytest.raises(Conflict, match=rf"a hub \(process {os.getpid()}\) runs on"):
        home.lock()
    os.close(held)
    os.close(home.lock())


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_private(path, b"one")
    path.chmod(0o644)
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["file"]


def test_a_new_home_outlasts_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    Home.create(tmp_path / "home", ["hub.example"], NOW, "anna", 0)
    assert synced[-1] == str(tmp_path), "the name of the home itself, last of all"
    made = synced[-2]
    assert {made + "/ca", made} <= set(synced)


def test_the_hubs_raw_key_is_made_once_for_its_owner_alone_and_outlasts_its_certificate(home: Home) -> None:
    first = home.raw_public_pem()
    assert first.startswith(b"-----BEGIN PUBLIC KEY-----")
    assert stat.S_IMODE(home.raw_key().stat().st_mode) == 0o600
    home.issue_server_certificate(["hub.example"], NOW, "anna")
    assert Home.open(home.path).raw_public_pem() == first
    write_private(home.raw_key_path, b"another", is_first=True)
    assert home.raw_public_pem() == first
    assert not [path.name for path in home.path.iterdir() if path.name.startswith(".hub")]


def test_a_raw_key_that_cannot_be_made_or_read_is_told_with_its_path(home: Home) -> None:
    home.raw_key_path.mkdir()
    with pytest.raises(InvalidSettings, match="raw key cannot be read"):
        home.raw_public_pem()
    nowhere = Home(home.path / "lockgate.toml" / "x")
    with pytest.raises(InvalidSettings, match="cannot be made"):
        nowhere.raw_key()


@pytest.mark.parametrize("name", ["secrets.key", "hub.key"])
def test_a_home_whose_shared_secrets_others_can_read_is_not_opened(home: Home, name: str) -> None:
    (home.path / name).write_text("x")
    (home.path / name).chmod(0o644)
    with pytest.raises(InvalidSettings, match="can be read by other users"):
        Home.open(home.path)


def test_the_registry_is_looked_over_before_the_hub_starts_in_a_thread_or_at_once(home: Home) -> None:
    home.bring_up_to_date()
    home.begin_look()
    home.bring_up_to_date()
    damaged = bytearray(home.registry_path.read_bytes())
    damaged[4096:8192] = bytes(4096)
    home.registry_path.write_bytes(damaged)
    again = Home(home.path)
    with pytest.raises(StoreDamaged):
        again.bring_up_to_date()
    again.begin_look()
    with pytest.raises(StoreDamaged):
        again.bring_up_to_date()
    assert home.registry_path.read_bytes() == damaged


def test_a_lost_registry_is_named_before_the_hub_starts(home: Home) -> None:
    home.registry_path.unlink()
    home.begin_look()
    with pytest.raises(InvalidSettings, match="it holds all devices and rules"):
        home.bring_up_to_date()


def test_what_ends_with_the_process_does_not_wait_for_the_disk(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_private(home.doors_path, b"{}", is_durable=False)
    assert (home.doors_path.read_bytes(), synced) == (b"{}", [])
    write_private(home.doors_path, b"[]")
    assert len(synced) == 2


def test_the_address_names_the_doors_for_coap_that_are_open_or_set(home: Home) -> None:
    home.settings_path.write_text("[mqtt]\nport = 8883\n")
    assert home.hub_address() == HubAddress("hub.example", 8883, 5684, 0)
    home.settings_path.write_text("[mqtt]\nport = 8883\n[coap]\nenabled = false\nnosec_enabled = true\n")
    assert home.hub_address() == HubAddress("hub.example", 8883, 0, 5683)
    running(
        home,
        DoorFacts("mqtt", "::1", 40001, "tls"),
        DoorFacts("coap", "::1", 40002, "dtls", "udp"),
        DoorFacts("coap", "::1", 40003, "none", "udp"),
    )
    assert home.hub_address() == HubAddress("hub.example", 40001, 40002, 40003)
