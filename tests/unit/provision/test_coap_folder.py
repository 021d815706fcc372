"""What a device that speaks CoAP finds in its folder, as the programs that read it do."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from aiocoap import GET, Message
from aiocoap.credentials import CredentialsMap
from aiocoap.oscore import FilesystemSecurityContext

from lockgate.identity.oscore import HUB_ID
from lockgate.model.device import CredentialKind
from lockgate.provision.coap_folder import CoapAddress, coap_address, new_psk, oscore_files, psk_files
from lockgate.registry.shared_secrets import check_psk, read_oscore

HUB = CoapAddress("coap", "hub.local", 5683)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (CredentialKind.PSK, "coaps://hub.local:5684"),
        (CredentialKind.RPK, "coaps://hub.local:5684"),
        (CredentialKind.X509, "coaps://hub.local:5684"),
        (CredentialKind.OSCORE, "coap://hub.local:5684"),
        (CredentialKind.NOSEC, "coap://hub.local:5684"),
    ],
)
def test_each_kind_has_its_scheme(kind: CredentialKind, base: str) -> None:
    assert coap_address(kind, "hub.local", 5684).base == base


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert CoapAddress("coaps", "2001:db8::7", 5684).base == "coaps://[2001:db8::7]:5684"


def test_keys_are_strong_enough_for_the_registry() -> None:
    keys = {new_psk() for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        check_psk("lamp", key)


def test_aiocoap_reads_a_pre_shared_key() -> None:
    known = CredentialsMap()
    known.load_from_dict(msgspec.json.decode(psk_files("lamp", b"k" * 32, HUB)["aiocoap.json"]))
    assert {key: value.as_dtls_psk() for key, value in known.items()} == {
        "coap://hub.local:5683/*": (b"lamp", b"k" * 32),
        "coap://hub.local/*": (b"lamp", b"k" * 32),
        ":hub": (b"lamp", b"k" * 32),
    }


def test_aiocoap_opens_the_whole_file_of_an_oscore_device_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = oscore_files(HUB)
    (tmp_path / "oscore").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    known = CredentialsMap()
    known.load_from_dict(msgspec.json.decode(files["aiocoap.json"]))
    asked = Message(code=GET, uri="coap://hub.local/a")  # as aiocoap looks for what is for a request
    context = known.credentials_from_request(asked)
    assert isinstance(context, FilesystemSecurityContext), "not a reference: of those it takes pre-shared keys alone"
    context._destroy()


def test_aiocoap_reads_an_oscore_context_that_is_the_registrys(tmp_path: Path) -> None:
    files, shared = oscore_files(HUB)
    (tmp_path / "oscore").mkdir()
    (tmp_path / "oscore" / "settings.json").write_bytes(files["oscore/settings.json"])
    context = FilesystemSecurityContext(str(tmp_path / "oscore"))
    secret, handle = read_oscore("lamp", shared)
    assert handle == f"oscore-{context.sender_id.hex()}"
    assert context.recipient_id == HUB_ID
    settings = msgspec.json.decode(files["oscore/settings.json"])
    assert secret.hex() == settings["secret_hex"] + settings["salt_hex"]
    context._destroy()


def test_no_two_contexts_share_anything() -> None:
    parts = [part for _ in range(20) for part in oscore_files(HUB)[1].split(":")]
    assert len(set(parts)) == len(parts)
