"""Certificates: the key finds the device, and the name must agree."""

from __future__ import annotations

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec

from lockgate.errors import AuthenticationFailed, InvalidSettings
from lockgate.identity import x509 as room
from lockgate.identity.x509 import barred_owner, verify_certificate
from lockgate.model.device import Credential
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_to_pem
from tests.support.certificates import self_signed
from tests.support.registry import EC_KEY, NOW, OTHER_EC_KEY, FakeRegistry, es256, x509_key

ISSUING = Authority.create_root(now=NOW).create_issuing(now=NOW)


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("office", x509_key(EC_KEY))
    return registry


def test_the_key_finds_the_credential_and_the_certificate_its_end(registry: FakeRegistry) -> None:
    leaf = ISSUING.issue_device("office", EC_KEY.public_key(), now=NOW)
    credential, ends_at = verify_certificate(registry, leaf)
    assert credential == registry.devices["office"].credentials[0]
    assert ends_at == leaf.not_valid_after_utc.timestamp()


def test_a_certificate_of_ours_for_a_key_that_nobody_registered_is_refused(registry: FakeRegistry) -> None:
    leaf = ISSUING.issue_device("office", OTHER_EC_KEY.public_key(), now=NOW)
    with pytest.raises(AuthenticationFailed, match="certificate for office is of a trusted CA") as caught:
        verify_certificate(registry, leaf)
    assert caught.value.reason == "device not registered"
    assert caught.value.evidence["certificate names"] == "office"


def test_a_key_registered_for_tokens_does_not_open_by_certificate(registry: FakeRegistry) -> None:
    registry.add("sensor", es256(OTHER_EC_KEY))
    leaf = ISSUING.issue_device("sensor", OTHER_EC_KEY.public_key(), now=NOW)
    with pytest.raises(AuthenticationFailed) as caught:
        verify_certificate(registry, leaf)
    assert caught.value.reason == "device not registered"


def test_a_certificate_that_names_another_device_than_its_key_is_refused(registry: FakeRegistry) -> None:
    leaf = ISSUING.issue_device("sensor", EC_KEY.public_key(), now=NOW)
    with pytest.raises(AuthenticationFailed, match="names sensor, but its key is registered to office") as caught:
        verify_certificate(registry, leaf)
    assert caught.value.reason == "certificate does not match the device"


def test_a_certificate_that_names_no_device_is_refused(registry: FakeRegistry) -> None:
    issued = self_signed("office")
    with pytest.raises(AuthenticationFailed, match="certificate for nobody"):
        verify_certificate(registry, issued.certificate)
    key = issued.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    registry.add("office", x509_key(key))
    with pytest.raises(AuthenticationFailed, match="names nobody, but its key is registered to office"):
        verify_certificate(registry, issued.certificate)


def test_a_weak_key_is_refused_before_it_is_looked_up(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = ISSUING.issue_device("office", EC_KEY.public_key(), now=NOW)
    weak = dsa.generate_private_key(1024).public_key()

    class Weak:
        not_valid_after_utc = leaf.not_valid_after_utc

        def public_key(self) -> object:
            return weak

        def fingerprint(self, algorithm: object) -> bytes:
            return b"weak"

    with pytest.raises(AuthenticationFailed) as caught:
        verify_certificate(registry, Weak())  # type: ignore[arg-type]
    assert caught.value.reason == "key too weak"
    assert verify_certificate(registry, leaf)


def test_a_certificate_is_barred_once_its_key_is_revoked_or_nobodys(registry: FakeRegistry) -> None:
    leaf = ISSUING.issue_device("office", EC_KEY.public_key(), now=NOW)
    assert barred_owner(registry, leaf) == ""
    registry.change_credentials("office", is_revoked=True)
    assert barred_owner(registry, leaf) == "office"
    registry.remove("office")
    assert barred_owner(registry, leaf) == "office"


def test_a_certificate_that_nobody_could_use_is_barred(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_certificate: object) -> str:
        raise InvalidSettings("too weak")

    monkeypatch.setattr("lockgate.identity.x509.certificate_thumbprint", refuse)
    assert barred_owner(registry, ISSUING.issue_device("office", EC_KEY.public_key(), now=NOW)) == "office"
    assert barred_owner(registry, self_signed("office").certificate) == "nobody"


def test_a_foreign_certificate_may_name_nobody_when_it_was_registered_so(registry: FakeRegistry) -> None:
    issued = self_signed("whatever its CA calls it")
    registry.add("pump", certified(issued.certificate, issued.key))
    credential, _ = verify_certificate(registry, issued.certificate)
    assert credential.device == "pump"
    registry.change_credentials("pump", is_revoked=True)
    assert barred_owner(registry, issued.certificate) == "pump"


def test_a_certificate_that_names_another_is_refused_however_its_key_was_registered(registry: FakeRegistry) -> None:
    issued = self_signed("nobody")
    registry.add("pump", certified(issued.certificate, issued.key))
    with pytest.raises(AuthenticationFailed, match="names sensor, but its key is registered to pump"):
        verify_certificate(registry, ISSUING.issue_device("sensor", issued.key.public_key(), now=NOW))


def test_a_nameless_certificate_does_not_stand_in_for_one_that_names_its_device(registry: FakeRegistry) -> None:
    issued = self_signed("nobody")
    ours = ISSUING.issue_device("pump", issued.key.public_key(), now=NOW)
    registry.add("pump", certified(ours, issued.key))
    assert verify_certificate(registry, ours)
    with pytest.raises(AuthenticationFailed, match="names nobody, but its key is registered to pump"):
        verify_certificate(registry, issued.certificate)


def certified(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credential:
    return msgspec.structs.replace(x509_key(key), public=certificates_to_pem(certificate).decode())


def test_what_a_certificate_says_is_remembered_within_bounds_and_what_the_registry_says_is_not(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: dict[bytes, object] = {}
    monkeypatch.setattr(room, "MAX_REMEMBERED", 2)
    monkeypatch.setattr(room, "_remembered", remembered)
    leaf = ISSUING.issue_device("office", EC_KEY.public_key(), now=NOW)
    assert verify_certificate(registry, leaf) == verify_certificate(registry, leaf)
    assert len(remembered) == 1
    again = x509.load_pem_x509_certificate(certificates_to_pem(leaf))  # as the next connection shows it
    assert verify_certificate(registry, again) == verify_certificate(registry, leaf)
    assert len(remembered) == 1
    for _ in range(3):
        verify_certificate(registry, ISSUING.issue_device("office", EC_KEY.public_key(), now=NOW))
        assert len(remembered) <= 2
    with pytest.raises(AuthenticationFailed):
        verify_certificate(FakeRegistry(), leaf)
