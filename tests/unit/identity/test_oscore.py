"""Identity by OSCORE context."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lockgate.errors import AuthenticationFailed
from lockgate.identity.oscore import HUB_ID, find_context, verify_context
from lockgate.registry.vault import Vault
from tests.support.registry import FakeRegistry, nosec, oscore

ID = b"\xa1\xb2\xc3\xd4"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "secrets.key")


@pytest.fixture
def registry(vault: Vault) -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("lamp", oscore(vault, "lamp", ID, b"s" * 16, b"t" * 8))
    registry.add("odd", msgspec.structs.replace(nosec("192.0.2.8"), thumbprint="oscore-0102"))
    return registry


def test_an_id_gives_its_context(registry: FakeRegistry, vault: Vault) -> None:
    found = find_context(registry, vault, ID)
    assert found is not None
    assert (found.device, found.credential_id) == ("lamp", 1)
    assert (found.master_secret, found.master_salt) == (b"s" * 16, b"t" * 8)
    assert (found.device_id, found.hub_id) == (ID, HUB_ID)
    assert verify_context(registry, ID).id == 1


@pytest.mark.parametrize("device_id", [b"", b"\xa1", ID + b"\0", HUB_ID, b"\x01\x02"])
def test_an_id_that_nobody_has_proves_nobody(registry: FakeRegistry, vault: Vault, device_id: bytes) -> None:
    assert find_context(registry, vault, device_id) is None
    with pytest.raises(AuthenticationFailed, match="registered to no device"):
        verify_context(registry, device_id)


def test_a_revoked_context_opens_nothing_and_is_still_known(registry: FakeRegistry, vault: Vault) -> None:
    registry.change_credentials("lamp", is_revoked=True)
    assert find_context(registry, vault, ID) is None
    assert verify_context(registry, ID).is_revoked


def test_its_repr_shows_no_secret(registry: FakeRegistry, vault: Vault) -> None:
    shown = repr(find_context(registry, vault, ID))
    assert shown == "OscoreSecrets('lamp', credential_id=1, id=a1b2c3d4)"
