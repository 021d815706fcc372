"""Identity by pre-shared key."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lockgate.errors import AuthenticationFailed, InvalidSettings
from lockgate.identity.psk import find_identity, open_key, verify_identity
from lockgate.registry.vault import Vault
from tests.support.registry import FakeRegistry, nosec, psk

KEY, NEXT = b"k" * 32, b"n" * 32


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "secrets.key")


@pytest.fixture
def registry(vault: Vault) -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("lamp", psk(vault, "lamp", KEY), psk(vault, "lamp", NEXT, "lamp/2"))
    registry.add("kettle", nosec("192.0.2.7"))
    return registry


@pytest.mark.requirement("C2")
def test_each_identity_has_its_own_key_and_credential(registry: FakeRegistry, vault: Vault) -> None:
    assert open_key(registry, vault, b"lamp") == KEY
    assert open_key(registry, vault, b"lamp/2") == NEXT
    assert (verify_identity(registry, b"lamp").id, verify_identity(registry, b"lamp/2").id) == (1, 2)


@pytest.mark.parametrize("identity", [b"", b"kettle", b"Lamp", b"lamp/", b"\xff\xfe", b"lamp" * 40, b"lamp\0"])
def test_an_identity_that_nobody_has_has_no_key_and_proves_nobody(
    registry: FakeRegistry, vault: Vault, identity: bytes
) -> None:
    assert open_key(registry, vault, identity) is None
    with pytest.raises(AuthenticationFailed) as caught:
        verify_identity(registry, identity)
    assert caught.value.reason == "device not registered"


def test_a_handle_of_another_kind_is_no_identity(registry: FakeRegistry) -> None:
    registry.add("odd", msgspec.structs.replace(nosec("192.0.2.8"), thumbprint="psk-odd"))
    assert find_identity(registry, b"odd") is None


def test_a_revoked_identity_has_no_key_for_a_handshake_and_is_still_known(registry: FakeRegistry, vault: Vault) -> None:
    registry.change_credentials("lamp", is_revoked=True)
    assert open_key(registry, vault, b"lamp") is None
    assert verify_identity(registry, b"lamp").is_revoked


def test_a_key_that_the_vault_cannot_open_is_an_error_with_a_fix(registry: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="does not hold the key"):
        open_key(registry, Vault(tmp_path / "other.key"), b"lamp")
