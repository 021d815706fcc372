"""Identity by address: only of a device that was given that, and for its own address."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.errors import AuthenticationFailed
from lockgate.identity.nosec import verify_address
from tests.support.registry import FakeRegistry, nosec, rpk


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("probe", nosec("192.0.2.7"))
    registry.add("lamp", rpk())
    registry.add("odd", msgspec.structs.replace(rpk(), thumbprint="address-192.0.2.9"))
    return registry


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("host", ["192.0.2.7", "::ffff:192.0.2.7"])
def test_an_address_is_its_device_however_it_is_written(registry: FakeRegistry, host: str) -> None:
    assert verify_address(registry, host).device == "probe"


@pytest.mark.parametrize("host", ["192.0.2.8", "192.0.2.9", "", "probe"])
def test_any_other_address_is_nobody(registry: FakeRegistry, host: str) -> None:
    with pytest.raises(AuthenticationFailed, match="no device without protection"):
        verify_address(registry, host)
