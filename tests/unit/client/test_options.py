"""The TLS context trusts the folder's root and nobody else; handshakes here run in memory, without a socket."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.client.options import pause_seconds, tls_context, user_and_secret
from lockgate.errors import InvalidSettings
from lockgate.model.device import CredentialKind
from lockgate.pki.authority import DAY_SECONDS, Authority
from lockgate.pki.certificates import certificates_to_pem, generate_key, private_key_to_pem
from lockgate.provision.bundle import make_bundle
from lockgate.provision.folder import DeviceFile, HubAddress, read_folder

NOW = datetime.now(UTC).timestamp()
ROOT = Authority.create_root(now=NOW)
ISSUING = ROOT.create_issuing(now=NOW)
KEY = generate_key("ec")


def make(kind: CredentialKind, out: Path, root: Authority = ROOT) -> Path:
    make_bundle(kind, "sensor-1", out, HubAddress("hub.local", 8883), ISSUING, root.certificate_pem(), "lockgate", NOW)
    return out


def server_context(folder: Path, chain: bytes) -> ssl.SSLContext:
    (folder / "server.pem").write_bytes(private_key_to_pem(KEY) + chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "hub.local") -> ssl.SSLObject:
    """Run a handshake through memory and give the client's side of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = {ours, theirs}
    for _ in range(10):
        for side in (ours, theirs):
            if side in waiting:
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                waiting.remove(side)
        if not waiting:
            return ours
    raise AssertionError("the handshake does not end")


def test_the_real_hub_is_accepted_with_tls_1_3(tmp_path: Path) -> None:
    folder = make(CredentialKind.X509, tmp_path / "out")
    server = server_context(tmp_path, ISSUING.chain_pem(ISSUING.issue_server(["hub.local"], KEY.public_key(), now=NOW)))
    server.load_verify_locations(cadata=ROOT.certificate_pem().decode())
    server.verify_mode = ssl.CERT_REQUIRED
    assert shake_hands(tls_context(folder, read_folder(folder)), server).version() == "TLSv1.3"


def test_tls_1_2_is_spoken_with_forward_secrecy_and_aead_only(tmp_path: Path) -> None:
    folder = make(CredentialKind.JWT_ES256, tmp_path / "out")
    server = server_context(tmp_path, ISSUING.chain_pem(ISSUING.issue_server(["hub.local"], KEY.public_key(), now=NOW)))
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    context = tls_context(folder, read_folder(folder))
    cipher = shake_hands(context, server).cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE-")
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert all(c["aead"] for c in context.get_ciphers())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("foreign", "unable to get local issuer certificate"),
        ("name", "Hostname mismatch"),
        ("expired", "certificate has expired"),
        ("future", "certificate is not yet valid"),
        ("device", "unsuitable certificate purpose"),
        ("self-signed", "self-signed certificate"),
    ],
)
def test_a_hub_that_is_not_ours_is_refused(what: str, words: str, tmp_path: Path) -> None:
    folder = make(CredentialKind.JWT_ES256, tmp_path / "out")
    issuing, names, begin = ISSUING, ["hub.local"], NOW
    if what == "foreign":
        issuing = Authority.create_root(now=NOW).create_issuing(now=NOW)
    elif what == "name":
        names = ["other.local"]
    elif what == "expired":
        begin = NOW - 10 * DAY_SECONDS
    elif what == "future":
        begin = NOW + 10 * DAY_SECONDS
    leaf = issuing.issue_server(names, KEY.public_key(), now=begin, life_seconds=DAY_SECONDS)
    chain = issuing.chain_pem(leaf)
    if what == "device":
        chain = ISSUING.chain_pem(ISSUING.issue_device("hub.local", KEY.public_key(), now=NOW))
    server = server_context(tmp_path, chain)
    if what == "self-signed":
        own = Authority.create_root(now=NOW)
        (tmp_path / "server.pem").write_bytes(own.key_pem() + certificates_to_pem(own.certificate))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(tmp_path / "server.pem")
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake_hands(tls_context(folder, read_folder(folder)), server)
    assert words in caught.value.verify_message


def test_a_certificate_with_anothers_key_is_refused_in_words(tmp_path: Path) -> None:
    folder = make(CredentialKind.X509, tmp_path / "out")
    (folder / "device.key").write_bytes(private_key_to_pem(generate_key("ec")))
    with pytest.raises(InvalidSettings, match=r"device\.key is not the private key of the certificate"):
        tls_context(folder, read_folder(folder))


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff"])
def test_a_damaged_ca_file_is_refused_in_words(content: bytes, tmp_path: Path) -> None:
    folder = make(CredentialKind.JWT_ES256, tmp_path / "out")
    (folder / "ca.pem").write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"ca\.pem holds no certificate"):
        tls_context(folder, read_folder(folder))


@pytest.mark.parametrize("name", ["ca.pem", "device.key", "device.crt"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    folder = make(CredentialKind.X509, tmp_path / "out")
    (folder / name).unlink()
    with pytest.raises(InvalidSettings, match=f"it holds no {name}"):
        tls_context(folder, read_folder(folder))


def test_each_kind_shows_its_own_secret(tmp_path: Path) -> None:
    without = {CredentialKind.SCRAM_SHA_256}
    kinds = [kind for kind in CredentialKind if kind not in without and not kind.is_for_coap_alone]
    folders = {kind: make(kind, tmp_path / kind.value) for kind in kinds}
    secrets = {kind: user_and_secret(folder, read_folder(folder), 3600) for kind, folder in folders.items()}
    assert secrets[CredentialKind.X509] is None
    password = (folders[CredentialKind.PASSWORD] / "password").read_text()
    assert secrets[CredentialKind.PASSWORD] == ("sensor-1", password)
    for kind in (CredentialKind.JWT_ES256, CredentialKind.JWT_RS256):
        user, token = secrets[kind] or ("", "")
        assert user == "sensor-1"
        assert token.startswith("eyJ")
        assert token.count(".") == 2


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_pause_doubles_up_to_a_minute_and_half_of_it_is_chance(attempt: int, chance: float) -> None:
    pause = pause_seconds(attempt, chance)
    assert 0.5 <= pause <= 60
    assert pause_seconds(attempt, 0) <= pause <= pause_seconds(attempt, 1) == 2 * pause_seconds(attempt, 0)
    assert pause_seconds(attempt + 1, chance) == pytest.approx(min(2 * pause, 30 * (1 + chance)))


def test_a_scram_device_is_told_what_to_use_instead(tmp_path: Path) -> None:
    folder = make(CredentialKind.SCRAM_SHA_256, tmp_path / "out")
    with pytest.raises(InvalidSettings, match="proves itself by SCRAM") as caught:
        user_and_secret(folder, read_folder(folder), 3600)
    assert "client.mjs" in caught.value.fix


@pytest.mark.parametrize("kind", [CredentialKind.PSK, CredentialKind.RPK, CredentialKind.OSCORE, CredentialKind.NOSEC])
def test_a_device_that_speaks_coap_alone_is_told_so(kind: CredentialKind, tmp_path: Path) -> None:
    device = DeviceFile(1, "lamp", kind, "hub.local", 5684, "lockgate", "lamp", "ca.pem")
    with pytest.raises(InvalidSettings, match="this client speaks MQTT"):
        user_and_secret(tmp_path, device, 60)
