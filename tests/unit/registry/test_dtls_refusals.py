"""Why a peer did not get through DTLS, with what the registry knows of it."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import pytest

from lockgate.errors import Step
from lockgate.net.dtls import DtlsFailure, DtlsReason
from lockgate.net.dtls_failures import timed_out, unknown_identity, unknown_raw_key, wrong_key
from lockgate.pki.authority import Authority
from lockgate.registry.dtls_refusals import explain
from lockgate.registry.vault import Vault
from tests.support.registry import EC_KEY, NOW, OTHER_EC_KEY, FakeRegistry, es256, psk, rpk, spki, x509_key

KEY = secrets.token_bytes(32)


@pytest.fixture
def registry(tmp_path: Path) -> FakeRegistry:
    vault = Vault(tmp_path / "secrets.key")
    registry = FakeRegistry()
    registry.add("lamp", psk(vault, "lamp", KEY))
    registry.add("valve", psk(vault, "valve", KEY, "valve/a1b2"))
    registry.add("office", x509_key(OTHER_EC_KEY))
    registry.add("meter", rpk(EC_KEY))
    return registry


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(
    ("identity", "device", "words", "fix"),
    [
        ("valve", "valve", "under another identity", "use the identity valve/a1b2"),
        ("valve/old", "valve", "under another identity", "use the identity valve/a1b2"),
        ("LAMP", "lamp", "under another identity", "use the identity lamp"),
        ("office", "office", "it proves itself by x509", "lockgate credential add office --auth psk"),
        ("kettle", "", "no device has the pre-shared key identity 'kettle'", "lockgate device add NAME --auth psk"),
        ("", "", "no device has the pre-shared key identity ''", "psk_identity in device.json"),
        ("; rm -rf ~", "", "no device has", "lockgate device add NAME --auth psk"),
    ],
)
def test_an_unknown_identity_is_told_with_what_is_like_it(
    registry: FakeRegistry, identity: str, device: str, words: str, fix: str
) -> None:
    error, claimed = explain(unknown_identity(identity.encode()), registry)
    assert (error.reason, error.step, claimed) == ("unknown PSK identity", Step.CREDENTIAL, device)
    assert words in str(error)
    assert fix in error.fix
    assert "rm -rf" not in error.fix


def test_a_revoked_key_and_one_that_cannot_be_opened_are_told_apart(registry: FakeRegistry) -> None:
    error, claimed = explain(unknown_identity(b"lamp"), registry)
    assert (claimed, "cannot be opened" in str(error)) == ("lamp", True)
    assert "secrets.key" in error.fix
    registry.change_credentials("lamp", is_revoked=True)
    error, claimed = explain(unknown_identity(b"lamp"), registry)
    assert (claimed, str(error)) == ("lamp", "the pre-shared key of lamp was revoked")
    assert "lockgate device rotate lamp" in error.fix
    registry.change_credentials("office", is_revoked=True)
    assert "nothing any more" in str(explain(unknown_identity(b"office"), registry)[0])


def test_a_key_that_was_put_into_the_place_of_the_identity_is_not_kept_whole(registry: FakeRegistry) -> None:
    for key in (secrets.token_urlsafe(12), secrets.token_urlsafe(24), secrets.token_hex(16)):
        error, _ = explain(unknown_identity(key.encode()), registry)
        assert key not in f"{error}{error.fix}{error.evidence}"
        assert key[:8] in str(error)


def test_a_wrong_key_names_the_device_whatever_its_identity_is(registry: FakeRegistry) -> None:
    error, claimed = explain(wrong_key(b"valve/a1b2"), registry)
    assert (error.reason, claimed) == ("wrong pre-shared key", "valve")
    assert "lockgate device rotate valve --out" in error.fix


def test_a_raw_key_is_told_with_whose_it_is(registry: FakeRegistry) -> None:
    error, claimed = explain(unknown_raw_key(spki(OTHER_EC_KEY)), registry)
    assert (claimed, "for x509 and not as a raw public key" in str(error)) == ("office", True)
    assert "credential add office --auth rpk" in error.fix
    registry.change_credentials("meter", is_revoked=True)
    error, claimed = explain(unknown_raw_key(spki(EC_KEY)), registry)
    assert (claimed, str(error)) == ("meter", "the raw public key of meter was revoked")
    error, claimed = explain(unknown_raw_key(b"nobody's"), registry)
    assert claimed == ""
    assert hashlib.sha256(b"nobody's").hexdigest() in str(error)
    registry.add("token", es256())


def test_a_certificate_is_told_with_its_unverified_words(registry: FakeRegistry) -> None:
    root = Authority.create_root(now=NOW)
    leaf = root.create_issuing(now=NOW).issue_device("office", EC_KEY.public_key(), now=NOW)
    error, claimed = explain(DtlsFailure(DtlsReason.UNKNOWN_ISSUER, "why", "how", certificate=leaf), registry)
    assert (claimed, str(error), error.fix) == ("office", "why", "how")
    assert "certificate SHA-256 (unverified)" in error.evidence


def test_anything_else_is_told_in_the_words_of_the_handshake_with_or_without_a_registry(registry: FakeRegistry) -> None:
    for devices in (registry, None):
        error, claimed = explain(timed_out(30), devices)
        assert (error.reason, claimed) == ("handshake timeout", "")
        assert "30 s" in str(error)
    for failure in (unknown_identity(b"lamp"), unknown_raw_key(b"x")):
        assert explain(failure, None)[1] == ""
