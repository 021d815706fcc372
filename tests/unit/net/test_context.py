"""Contexts from files: what is wrong with a file is said, and a reload is all or nothing."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from OpenSSL import SSL

from lockgate.errors import InvalidSettings
from lockgate.net.context import TlsContexts, covered_names
from tests.support.certificates import Authority
from tests.support.tls import Pair, client_context

HUB_CA = Authority("Hub CA")


def _write_home(folder: Path, *names: str) -> tuple[Path, Path, Path]:
    hub = HUB_CA.issue("hub", names=names or ("localhost",), purpose="server")
    certificate, key = hub.write(folder, "server")
    authorities = folder / "ca.pem"
    authorities.write_bytes(HUB_CA.pem)
    return certificate, key, authorities


def test_context_from_files_serves_and_names_what_it_covers(tmp_path: Path) -> None:
    contexts = TlsContexts(*_write_home(tmp_path, "localhost", "hub.local", "192.0.2.7", "2001:db8::7"))
    assert contexts.current.covered_names == {"localhost", "hub.local", "192.0.2.7", "2001:db8::7"}
    assert Pair(contexts.current, client_context(HUB_CA)).shake_hands().stream.is_established


def test_certificate_without_alternative_names_covers_its_common_name() -> None:
    assert covered_names(HUB_CA.issue("Hub.Local", purpose="server").certificate) == {"hub.local"}


def test_reload_takes_the_new_certificate_for_new_connections(tmp_path: Path) -> None:
    contexts = TlsContexts(*_write_home(tmp_path, "old.local"))
    old = contexts.current
    live = Pair(old, client_context(HUB_CA), "old.local").shake_hands()
    _write_home(tmp_path, "new.local")
    contexts.reload()
    assert contexts.current.covered_names == {"new.local"}
    assert Pair(contexts.current, client_context(HUB_CA), "new.local").shake_hands().stream.is_established
    live.say(b"still here")
    assert live.received == b"still here"


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("damage", ["missing", "rubbish", "folder"])
def test_broken_file_is_named_and_the_old_context_stays(tmp_path: Path, which: int, damage: str) -> None:
    paths = _write_home(tmp_path)
    contexts = TlsContexts(*paths)
    old = contexts.current
    paths[which].unlink()
    if damage == "rubbish":
        paths[which].write_text("rubbish")
    elif damage == "folder":
        paths[which].mkdir()
    with pytest.raises(InvalidSettings, match=paths[which].name):
        contexts.reload()
    assert contexts.current is old


def test_mismatched_key_is_refused_and_the_old_context_stays(tmp_path: Path) -> None:
    certificate, key, authorities = _write_home(tmp_path)
    contexts = TlsContexts(certificate, key, authorities)
    old = contexts.current
    key.write_bytes(HUB_CA.issue().key_pem)
    with pytest.raises(InvalidSettings, match=r"server\.key\.pem does not belong to .*server\.pem"):
        contexts.reload()
    assert contexts.current is old


def test_encrypted_key_is_refused(tmp_path: Path) -> None:
    certificate, key, authorities = _write_home(tmp_path)
    encryption = serialization.BestAvailableEncryption(b"password")
    hub = HUB_CA.issue()
    key.write_bytes(hub.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    with pytest.raises(InvalidSettings, match="unencrypted"):
        TlsContexts(certificate, key, authorities)


def test_key_of_a_kind_that_cannot_sign_is_refused(tmp_path: Path) -> None:
    certificate, key, authorities = _write_home(tmp_path)
    key.write_bytes(
        x25519.X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(InvalidSettings, match="X25519PrivateKey"):
        TlsContexts(certificate, key, authorities)


@pytest.mark.parametrize(
    ("offered", "is_asked", "selected"),
    [((), True, None), (("mqtt",), True, None), (("h2", "http/1.1"), False, "http/1.1")],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_browsers_are_spared_the_question_for_a_certificate(
    tmp_path: Path, version: ssl.TLSVersion, offered: tuple[str, ...], is_asked: bool, selected: str | None
) -> None:
    contexts = TlsContexts(*_write_home(tmp_path), spares_browsers=True)
    contexts.reload()
    client = client_context(HUB_CA, HUB_CA.issue("sensor"), version=version)
    if offered:
        client.set_alpn_protocols(list(offered))
    pair = Pair(contexts.current, client).shake_hands()
    assert pair.stream.is_established
    assert (pair.stream.peer_certificate() is not None) is is_asked
    assert pair.client.selected_alpn_protocol() == selected


def test_elsewhere_whoever_has_a_certificate_is_asked_for_it(tmp_path: Path) -> None:
    client = client_context(HUB_CA, HUB_CA.issue("sensor"))
    client.set_alpn_protocols(["http/1.1"])
    pair = Pair(TlsContexts(*_write_home(tmp_path)).current, client).shake_hands()
    assert pair.stream.peer_certificate() is not None


@pytest.mark.requirement("T14")
def test_a_client_without_tickets_resumes_nothing_for_the_server_keeps_no_session(tmp_path: Path) -> None:
    contexts = TlsContexts(*_write_home(tmp_path))
    client = client_context(HUB_CA, version=ssl.TLSVersion.TLSv1_2)
    client.options |= ssl.OP_NO_TICKET
    first = Pair(contexts.current, client).shake_hands()
    again = Pair(contexts.current, client, session=first.client.session).shake_hands()
    assert again.stream.is_established
    assert not again.client.session_reused


@pytest.mark.requirement("T15")
def test_no_suite_with_a_shared_key_or_without_forward_secrecy_is_offered(tmp_path: Path) -> None:
    offered = SSL.Connection(TlsContexts(*_write_home(tmp_path)).current.engine).get_cipher_list()
    assert len(offered) > 4
    for suite in offered:
        assert suite.startswith(("TLS_", "ECDHE-"))
        assert "PSK" not in suite
