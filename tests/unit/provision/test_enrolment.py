"""Enrolment: who gets a certificate, for which name, and who does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from lockgate.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidSettings,
    LockgateError,
    NotAuthorized,
    QuotaExceeded,
    RateExceeded,
    ShutOut,
)
from lockgate.identity.lockout import Lockout
from lockgate.model.device import CredentialKind
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import PrivateKey, device_name_of, generate_key
from lockgate.provision.enrolment import Enrolment
from lockgate.provision.est import make_request
from lockgate.registry.registrar import Registrar
from lockgate.registry.registry import Registry
from lockgate.settings import IdentitySettings, RegistrySettings
from lockgate.store import claims
from lockgate.store.registry_db import RegistryDb

NOW = 1_800_000_000.0
HOST = "192.0.2.7"
CA = Authority.create_root(now=NOW).create_issuing("issuing", now=NOW)
KEYS = [generate_key("ec") for _ in range(3)]


class Desk:
    """An enrolment with its database."""

    def __init__(self, db: RegistryDb) -> None:
        self.db = db
        self.authority: Authority | None = CA
        lockout = Lockout(Registry(db), IdentitySettings())
        self.enrolment = Enrolment(db, self._issuer, lockout, lambda actor: Registrar(db, actor, lambda: NOW))

    def _issuer(self) -> Authority:
        if self.authority is None:
            raise InvalidSettings("the issuing CA cannot be read")
        return self.authority

    def claim(self, pattern: str = "sensor-*", uses: int = 2, groups: tuple[str, ...] = ()) -> str:
        return claims.add_claim(self.db, pattern, groups=groups, max_uses=uses, life_seconds=60, actor="anna", now=NOW)[
            1
        ]

    def enrol(self, name: str, token: str, key: PrivateKey = KEYS[0], asked: str | None = None) -> x509.Certificate:
        return self.enrolment.by_claim(name, token, make_request(asked or name, key), HOST, NOW)

    def uses(self) -> list[int]:
        return [claim.uses for claim in claims.claims(self.db)]

    def device(self, name: str) -> list[tuple[str, CredentialKind]]:
        found = self.db.device(name)
        return [] if found is None else [(each.public, each.kind) for each in found.credentials]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with RegistryDb(tmp_path / "registry.db") as db:
        yield Desk(db)


def refused(desk: Desk, kind: type[LockgateError], *arguments: object, **options: object) -> LockgateError:
    before = desk.uses(), [device.name for device in desk.db.devices()]
    with pytest.raises(kind) as caught:
        desk.enrol(*arguments, **options)  # type: ignore[arg-type]
    assert (desk.uses(), [device.name for device in desk.db.devices()]) == before, "nothing was used, nothing made"
    assert caught.value.fix
    return caught.value


def test_a_claim_makes_a_device_with_its_groups_and_its_own_key(desk: Desk) -> None:
    leaf = desk.enrol("sensor-1", desk.claim(groups=("hall",)))
    assert device_name_of(leaf) == "sensor-1"
    assert leaf.public_key() == KEYS[0].public_key()
    device = desk.db.device("sensor-1")
    assert device is not None
    assert device.groups == ("hall",)
    assert [each.kind for each in device.credentials] == [CredentialKind.X509]
    assert desk.uses() == [1]
    assert [record.event for record in desk.db.audit()] == ["claim.added", "claim.used", "device.added"]
    assert desk.db.audit()[-1].actor.startswith("claim ")


def test_a_name_that_the_claim_does_not_cover_is_refused(desk: Desk) -> None:
    token = desk.claim()
    assert refused(desk, NotAuthorized, "gateway", token).reason == "claim token is for other names"
    assert refused(desk, InvalidSettings, "sensor/#", token)


@pytest.mark.parametrize("name", ["a/b", "#", "lab", ""])
def test_no_pattern_makes_a_name_that_no_device_may_have(desk: Desk, name: str) -> None:
    refused(desk, InvalidSettings, name, desk.claim("*"), asked="x")


def test_a_request_that_names_another_device_is_refused(desk: Desk) -> None:
    token = desk.claim()
    assert "names another" in refused(desk, InvalidSettings, "sensor-1", token, asked="sensor-2").reason


def test_a_request_that_names_another_device_by_its_uri_is_refused(desk: Desk) -> None:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:lockgate:device:sensor-2")])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, False)
    signed = request.sign(KEYS[0], hashes.SHA256())
    with pytest.raises(InvalidSettings, match="sensor-2"):
        desk.enrolment.by_claim("sensor-1", desk.claim(), signed, HOST, NOW)


def test_a_request_without_a_name_is_for_who_sends_it(desk: Desk) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")])
    )
    signed = request.sign(KEYS[0], hashes.SHA256())
    leaf = desk.enrolment.by_claim("sensor-1", desk.claim(), signed, HOST, NOW)
    assert device_name_of(leaf) == "sensor-1"
    assert leaf.subject.rfc4514_string() == "CN=sensor-1"


def test_a_pattern_makes_no_device_that_there_is(desk: Desk) -> None:
    token = desk.claim()
    desk.enrol("sensor-1", token)
    assert refused(desk, Conflict, "sensor-1", token, KEYS[1]).reason == "device exists already"


def test_a_claim_for_one_device_gives_it_one_more_credential(desk: Desk) -> None:
    desk.enrol("sensor-1", desk.claim())
    desk.enrol("sensor-1", desk.claim("sensor-1"), KEYS[1])
    assert len(desk.device("sensor-1")) == 2


def test_who_lost_the_answer_gets_it_again_and_no_use_is_counted(desk: Desk) -> None:
    token = desk.claim(uses=1)
    leaf = desk.enrol("sensor-1", token)
    assert desk.enrol("sensor-1", token) == leaf
    assert desk.uses() == [1]
    assert len(desk.device("sensor-1")) == 1
    assert refused(desk, Conflict, "sensor-1", desk.claim(), KEYS[0]).reason == "device exists already", "another claim"


def test_a_removed_device_does_not_come_back_by_the_claim_that_made_it(desk: Desk) -> None:
    token = desk.claim()
    desk.enrol("sensor-1", token)
    desk.db.remove_device("sensor-1", actor="anna", now=NOW)
    assert refused(desk, Conflict, "sensor-1", token, KEYS[1]).reason == "device was removed"


def test_a_revoked_device_does_not_get_its_certificate_again(desk: Desk) -> None:
    token = desk.claim("sensor-1")
    desk.enrol("sensor-1", token)
    desk.db.revoke_credentials("sensor-1", actor="anna", now=NOW)
    assert refused(desk, AuthenticationFailed, "sensor-1", token).reason == "claim token revoked"


def test_the_key_of_another_device_is_refused_and_the_use_given_back(desk: Desk) -> None:
    token = desk.claim()
    desk.enrol("sensor-1", token)
    assert "another device" in str(refused(desk, Conflict, "sensor-2", token))


def test_a_ca_that_cannot_sign_costs_no_use(desk: Desk) -> None:
    token = desk.claim()
    desk.authority = None
    with pytest.raises(InvalidSettings):
        desk.enrol("sensor-1", token)
    assert desk.uses() == [0]


def test_wrong_tokens_lock_their_network_out_and_nobody_else(desk: Desk) -> None:
    good = desk.claim()
    wrong = good[:-4] + "0000"
    for _ in range(IdentitySettings().wrong_passwords_before_lockout):
        assert refused(desk, AuthenticationFailed, "sensor-1", wrong).reason == "wrong claim token"
    assert refused(desk, RateExceeded, "sensor-1", good).reason == "too many wrong claim tokens"
    request = make_request("sensor-1", KEYS[0])
    assert desk.enrolment.by_claim("sensor-1", good, request, "192.0.2.8", NOW)


def test_a_used_up_claim_says_so(desk: Desk) -> None:
    token = desk.claim(uses=1)
    desk.enrol("sensor-1", token)
    assert refused(desk, AuthenticationFailed, "sensor-2", token, KEYS[1]).reason == "claim token used up"


def test_a_certificate_renews_itself_beside_the_old_one(desk: Desk) -> None:
    old = desk.enrol("sensor-1", desk.claim())
    new = desk.enrolment.by_certificate("sensor-1", old, make_request("sensor-1", KEYS[1]), NOW)
    assert new.public_key() == KEYS[1].public_key()
    assert len(desk.device("sensor-1")) == 2
    assert desk.db.audit()[-1].actor == "sensor-1 (device)"


def test_who_was_revoked_while_the_request_was_under_way_gets_nothing(desk: Desk) -> None:
    old = desk.enrol("sensor-1", desk.claim())
    Registrar(desk.db, "anna", lambda: NOW).revoke("sensor-1")  # after the office looked, before the clerk writes
    with pytest.raises(ShutOut):
        desk.enrolment.by_certificate("sensor-1", old, make_request("sensor-1", KEYS[1]), NOW)
    known = desk.db.device("sensor-1")
    assert known is not None
    assert [credential.is_revoked for credential in known.credentials] == [True]


def test_who_was_revoked_between_spending_a_claim_and_its_certificate_gets_nothing(desk: Desk) -> None:
    desk.enrol("sensor-1", desk.claim())
    token = desk.claim("sensor-1")
    signs = desk.enrolment._issuer

    def revoke_first() -> Authority:
        Registrar(desk.db, "anna", lambda: NOW).revoke("sensor-1")
        return cast(Authority, signs())

    desk.enrolment._issuer = revoke_first
    assert refused(desk, AuthenticationFailed, "sensor-1", token, KEYS[1]).reason == "claim token revoked"
    known = desk.db.device("sensor-1")
    assert known is not None
    assert [credential.is_revoked for credential in known.credentials] == [True]


def test_a_certificate_that_was_told_to_end_does_not_prolong_itself(desk: Desk) -> None:
    old = desk.enrol("sensor-1", desk.claim())
    known = desk.db.device("sensor-1")
    assert known is not None
    Registrar(desk.db, "anna", lambda: NOW).expire_credential(known.credentials[0].id, NOW + 60)
    with pytest.raises(NotAuthorized, match="told to end early"):
        desk.enrolment.by_certificate("sensor-1", old, make_request("sensor-1", KEYS[1]), NOW)


def test_a_certificate_renews_no_other_name(desk: Desk) -> None:
    old = desk.enrol("sensor-1", desk.claim())
    with pytest.raises(InvalidSettings, match="sensor-2"):
        desk.enrolment.by_certificate("sensor-1", old, make_request("sensor-2", KEYS[1]), NOW)
    extra = x509.SubjectAlternativeName([x509.DNSName("hub.example")])
    request = x509.CertificateSigningRequestBuilder().subject_name(old.subject).add_extension(extra, False)
    with pytest.raises(InvalidSettings, match="alternative names"):
        desk.enrolment.by_certificate("sensor-1", old, request.sign(KEYS[1], hashes.SHA256()), NOW)


def test_the_names_of_the_certificate_may_be_asked_for(desk: Desk) -> None:
    old = desk.enrol("sensor-1", desk.claim())
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    request = x509.CertificateSigningRequestBuilder().subject_name(old.subject).add_extension(names, False)
    signed = request.sign(KEYS[1], hashes.SHA256())
    assert desk.enrolment.by_certificate("sensor-1", old, signed, NOW)


def test_a_device_that_has_as_many_credentials_as_it_may_gets_no_certificate(desk: Desk) -> None:
    old = desk.enrol("sensor-1", desk.claim())
    most = RegistrySettings().max_credentials_per_device
    for _ in range(most - 1):
        desk.enrolment.by_certificate("sensor-1", old, make_request("sensor-1", generate_key("ec")), NOW)
    token = desk.claim("sensor-1")
    desk.authority = None  # whoever asked it now would hear that it cannot sign
    with pytest.raises(QuotaExceeded):
        desk.enrolment.by_certificate("sensor-1", old, make_request("sensor-1", KEYS[1]), NOW)
    assert refused(desk, QuotaExceeded, "sensor-1", token, KEYS[1]).fix
