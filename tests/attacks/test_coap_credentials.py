"""Threats: a shared key lies about where others read it; one device is taken for another; protection is lost by a slip.

What a thief of registry.db, of one device, or of a wire can do with credentials for CoAP: nothing that is not that
device's own. Identity is asked here as the CoAP door asks it, after DTLS, OSCORE or Echo have proven their part.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from lockgate.errors import AuthenticationFailed, InvalidSettings, LockgateError, NotAuthorized
from lockgate.home import Home
from lockgate.identity import Authenticator, Credentials
from lockgate.identity.keys import DtlsKeyring
from lockgate.identity.oscore import find_context
from lockgate.model.device import CredentialKind
from lockgate.model.topic import topic_name
from lockgate.net.dtls_failures import unknown_identity
from lockgate.net.link import Address
from lockgate.provision.bundle import Given, NewCredential
from lockgate.registry.journal import Journal
from lockgate.registry.registrar import Registrar
from lockgate.registry.registry import Registry
from lockgate.registry.vault import SECRETS_FILE, Vault
from lockgate.settings import IdentitySettings
from lockgate.store.registry_db import RegistryDb
from tests.attacks.conftest import Target
from tests.attacks.test_secrets_in_reprs import leaks
from tests.support.cli import CommandLine
from tests.support.registry import EC_KEY, NOW, nosec, oscore, psk, rpk, spki

KEY = secrets.token_urlsafe(24).encode()
METER_KEY = ec.generate_private_key(ec.SECP256R1())
SPELLINGS = (KEY.decode(), KEY.hex(), KEY.hex().upper())


@pytest.fixture
def lockgate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys).makes_home()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / SECRETS_FILE)


@pytest.fixture
def coap(target: Target, vault: Vault) -> Target:
    """Registered beside the others: `lamp` and `valve` (PSK), `meter` (raw key), `probe` (nothing at all)."""
    target.registry.add("lamp", psk(vault, "lamp", KEY))
    target.registry.add("valve", psk(vault, "valve", secrets.token_bytes(32)))
    target.registry.add("meter", rpk(METER_KEY))
    target.registry.add("tap", oscore(vault, "tap", b"\xa1\xb2"))
    target.registry.add("probe", nosec("192.0.2.7"))
    return target


@pytest.mark.requirement("I3", "C2")
def test_a_stolen_registry_opens_nothing_without_the_homes_key(tmp_path: Path) -> None:
    home, loot = tmp_path / "home", tmp_path / "loot"
    home.mkdir()
    loot.mkdir()
    with RegistryDb(home / "registry.db") as db:
        Registrar(db, "anna", lambda: NOW).add_device("lamp", [NewCredential(CredentialKind.PSK, f"lamp:{KEY.hex()}")])
    for path in home.glob("registry.db*"):
        shutil.copy(path, loot)
        assert not [each for each in SPELLINGS if each.encode() in path.read_bytes()]
        assert KEY not in path.read_bytes()
        assert hashlib.sha256(KEY).digest() not in path.read_bytes(), "a digest can be guessed against"
        assert hashlib.sha256(KEY).hexdigest().encode() not in path.read_bytes()
    with RegistryDb(loot / "registry.db", read_only=True) as db:
        assert DtlsKeyring(Registry(db), Vault(loot / SECRETS_FILE)).psk(b"lamp") is None
    with RegistryDb(home / "registry.db", read_only=True) as db:
        assert DtlsKeyring(Registry(db), Vault(home / SECRETS_FILE)).psk(b"lamp") == KEY, "so the search can find it"


@pytest.mark.requirement("I8", "C2")
def test_whoever_can_write_to_the_registry_cannot_give_his_key_to_another_device(tmp_path: Path) -> None:
    with RegistryDb(tmp_path / "registry.db") as db:
        registrar = Registrar(db, "anna", lambda: NOW)
        registrar.add_device("thief", [NewCredential(CredentialKind.PSK, f"thief:{KEY.hex()}")])
        registrar.add_device("lamp", [NewCredential(CredentialKind.PSK, f"lamp:{secrets.token_hex(32)}")])
        with db.write() as write:
            write.execute(
                "UPDATE credential SET public = (SELECT public FROM credential WHERE device = 'thief')"
                " WHERE device = 'lamp'"
            )
        assert DtlsKeyring(Registry(db), Vault(tmp_path / SECRETS_FILE)).psk(b"lamp") is None


@pytest.mark.requirement("I3", "C2")
def test_no_shared_key_is_in_a_repr_an_error_or_a_line_of_the_log(coap: Target, vault: Vault) -> None:
    kept: list[object] = [vault, Given(psk=KEY.hex()), NewCredential(CredentialKind.PSK, f"lamp:{KEY.hex()}")]
    keyring = DtlsKeyring(coap.registry, vault)
    kept += [keyring, find_context(coap.registry, vault, b"\xa1\xb2"), coap.registry.devices["lamp"]]
    journal = Journal(100, lambda: NOW, devices=coap.registry)
    with capture_logs() as logged:
        assert keyring.psk(b"lamp") == KEY
        DtlsKeyring(coap.registry, Vault(vault.path.with_name("lost.key"))).psk(b"lamp")
        for shown in (b"lamp", KEY):  # the second: a client's two options, mixed up
            journal.dtls_refused("coap", Address("192.0.2.7", 1), unknown_identity(shown))
            try:
                kept.append(coap.identity.authenticate(Credentials("", psk_identity=shown, suffix="coap/1"), NOW))
            except LockgateError as error:
                kept += [str(error), error.evidence, error.fix]
    for text in (*map(repr, kept), repr(logged)):
        assert not [each for each in SPELLINGS if each in text]
    assert leaks(*SPELLINGS) == []


@pytest.mark.requirement("I8", "C2")
@pytest.mark.parametrize(
    ("shown", "owner"),
    [
        (Credentials("", psk_identity=b"lamp"), "lamp"),
        (Credentials("", raw_public_key=spki(METER_KEY)), "meter"),
        (Credentials("", oscore_id=b"\xa1\xb2"), "tap"),
        (Credentials("", host="192.0.2.7", is_address_proven=True), "probe"),
    ],
)
def test_a_device_is_nobody_but_itself_whatever_it_asks_for(coap: Target, shown: Credentials, owner: str) -> None:
    for other in ("valve", "valve/coap/1", "sensor", "lab", "hub"):
        with pytest.raises(NotAuthorized):
            coap.identity.authenticate(msgspec.structs.replace(shown, client_id=other), NOW)
    principal = coap.identity.authenticate(msgspec.structs.replace(shown, suffix="coap/1"), NOW)
    assert (principal.device, principal.client_id) == (owner, f"{owner}/coap/1")
    assert coap.publishes(principal, topic_name(f"devices/{owner}/x"))
    assert not coap.publishes(principal, topic_name("devices/valve/x"))


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(
    "identity",
    [b"lamp\0", b"lamp ", b"LAMP", b"lamp/", b"psk-lamp", b"lamp/../valve", b"address-192.0.2.7", b"oscore-a1b2"],
)
def test_a_name_that_looks_like_a_devices_is_nobodys(coap: Target, vault: Vault, identity: bytes) -> None:
    assert DtlsKeyring(coap.registry, vault).psk(identity) is None
    with pytest.raises(AuthenticationFailed):
        coap.identity.authenticate(Credentials("", psk_identity=identity), NOW)


@pytest.mark.requirement("C2")
def test_no_kind_stands_in_for_another(coap: Target, vault: Vault) -> None:
    keyring = DtlsKeyring(coap.registry, vault)
    assert not keyring.is_known_key(spki(EC_KEY)), "registered for tokens"
    for shown in (
        Credentials("", raw_public_key=spki(EC_KEY)),
        Credentials("", psk_identity=b"meter"),
        Credentials("", oscore_id=b"lamp"),
        Credentials("", host="192.0.2.7"),
        Credentials("lamp", "lamp", KEY),
        Credentials("lamp", "lamp", KEY.hex().encode()),
    ):
        with pytest.raises(AuthenticationFailed):
            coap.identity.authenticate(shown, NOW)


@pytest.mark.requirement("I6", "C2")
def test_what_was_revoked_opens_nothing_from_that_moment_on(coap: Target, vault: Vault) -> None:
    keyring, identity = DtlsKeyring(coap.registry, vault), coap.identity
    live = [
        identity.authenticate(shown, NOW)
        for shown in (Credentials("", psk_identity=b"lamp"), Credentials("", raw_public_key=spki(METER_KEY)))
    ]
    for name in ("lamp", "meter", "tap", "probe"):
        coap.registry.change_credentials(name, is_revoked=True)
    assert keyring.psk(b"lamp") is None
    assert not keyring.is_known_key(spki(METER_KEY))
    assert find_context(coap.registry, vault, b"\xa1\xb2") is None
    for principal in live:
        verdict = identity.verdict(principal, NOW)
        assert verdict is not None
        assert verdict.reason == "credential revoked"
    for shown in (
        Credentials("", psk_identity=b"lamp"),
        Credentials("", raw_public_key=spki(METER_KEY)),
        Credentials("", oscore_id=b"\xa1\xb2"),
        Credentials("", host="192.0.2.7", is_address_proven=True),
    ):
        with pytest.raises(LockgateError) as caught:
            identity.authenticate(shown, NOW)
        assert caught.value.reason == "credential revoked"


@pytest.mark.requirement("C2")
def test_one_key_of_two_is_revoked_and_the_other_holds(coap: Target, vault: Vault) -> None:
    coap.registry.add("pump", psk(vault, "pump", KEY), psk(vault, "pump", KEY[::-1], "pump/2"))
    first, second = coap.registry.devices["pump"].credentials
    coap.registry.change("pump", credentials=(msgspec.structs.replace(first, is_revoked=True), second))
    keyring = DtlsKeyring(coap.registry, vault)
    assert (keyring.psk(b"pump"), keyring.psk(b"pump/2")) == (None, KEY[::-1])
    assert coap.identity.authenticate(Credentials("", psk_identity=b"pump/2"), NOW).credential_id == second.id


@pytest.mark.requirement("C2")
def test_no_device_loses_its_protection_by_a_slip(lockgate: CommandLine) -> None:
    with Home(lockgate.home).settings_path.open("a") as settings:
        settings.write("\n[coap]\nnosec_enabled = true\n")
    lockgate.adds("lamp", "psk")
    out = lockgate.folder / "out"
    table = lockgate.folder / "table.csv"
    table.write_text("name,auth\nprobe,nosec\n")
    for command in (
        ("device", "add", "probe", "--auth", "nosec", "--out", out),
        ("device", "add", "probe", "--auth", "nosec", "--address", "192.0.2.7"),
        ("device", "add", "probe", "--auth", "nosec", "--accept-no-security"),
        ("device", "rotate", "lamp", "--auth", "nosec", "--out", out),
        ("credential", "add", "lamp", "--auth", "nosec", "--out", out),
        ("device", "add-many", table, "--auth", "nosec", "--out", out),
        ("device", "add-many", table, "--out", out),
        ("device", "add", "probe", "--auth", "nosec", "--address", "0.0.0.0", "--accept-no-security"),
        ("device", "add", "probe", "--auth", "nosec", "--address", "192.0.2.0/24", "--accept-no-security"),
        ("device", "add", "probe", "--auth", "nosec", "--address", "ff02::1", "--accept-no-security"),
    ):
        assert lockgate(*command).code in (1, 2)
    kinds = {c["kind"] for device in lockgate.does("device", "list", "--json").json() for c in device["credentials"]}
    assert kinds == {"psk"}
    registry = Registry(RegistryDb(Home(lockgate.home).registry_path, read_only=True))
    shown = Credentials("", host="192.0.2.7", is_address_proven=True)
    with pytest.raises(AuthenticationFailed):
        Authenticator(registry, IdentitySettings()).authenticate(shown, NOW)


@pytest.mark.requirement("I3", "C2")
def test_the_key_of_the_vault_is_its_owners_alone_and_a_home_that_shows_it_is_not_opened(lockgate: CommandLine) -> None:
    lockgate.adds("lamp", "psk")
    path = Home(lockgate.home).secrets_path
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(InvalidSettings, match="can be read by other users"):
        Home.open(lockgate.home)
