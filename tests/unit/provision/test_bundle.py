"""A device's folder is made whole or not at all, for its owner's eyes only, and its secret is nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from argon2 import PasswordHasher

from lockgate.errors import Conflict, InvalidSettings, Unavailable
from lockgate.identity.scram import ITERATIONS
from lockgate.model.device import CredentialKind
from lockgate.model.scram import ScramVerifier
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import (
    certificates_from_pem,
    device_name_of,
    generate_key,
    private_key_from_pem,
    public_key_from_pem,
    public_key_to_pem,
    spki_thumbprint,
)
from lockgate.provision import bundle
from lockgate.provision.bundle import Given, NewCredential, make_bundle, take_given
from lockgate.provision.folder import HubAddress, read_folder
from lockgate.provision.guide import command_lines

NOW = 1_790_000_000.0
HUB = HubAddress("hub.local", 8883)
ROOT = Authority.create_root(now=NOW)
ISSUING = ROOT.create_issuing(now=NOW)
ALL = [kind for kind in CredentialKind if not kind.is_for_coap_alone]


def make(kind: CredentialKind, out: Path, name: str = "sensor-1") -> NewCredential:
    return make_bundle(kind, name, out, HUB, ISSUING, ROOT.certificate_pem(), "lockgate", NOW)


def secret_of(folder: Path) -> bytes:
    path = folder / "password"
    return (path if path.exists() else folder / "device.key").read_bytes()


@pytest.mark.parametrize("kind", ALL)
def test_the_folder_is_its_owners_alone(kind: CredentialKind, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make(kind, tmp_path / "out")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()} == {0o600}
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        (CredentialKind.JWT_ES256, {"device.key"}),
        (CredentialKind.JWT_RS256, {"device.key"}),
        (CredentialKind.X509, {"device.key", "device.crt"}),
        (CredentialKind.PASSWORD, {"password"}),
        (CredentialKind.SCRAM_SHA_256, {"password"}),
    ],
)
def test_each_kind_has_its_files_and_says_so_in_device_json(
    kind: CredentialKind, files: set[str], tmp_path: Path
) -> None:
    make(kind, tmp_path / "out")
    device = read_folder(tmp_path / "out")
    program = {"client.mjs"} if kind is CredentialKind.SCRAM_SHA_256 else set()
    expected = files | {"ca.pem", "device.json", "README.md"} | program
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    assert {device.key_file, device.certificate_file, device.password_file} - {None} == files
    assert (device.name, device.auth, device.host, device.port) == ("sensor-1", kind, "hub.local", 8883)
    assert (device.audience, device.client_id) == ("lockgate", "sensor-1")
    assert (tmp_path / "out" / "ca.pem").read_bytes() == ROOT.certificate_pem()


@pytest.mark.parametrize("kind", [CredentialKind.JWT_ES256, CredentialKind.JWT_RS256])
def test_a_token_device_registers_the_public_half_of_its_key(kind: CredentialKind, tmp_path: Path) -> None:
    credential = make(kind, tmp_path / "out")
    key = private_key_from_pem(secret_of(tmp_path / "out")).public_key()
    assert credential.kind is kind
    assert public_key_from_pem(credential.public.encode()) == key
    assert credential.thumbprint == spki_thumbprint(key)
    assert credential.expires_at is None


def test_an_x509_device_gets_a_certificate_of_its_own_key_and_name(tmp_path: Path) -> None:
    credential = make(CredentialKind.X509, tmp_path / "out")
    leaf, issuer = certificates_from_pem((tmp_path / "out" / "device.crt").read_bytes())
    key = private_key_from_pem(secret_of(tmp_path / "out")).public_key()
    assert leaf.public_key() == key
    assert issuer == ISSUING.certificate
    assert device_name_of(leaf) == "sensor-1"
    assert certificates_from_pem(credential.public.encode()) == (leaf,)
    assert credential.thumbprint == spki_thumbprint(key)
    assert credential.expires_at == leaf.not_valid_after_utc.timestamp()


def test_a_password_has_192_random_bits_and_is_registered_as_argon2id(tmp_path: Path) -> None:
    first, second = (make(CredentialKind.PASSWORD, tmp_path / name) for name in ("one", "two"))
    password = secret_of(tmp_path / "one")
    assert len(bytes.fromhex(password.decode())) == 24
    assert password != secret_of(tmp_path / "two")
    assert first.public.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert PasswordHasher().verify(first.public, password)
    assert first.public != second.public
    assert first.thumbprint == ""


def test_a_scram_password_is_as_random_and_is_registered_as_a_verifier(tmp_path: Path) -> None:
    first, second = (make(CredentialKind.SCRAM_SHA_256, tmp_path / name) for name in ("one", "two"))
    password = secret_of(tmp_path / "one")
    assert len(bytes.fromhex(password.decode())) == 24
    assert password != secret_of(tmp_path / "two")
    kept, other = ScramVerifier.from_text(first.public), ScramVerifier.from_text(second.public)
    assert kept.iterations == other.iterations == ITERATIONS
    assert kept.salt != other.salt
    salted = hashlib.pbkdf2_hmac("sha256", password, kept.salt, kept.iterations)
    assert kept.stored_key == hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert kept.server_key == hmac.digest(salted, b"Server Key", "sha256")
    assert first.thumbprint == ""


def test_the_hash_costs_what_the_check_of_an_unknown_device_costs(tmp_path: Path) -> None:
    credential = make(CredentialKind.PASSWORD, tmp_path / "out")
    assert not PasswordHasher().check_needs_rehash(credential.public)


@pytest.mark.parametrize("kind", ALL)
def test_the_secret_is_neither_in_the_result_nor_in_any_other_file(kind: CredentialKind, tmp_path: Path) -> None:
    credential = make(kind, tmp_path / "out")
    lines = [line for line in secret_of(tmp_path / "out").decode().splitlines() if "-----" not in line]
    others = [path for path in (tmp_path / "out").iterdir() if path.name not in ("device.key", "password")]
    text = repr(credential) + "".join(path.read_text() for path in others)
    assert lines
    assert not [line for line in lines if line in text]


def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    with pytest.raises(Conflict, match=r"is not empty: a device's folder must be a new one"):
        make(CredentialKind.JWT_ES256, tmp_path)
    assert os.listdir(tmp_path) == ["precious"]


def test_an_empty_folder_is_taken_and_closed_to_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    make(CredentialKind.JWT_ES256, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_the_current_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Conflict, match="the one you are in"):
        make(CredentialKind.JWT_ES256, Path("."))


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("keep")
    with pytest.raises(Conflict, match="is a file"):
        make(CredentialKind.JWT_ES256, tmp_path / "out")
    with pytest.raises(InvalidSettings, match=r"cannot be written: File exists"):
        make(CredentialKind.JWT_ES256, tmp_path / "out" / "deeper")
    assert (tmp_path / "out").read_text() == "keep"


def test_missing_parents_are_made(tmp_path: Path) -> None:
    make(CredentialKind.JWT_ES256, tmp_path / "a" / "b" / "out")
    assert read_folder(tmp_path / "a" / "b" / "out").name == "sensor-1"


@pytest.mark.parametrize("which", ["ca.pem", "device.json", "README.md"])
def test_a_failing_write_leaves_nothing_behind(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bundle._write_file

    def break_off(path: Path, content: bytes, is_durable: bool) -> None:
        if path.name == which:
            raise OSError(28, "No space left on device")
        whole(path, content, is_durable)

    monkeypatch.setattr(bundle, "_write_file", break_off)
    with pytest.raises(InvalidSettings, match="cannot be written: No space left on device"):
        make(CredentialKind.JWT_ES256, tmp_path / "a" / "out")
    assert os.listdir(tmp_path) == []


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, content: bytes, is_durable: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "_write_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(CredentialKind.JWT_ES256, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_the_folder_goes_again_when_the_registry_refuses(tmp_path: Path) -> None:
    seen: list[NewCredential] = []

    def refuse(credential: NewCredential) -> None:
        assert read_folder(tmp_path / "out").name == "sensor-1"
        seen.append(credential)
        raise Conflict("the device sensor-1 exists")

    with pytest.raises(Conflict, match="sensor-1 exists"):
        make_bundle(
            CredentialKind.JWT_ES256, "sensor-1", tmp_path / "out", HUB, None, b"", "lockgate", NOW, register=refuse
        )
    assert len(seen) == 1
    assert os.listdir(tmp_path) == []


def test_an_invalid_name_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="no valid device name"):
        make(CredentialKind.JWT_ES256, tmp_path / "out", name="../escape")
    assert os.listdir(tmp_path) == []


def test_x509_without_an_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="needs the certificate authority"):
        make_bundle(CredentialKind.X509, "sensor-1", tmp_path / "out", HUB, None, b"", "lockgate", NOW)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ALL)
def test_a_credential_ends_when_it_shall_and_a_certificate_never_after_that(
    kind: CredentialKind, tmp_path: Path
) -> None:
    end = NOW + 86_400
    made = make_bundle(
        kind, "s", tmp_path / "out", HUB, ISSUING, ROOT.certificate_pem(), "lockgate", NOW, expires_at=end
    )
    assert made.expires_at == end
    if kind is CredentialKind.X509:
        (leaf,) = certificates_from_pem(made.public.encode())
        assert leaf.not_valid_after_utc.timestamp() == end


def test_what_is_in_its_place_already_needs_no_folder() -> None:
    public = public_key_to_pem(generate_key("ec").public_key()).decode()
    taken = take_given(CredentialKind.JWT_ES256, "s", Given(public=public), NOW)
    assert (taken.public, taken.expires_at) == (public, NOW)
    chosen = take_given(CredentialKind.PASSWORD, "s", Given(password="vJ8#qLw2!zRt"))
    assert chosen.public.startswith("$argon2id$")
    assert chosen.expires_at is None
    for kind in (CredentialKind.PASSWORD, CredentialKind.X509):
        with pytest.raises(InvalidSettings, match="go somewhere") as caught:
            take_given(kind, "s", Given(request="a request" if kind is CredentialKind.X509 else ""))
        assert "--out" in caught.value.fix
    with pytest.raises(InvalidSettings, match="brings"):
        take_given(CredentialKind.X509, "s", Given(public=public))


COAP = [CredentialKind.PSK, CredentialKind.RPK, CredentialKind.OSCORE, CredentialKind.NOSEC]
COAP_HUB = HubAddress("hub.local", 8883, 5684, 5683)


def make_coap(kind: CredentialKind, out: Path, **fields: Any) -> NewCredential:
    given = Given(address="192.0.2.7") if kind is CredentialKind.NOSEC else Given()
    return make_bundle(
        kind, "lamp", out, COAP_HUB, None, ROOT.certificate_pem(), "lockgate", NOW,
        **{"given": given, "hub_key_pem": b"the hub's", **fields},
    )  # fmt: skip


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(
    ("kind", "port", "files"),
    [
        (CredentialKind.PSK, 5684, {"psk", "aiocoap.json"}),
        (CredentialKind.RPK, 5684, {"device.key", "device.rpk.pem", "hub.pub.pem"}),
        (CredentialKind.OSCORE, 5683, {"oscore", "oscore/settings.json", "aiocoap.json"}),
        (CredentialKind.NOSEC, 5683, set()),
    ],
)
def test_each_kind_of_coap_has_its_files_for_its_owner_alone(
    kind: CredentialKind, port: int, files: set[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = os.umask(0)
    try:
        make_coap(kind, out)
    finally:
        os.umask(before)
    assert {str(path.relative_to(out)) for path in out.rglob("*")} == files | {"ca.pem", "device.json", "README.md"}
    for path in (out, *out.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    device = read_folder(out)
    assert (device.name, device.auth, device.host, device.port) == ("lamp", kind, "hub.local", port)
    assert (device.psk_file, device.hub_key_file) == (
        "psk" if "psk" in files else None,
        "hub.pub.pem" if "hub.pub.pem" in files else None,
    )


def test_a_pre_shared_key_is_random_printable_and_32_bytes_long_for_one_identity(tmp_path: Path) -> None:
    first = make_coap(CredentialKind.PSK, tmp_path / "one")
    second = make_coap(CredentialKind.PSK, tmp_path / "two", identity="lamp/2")
    key = (tmp_path / "one" / "psk").read_bytes()
    assert len(key) == 32
    assert key.decode("ascii").isprintable()
    assert key != (tmp_path / "two" / "psk").read_bytes()
    assert first.public == f"lamp:{key.hex()}"
    assert second.public.startswith("lamp/2:")
    assert [read_folder(tmp_path / each).psk_identity for each in ("one", "two")] == ["lamp", "lamp/2"]
    known = msgspec.json.decode((tmp_path / "one" / "aiocoap.json").read_bytes())
    dtls = {"psk": {"hex": key.hex()}, "client-identity": {"ascii": "lamp"}}
    assert known["coaps://hub.local:5684/*"] == ":hub"
    assert known[":hub"] == {"dtls": dtls}


@pytest.mark.parametrize("kind", COAP)
def test_no_secret_of_a_coap_device_is_in_a_repr_or_in_what_people_read(kind: CredentialKind, tmp_path: Path) -> None:
    credential = make_coap(kind, tmp_path / "out")
    shown = (
        repr(credential)
        + (tmp_path / "out" / "README.md").read_text()
        + str(command_lines(read_folder(tmp_path / "out")))
    )
    out = tmp_path / "out"
    secrets: list[str] = []
    if kind is CredentialKind.PSK:
        secrets = [(out / "psk").read_text()]
    elif kind is CredentialKind.RPK:
        secrets = (out / "device.key").read_text().splitlines()[1:3]
    elif kind is CredentialKind.OSCORE:
        secrets = credential.public.split(":")[1:]
    for secret in secrets:
        assert secret not in shown
        assert secret.encode().hex() not in shown


def test_a_raw_public_key_is_registered_and_its_private_half_is_here_alone(tmp_path: Path) -> None:
    credential = make_coap(CredentialKind.RPK, tmp_path / "out")
    key = private_key_from_pem((tmp_path / "out" / "device.key").read_bytes()).public_key()
    assert credential.thumbprint == spki_thumbprint(key)
    assert "PRIVATE" not in credential.public
    both = (tmp_path / "out" / "device.rpk.pem").read_bytes()
    assert both == (tmp_path / "out" / "device.key").read_bytes() + credential.public.encode()
    assert (tmp_path / "out" / "hub.pub.pem").read_bytes() == b"the hub's"


def test_a_device_that_brings_its_raw_key_gets_no_other(tmp_path: Path) -> None:
    brought = public_key_to_pem(generate_key("ec").public_key()).decode()
    assert make_coap(CredentialKind.RPK, tmp_path / "out", given=Given(brought)).public == brought
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ca.pem", "device.json", "hub.pub.pem", "README.md"}
    assert "The device made its key itself" in (tmp_path / "out" / "README.md").read_text()


def test_a_pre_shared_key_that_is_brought_is_kept_as_it_is(tmp_path: Path) -> None:
    assert make_coap(CredentialKind.PSK, tmp_path / "out", given=Given(psk="a1" * 16)).public == f"lamp:{'a1' * 16}"
    assert (tmp_path / "out" / "psk").read_bytes() == b"\xa1" * 16
    assert (
        take_given(CredentialKind.PSK, "lamp", Given(psk="b2" * 16), identity="lamp/2").public == f"lamp/2:{'b2' * 16}"
    )
    assert make_coap(CredentialKind.PSK, tmp_path / "bad", given=Given(psk="no hex")).public == "lamp:no hex"
    assert not (tmp_path / "bad" / "psk").exists()


def test_a_device_without_protection_is_an_address_and_needs_no_folder(tmp_path: Path) -> None:
    assert take_given(CredentialKind.NOSEC, "lamp", Given(address="192.0.2.7")).public == "192.0.2.7"
    with pytest.raises(InvalidSettings, match="known by its address alone"):
        make_coap(CredentialKind.NOSEC, tmp_path / "out", given=Given())
    assert "without any protection" in readme_of(make_coap(CredentialKind.NOSEC, tmp_path / "out"), tmp_path / "out")


def readme_of(_made: NewCredential, folder: Path) -> str:
    return (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (CredentialKind.OSCORE, Given(psk="a1" * 16)),
        (CredentialKind.JWT_ES256, Given(psk="a1" * 16)),
        (CredentialKind.PSK, Given(password="a password")),
        (CredentialKind.PSK, Given(address="192.0.2.7")),
        (CredentialKind.X509, Given(address="192.0.2.7")),
        (CredentialKind.NOSEC, Given(psk="a1" * 16, address="192.0.2.7")),
    ],
)
def test_what_does_not_go_with_a_kind_is_refused(kind: CredentialKind, given: Given, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=f"a device of kind {kind.value} brings"):
        make_coap(kind, tmp_path / "out", given=given)


@pytest.mark.parametrize("kind", COAP)
def test_a_device_is_not_made_for_a_door_that_is_not_open(kind: CredentialKind, tmp_path: Path) -> None:
    given = Given(address="192.0.2.7") if kind is CredentialKind.NOSEC else Given()
    with pytest.raises(Unavailable, match="needs a CoAP door"):
        make_bundle(kind, "lamp", tmp_path / "out", HUB, None, b"", "lockgate", NOW, given=given)
    assert not (tmp_path / "out").exists()
