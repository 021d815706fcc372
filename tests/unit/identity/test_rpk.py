"""Identity by raw public key."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.errors import AuthenticationFailed
from lockgate.identity.rpk import find_raw_key, verify_raw_key
from tests.support.registry import EC_KEY, OTHER_EC_KEY, FakeRegistry, es256, rpk, spki, x509_key


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("lamp", rpk())
    return registry


@pytest.mark.requirement("C2")
def test_a_registered_key_is_its_device(registry: FakeRegistry) -> None:
    assert verify_raw_key(registry, spki(EC_KEY)).device == "lamp"


def test_a_key_that_is_registered_to_nobody_proves_nobody(registry: FakeRegistry) -> None:
    with pytest.raises(AuthenticationFailed, match="registered to no device") as caught:
        verify_raw_key(registry, spki(OTHER_EC_KEY))
    assert len(caught.value.evidence["key"]) == 64


@pytest.mark.parametrize("other", [es256(OTHER_EC_KEY), x509_key(OTHER_EC_KEY)])
def test_a_key_that_was_registered_for_tokens_or_certificates_is_no_raw_key(
    registry: FakeRegistry, other: object
) -> None:
    registry.add("meter", other)  # type: ignore[arg-type]
    assert find_raw_key(registry, spki(OTHER_EC_KEY)) is None


def test_a_key_with_a_certificate_over_it_is_a_raw_key_as_well(registry: FakeRegistry) -> None:
    registry.add("both", x509_key(OTHER_EC_KEY), rpk(OTHER_EC_KEY), x509_key(OTHER_EC_KEY))
    found = find_raw_key(registry, spki(OTHER_EC_KEY))
    assert found is not None
    assert (found.device, found.id, found.kind.value) == ("both", 3, "rpk")


def test_a_revoked_key_is_found_only_when_no_other_holds(registry: FakeRegistry) -> None:
    registry.add("twice", rpk(OTHER_EC_KEY), msgspec.structs.replace(rpk(OTHER_EC_KEY), is_revoked=True))
    found = find_raw_key(registry, spki(OTHER_EC_KEY))
    assert found is not None
    assert not found.is_revoked
    registry.change_credentials("twice", is_revoked=True)
    found = find_raw_key(registry, spki(OTHER_EC_KEY))
    assert found is not None
    assert found.is_revoked


def test_what_is_no_key_at_all_proves_nobody(registry: FakeRegistry) -> None:
    assert find_raw_key(registry, b"") is None
