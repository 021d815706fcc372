"""Which credentials count, and how their keys are read."""

from __future__ import annotations

import pytest

from lockgate.errors import InvalidSettings
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_to_pem, generate_key, public_key_to_pem
from lockgate.scan.credentials import live, public_key
from lockgate.scan.subject import Subject


def test_only_what_opens_a_door_now_is_live() -> None:
    kinds = [
        Credential(1, "lamp", CredentialKind.PASSWORD, ""),
        Credential(2, "lamp", CredentialKind.PASSWORD, "", is_revoked=True),
        Credential(3, "lamp", CredentialKind.PASSWORD, "", expires_at=10.0),
        Credential(4, "lamp", CredentialKind.PASSWORD, "", expires_at=11.0),
    ]
    assert [c.id for c in live(Subject(10.0, "x", devices=(Device("lamp", credentials=tuple(kinds)),)))] == [1, 4]


def test_keys_are_read_from_both_forms() -> None:
    key = generate_key("ec").public_key()
    certificate = Authority.create_root(now=1e9).issue_device("lamp", key, now=1e9)
    for kind, pem in (
        (CredentialKind.X509, certificates_to_pem(certificate)),
        (CredentialKind.JWT_ES256, public_key_to_pem(key)),
    ):
        assert public_key(Credential(1, "lamp", kind, pem.decode())) == key
    with pytest.raises(InvalidSettings):
        public_key(Credential(1, "lamp", CredentialKind.JWT_ES256, "nothing"))
