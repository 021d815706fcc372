"""Threats: what an OSCORE device once said is said again, changed, under another's name, or from another's address.

Who is on the way has every datagram, may send each as often as it likes from wherever it likes, and change what it
wants. Nothing of that acts, nothing floods anybody, and the hub never protects two messages under one number.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.registry.vault import Vault
from lockgate.store.numbers import Numbers
from tests.support.coap_book import CoapBook, Device
from tests.support.oscore import ID, ON, OscoreDevice, oscore_book
from tests.support.registry import FakeRegistry, oscore

OTHER = b"\xc3\xd4"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "secrets.key")


def under_another_id(message: CoapMessage, number: int) -> bytes:
    """Give a request as the message layer has not seen it before."""
    return wire.encode(
        CoapMessage(message.type, message.code, number, b"evil", message.options, message.payload)
    )  # fmt: skip


def refused(device: Device, data: bytes) -> CoapMessage:
    """Send a datagram; see it refused, unprotected, in at most three times its size."""
    device.sends_bytes(data)
    (answer,) = device.messages()
    assert len(device.link.sent[-1]) <= 3 * len(data)
    assert (answer.option(OptionNumber.OSCORE), answer.code >> 5) == (None, 4)
    return answer


def acted(book: CoapBook) -> int:
    return book.hub.retained_count


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("host", ["192.0.2.7", "198.51.100.1"])
def test_what_was_said_once_acts_once_wherever_it_comes_from_again(vault: Vault, host: str) -> None:
    book, _ = oscore_book(vault)
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.PUT, "a", b"1")
    said = wire.decode(tap.device._last)
    tap.asks(Code.DELETE, "a")
    attacker = tap.device if host == "192.0.2.7" else book.stranger(host)
    answer = refused(attacker, under_another_id(said, 9000))
    assert (answer.code, answer.option(OptionNumber.MAX_AGE)) == (Code.UNAUTHORIZED, b"")
    assert acted(book) == 0
    (refusal,) = book.refusals()
    assert (refusal.reason, refusal.device, refusal.is_verified) == ("OSCORE replay", "tap", False)


@pytest.mark.requirement("C2")
def test_nothing_that_was_said_before_a_start_of_the_hub_acts_after_it(vault: Vault) -> None:
    book, registry = oscore_book(vault)
    tap = OscoreDevice(book.stranger())
    said = []
    for path in ("a", "b", "c"):
        tap.asks(Code.PUT, path, b"1")
        said.append(wire.decode(tap.device._last))
    after, _ = oscore_book(vault, registry=registry, first=1000)
    attacker = after.stranger()
    for number, message in enumerate(said):  # among them one that held the answer to the challenge of then
        attacker.sends_bytes(under_another_id(message, 9000 + number))
        (answer,) = attacker.messages()
        assert answer.option(OptionNumber.OSCORE) is not None, "a challenge, which only the device can read"
    assert acted(after) == 0
    tap.moves(after.stranger("192.0.2.9"))
    assert tap.asks(Code.PUT, "d", b"1").code == Code.CREATED
    for number, message in enumerate(said):
        refused(attacker, under_another_id(message, 9100 + number))
    assert acted(after) == 1


def test_whatever_is_changed_on_the_way_is_dropped(vault: Vault) -> None:
    book, _ = oscore_book(vault)
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.GET, "a")
    tap.sends(Code.PUT, "a", b"0" * 20)
    said = wire.decode(tap.device._last)
    tap.device.messages()
    before = acted(book)
    for at in range(len(said.payload)):
        body = bytearray(said.payload)
        body[at] ^= 1
        option = said.option(OptionNumber.OSCORE) or b""
        number = bytes([option[0], option[1] + 1]) + option[2:]  # not used so far: so it is no replay
        changed = CoapMessage(said.type, said.code, 9000 + at, b"evil", ((9, number),), bytes(body))
        assert refused(tap.device, wire.encode(changed)).code == Code.BAD_REQUEST
    assert acted(book) == before
    assert {refusal.reason for refusal in book.refusals() if refusal.device == "tap"} == {"OSCORE decryption failed"}
    assert tap.asks(Code.PUT, "b", b"1").code == Code.CREATED, "what was forged has not used up its numbers"


def test_one_device_is_not_another_by_naming_its_context(vault: Vault) -> None:
    registry = FakeRegistry()
    registry.add("tap", oscore(vault, "tap", ID))
    registry.add("valve", oscore(vault, "valve", OTHER, b"v" * 16))
    book, _ = oscore_book(vault, registry=registry)
    OscoreDevice(book.stranger()).asks(Code.PUT, "mine", b"1")
    liar = OscoreDevice(book.stranger("198.51.100.1"), ID, b"v" * 16, first=50)  # the keys of valve, the name of tap
    liar.sends(Code.PUT, "mine", b"2")
    (answer,) = liar.device.messages()
    assert (answer.code, answer.option(OptionNumber.OSCORE)) == (Code.BAD_REQUEST, None)
    stranger = OscoreDevice(book.stranger("198.51.100.2"), b"\xff\xff")
    stranger.sends(Code.PUT, "mine", b"2")
    (answer,) = stranger.device.messages()
    assert answer.code == Code.UNAUTHORIZED
    assert OscoreDevice(book.stranger(), first=90).asks(Code.GET, "mine").payload == b"1"


def test_a_revoked_context_opens_nothing(vault: Vault) -> None:
    book, registry = oscore_book(vault)
    tap = OscoreDevice(book.stranger())
    tap.observes("a")
    registry.change_credentials("tap", is_revoked=True)
    tap.sends(Code.PUT, "a", b"1")
    (answer,) = tap.device.messages()
    assert (answer.code, answer.payload[:26]) == (Code.UNAUTHORIZED, b"Security context not found")
    assert acted(book) == 0


def test_a_request_that_is_sent_on_from_a_victims_address_floods_nobody(vault: Vault) -> None:
    book, _ = oscore_book(vault)
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.PUT, "a", b"x" * 1000)
    book.client("pen")
    for code, options in ((Code.GET, ()), (Code.GET, ((OptionNumber.OBSERVE, b""),))):
        outer = tap.protected(code, "a", b"", options, b"r")  # caught on the way, and never seen by the hub before
        victim = book.stranger("198.51.100.1")
        request = wire.encode(CoapMessage(Type.NON, outer[0], 7000, b"r", outer[1], outer[2]))
        victim.sends_bytes(request)
        assert sum(map(len, victim.link.sent)) <= 3 * len(request)
    book.client("pencil").publishes("a", b"y" * 1000)
    assert len(victim.link.sent) == 1


def test_no_two_messages_of_the_hub_are_protected_under_one_number(vault: Vault, tmp_path: Path) -> None:
    def write(path: Path, content: bytes) -> None:
        path.write_bytes(content)

    seen: set[bytes] = set()
    registry: FakeRegistry | None = None
    for life in range(3):
        numbers = Numbers(tmp_path / "oscore", write, lambda: 0.0)
        book, registry = oscore_book(vault, registry=registry, numbers=numbers.take)
        tap = OscoreDevice(book.stranger(), first=100 * life)
        tap.observes("a")
        pen = book.client("pen")
        for _ in range(5):
            pen.publishes("a", b"1")
            tap.device.acknowledges(tap.device.messages()[-1])
        for data in tap.device.link.sent:
            option = wire.decode(data).option(OptionNumber.OSCORE)
            if option:
                assert option not in seen
                seen.add(option)
    assert len(seen) >= 3 * 6


def test_a_door_that_does_not_offer_it_answers_as_one_that_knows_no_such_option() -> None:
    attacker = CoapBook(ON).stranger()
    attacker.sends_bytes(wire.encode(CoapMessage(Type.NON, Code.POST, 1, b"t", ((9, b"\x09\x00" + ID),), b"x" * 20)))
    (answer,) = attacker.messages()
    assert answer.type == Type.RST
