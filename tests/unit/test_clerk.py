"""The clerk: what blocks is done in its thread, and what was revoked is told to others at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from lockgate.clerk import Clerk
from lockgate.errors import InvalidSettings, LockgateError
from lockgate.home import Home
from lockgate.pki.certificates import certificates_from_pem, device_name_of, generate_key
from lockgate.provision.est import make_request
from lockgate.registry.registry import Registry
from lockgate.store import claims
from lockgate.store.certificates import certificates

NOW = datetime.now(UTC).timestamp()


class Room:
    """A clerk at work in a home."""

    def __init__(self, folder: Path) -> None:
        self.home = Home.create(folder / "home", ["hub.example"], NOW, "anna", 0)
        self.registry = Registry(self.home.registry(read_only=True))
        self.clerk = Clerk(self.home, self.home.settings(), self.registry, self.poll)

    def poll(self) -> None:
        self.registry.poll()

    def claim(self, pattern: str) -> str:
        return claims.add_claim(
            self.clerk.database, pattern, groups=(), max_uses=9, life_seconds=600, actor="anna", now=NOW
        )[1]


def with_clerk(test: Callable[[Room], Awaitable[None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def go() -> None:
            room = Room(tmp_path)
            try:
                await test(room)
            finally:
                room.clerk.close()

        asyncio.run(go())

    run.__name__ = test.__name__
    return run


@with_clerk
async def test_a_device_enrols_renews_and_each_certificate_is_on_record(room: Room) -> None:
    clerk = room.clerk
    asked = [make_request("sensor", generate_key("ec")) for _ in range(3)]
    first = await clerk.by_claim("sensor", room.claim("sensor"), asked[0], "192.0.2.7")
    second = await clerk.by_certificate(first, asked[1], "192.0.2.7")
    assert device_name_of(second) == "sensor"
    known = {each.serial for each in certificates(clerk.database, "device:sensor")}
    assert known == {first.serial_number, second.serial_number}
    clerk.database.revoke_credentials("sensor", actor="anna", now=NOW)
    room.registry.poll()
    with pytest.raises(LockgateError, match="revoked"):
        await clerk.by_certificate(first, asked[2], "192.0.2.7")


@with_clerk
async def test_what_was_revoked_is_in_the_next_list_and_in_every_answer(room: Room) -> None:
    clerk = room.clerk
    leaf = await clerk.by_claim("sensor", room.claim("sensor"), make_request("sensor", generate_key("ec")), "192.0.2.7")
    issuer = certificates_from_pem(room.home.issuing_path.read_bytes())[0]
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256()).build()
    der = asked.public_bytes(serialization.Encoding.DER)
    good = ocsp.load_der_ocsp_response(await clerk.ocsp(der))
    assert good.certificate_status == ocsp.OCSPCertStatus.GOOD
    clerk.database.revoke_credentials("sensor", actor="anna", now=NOW)
    clerk.refresh_soon()
    clerk.refresh_soon()
    crl = await clerk.crl("issuing")
    assert crl is not None
    assert x509.load_der_x509_crl(crl).get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
    bad = ocsp.load_der_ocsp_response(await clerk.ocsp(der))
    assert bad.certificate_status == ocsp.OCSPCertStatus.REVOKED
    assert room.home.staple_path.exists()


@with_clerk
async def test_authorities_are_found_by_their_thumbprint(room: Room) -> None:
    der = await room.clerk.certificate("issuing")
    assert der is not None
    issuing = x509.load_der_x509_certificate(der)
    thumbprint = room.home.authority().thumbprint
    assert await room.clerk.certificate(thumbprint) == der
    assert await room.clerk.certificate("x") is None
    assert await room.clerk.crl("x") is None
    root = certificates_from_pem(await room.clerk.root())[0]
    issuing.verify_directly_issued_by(root)


@with_clerk
async def test_a_refresh_that_fails_is_tried_again(room: Room) -> None:
    key = room.home.issuing_key_path.read_bytes()
    room.home.issuing_key_path.unlink()
    room.clerk.refresh_soon()
    with pytest.raises(InvalidSettings):
        await room.clerk.crl("issuing")
    room.home.issuing_key_path.write_bytes(key)
    room.clerk.refresh_soon()
    assert await room.clerk.crl("issuing") is not None


def test_without_the_cas_key_there_is_no_office(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "home", ["hub.example"], NOW, "anna", 0)
    home.issuing_key_path.unlink()
    registry = Registry(home.registry(read_only=True))
    with pytest.raises(InvalidSettings, match="issuing CA"):
        Clerk(home, home.settings(), registry, lambda: None)
