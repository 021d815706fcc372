"""Devices that protect each message by itself, at a hub: what they may do, from where, and beside whom on one link."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.adapters.coap import protected, wire
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.oscore import Asked
from lockgate.adapters.coap.protected import PROTECTION, Guest
from lockgate.adapters.coap.wire import encode_uint
from lockgate.errors import ShutOut
from lockgate.registry.vault import Vault
from lockgate.settings import CoapSettings, Settings
from tests.support.coap_book import CoapBook
from tests.support.oscore import ID, ON, OscoreDevice, oscore_book
from tests.support.registry import FakeRegistry, nosec, oscore

OTHER = b"\xc3\xd4"
LONG = bytes(range(32, 127)) * 64


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "secrets.key")


@pytest.fixture
def book(vault: Vault) -> CoapBook:
    return oscore_book(vault)[0]


def opened(book: CoapBook) -> list[Guest]:
    return [each for each in book.coap.connections if isinstance(each, Guest)]


def test_each_method_under_the_policy_of_its_device(book: CoapBook) -> None:
    tap = OscoreDevice(book.stranger())
    assert tap.asks(Code.PUT, "a", b"1").code == Code.CREATED
    assert tap.asks(Code.GET, "a").payload == b"1"
    assert tap.asks(Code.POST, "a", b"2").code == Code.CHANGED
    assert tap.asks(Code.DELETE, "a").code == Code.DELETED
    assert tap.asks(Code.GET, "a").code == Code.NOT_FOUND
    (session,) = book.hub.sessions_of("tap")
    assert (session.client_id, session.principal.auth, session.principal.credential_id) == ("tap/coap/1", "oscore", 1)
    (guest,) = opened(book)
    link = guest.link
    assert (link.peer, link.protection) == (tap.device.link.peer, PROTECTION)
    assert (link.psk_identity, link.raw_public_key, link.peer_certificate) == (None, None, None)


def test_the_hub_answers_a_refusal_inside(vault: Vault) -> None:
    book, _ = oscore_book(vault, rules=())
    answer = OscoreDevice(book.stranger()).asks(Code.PUT, "a", b"1")
    assert answer.code == Code.FORBIDDEN


def test_a_blocked_device_is_told_so_inside_and_is_no_guest(vault: Vault) -> None:
    book, registry = oscore_book(vault)
    registry.change("tap", is_blocked=True)
    answer = OscoreDevice(book.stranger()).asks(Code.PUT, "a", b"1")
    assert (answer.code, answer.payload[:14]) == (Code.FORBIDDEN, b"device blocked")
    assert opened(book) == []


def test_a_long_body_goes_in_blocks_inside_both_ways(book: CoapBook) -> None:
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.GET, "a")
    parts = [LONG[at : at + 1024] for at in range(0, len(LONG), 1024)]
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        answer = tap.asks(Code.PUT, "a", part, (OptionNumber.BLOCK1, encode_uint(number << 4 | (not is_last) << 3 | 6)))
        assert answer.code == (Code.CREATED if is_last else Code.CONTINUE)
    read = b""
    for number in range(len(parts)):
        read += tap.asks(Code.GET, "a", b"", (OptionNumber.BLOCK2, encode_uint(number << 4 | 6))).payload
    assert read == LONG


def test_an_observer_hears_what_is_published_protected_and_in_order(book: CoapBook) -> None:
    tap = OscoreDevice(book.stranger())
    first = tap.observes("a")
    assert (first.code, first.option(OptionNumber.OBSERVE)) == (Code.CONTENT, b"")
    pen = book.client("pen")
    for payload in (b"1", b"2"):
        pen.publishes("a", payload, 1)
        (outer,) = tap.device.messages()
        assert payload not in outer.payload
        assert (outer.type, outer.code) == (Type.CON, Code.CONTENT)
        assert tap.opened(outer).payload == payload
        tap.device.acknowledges(outer)
    assert tap.asks_once(Code.GET, "a", b"", (OptionNumber.OBSERVE, b"\x01"), token=b"\x01").code == Code.NOT_FOUND
    pen.publishes("a", b"3", 1)
    tap.device.gets_nothing()


def test_a_notification_that_is_not_acknowledged_is_sent_again_as_it_was_and_then_the_observation_ends(
    book: CoapBook,
) -> None:
    tap = OscoreDevice(book.stranger())
    tap.observes("a")
    book.client("pen").publishes("a", b"1", 1)
    (first,) = tap.device.messages()
    for _ in range(240):
        book.passes(0.5)
    again = tap.device.messages()
    assert set(again) == {first}
    assert len(opened(book)[0]._observer) == 0


def test_an_observer_that_only_listens_is_asked_for_a_sign_of_life(vault: Vault) -> None:
    settings = Settings(coap=CoapSettings(oscore_enabled=True, idle_seconds=30.0))
    book, _ = oscore_book(vault, settings)
    tap = OscoreDevice(book.stranger())
    tap.observes("a")
    tap.device.messages()
    for _ in range(45):
        book.passes(0.25)
    (probe,) = tap.device.messages()
    assert (tap.opened(probe).code, probe.type) == (Code.CONTENT, Type.CON)


def test_a_reset_of_the_first_answer_ends_the_observation(book: CoapBook) -> None:
    tap = OscoreDevice(book.stranger())
    tap.observes("a", type=Type.NON)
    book.client("pen").publishes("a", b"1")
    (outer,) = tap.device.messages()
    tap.device.resets(outer)
    book.client("pencil").publishes("a", b"2")
    tap.device.gets_nothing()


@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
def test_what_a_device_waives_inside_is_not_said(book: CoapBook, kind: Type) -> None:
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.GET, "a")
    tap.sends(Code.POST, "a", b"1", (OptionNumber.NO_RESPONSE, b"\x02"), type=kind)
    found = tap.device.messages()
    assert [(each.type, each.code) for each in found] == ([(Type.ACK, Code.EMPTY)] if kind == Type.CON else [])
    assert tap.asks(Code.GET, "a").code == Code.NOT_FOUND


def test_a_critical_option_that_is_not_known_inside_is_refused_there(book: CoapBook) -> None:
    tap = OscoreDevice(book.stranger())
    assert tap.asks(Code.PUT, "a", b"1", (65_001, b"?")).code == Code.BAD_OPTION
    assert tap.asks(Code.GET, "a").code == Code.NOT_FOUND
    assert {OptionNumber.PROXY_URI, OptionNumber.PROXY_SCHEME} & protected.INNER_OPTIONS == set()


def test_an_elective_option_that_is_not_known_inside_is_left_out(book: CoapBook) -> None:
    tap = OscoreDevice(book.stranger())
    assert tap.asks(Code.PUT, "a", b"1", (65_000, b"?")).code == Code.CREATED


def test_a_request_that_comes_twice_is_answered_twice_and_acts_once(book: CoapBook) -> None:
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.PUT, "a", LONG[:900])
    watcher = book.subscriber("watcher", "b")
    for path, payload, observe in (("b", b"1", False), ("a", b"", True)):
        options = ((OptionNumber.OBSERVE, b""),) if observe else ()
        code = Code.GET if observe else Code.POST
        tap.sends(code, path, payload, *options, token=b"tw")
        data = tap.device._last
        (first,) = tap.device.messages()
        tap.device.sends_bytes(data)
        (again,) = tap.device.messages()
        assert again == first, "also where it is long: it cannot be opened a second time"
    assert len(watcher.packets()) == 1
    assert book.refusals() == []


# From where


def test_until_its_address_is_proven_it_gets_no_more_than_three_times_what_it_sent_and_no_notification(
    book: CoapBook,
) -> None:
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.PUT, "a", LONG[:1000])
    tap.moves(book.stranger("198.51.100.1"))
    for options in ((), ((OptionNumber.OBSERVE, b""),)):
        tap.sends(Code.GET, "a", b"", *options)
        size = len(tap.device._last)
        (outer,) = tap.device.messages()
        assert len(tap.device.link.sent[-1]) <= 3 * size
        assert tap.opened(outer).code == Code.UNAUTHORIZED
    book.client("pen").publishes("a", b"1")
    tap.device.gets_nothing()
    assert tap.asks_once(Code.PUT, "b", b"1").code == Code.CREATED, "who it is, and that it is no repeat, is proven"
    assert tap.asks(Code.GET, "a").payload == LONG[:1000]


@pytest.mark.source("it changes a constant")
def test_a_refusal_to_an_unproven_address_is_short(book: CoapBook, monkeypatch: pytest.MonkeyPatch) -> None:
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.GET, "a")
    tap.moves(book.stranger("198.51.100.1"))
    monkeypatch.setattr(protected, "MAX_AMPLIFICATION", 1)
    answer = tap.asks_once(Code.GET, "a/+")
    assert (answer.code, answer.payload) == (Code.BAD_REQUEST, b"")


def test_within_dtls_the_address_is_proven(vault: Vault) -> None:
    book, _ = oscore_book(vault)
    device = book.stranger()
    device.link.protection = PROTECTION
    tap = OscoreDevice(device)
    tap.asks(Code.GET, "a")
    guest = opened(book)[0]
    guest._place_proven_until = 0.0
    book.client("pen").publishes("a", LONG[:1000], retain=True)
    assert tap.asks_once(Code.GET, "a").payload == LONG[:1000]


def test_a_device_that_moves_leaves_its_oldest_place_in_the_end(vault: Vault) -> None:
    book, _ = oscore_book(vault, Settings(coap=CoapSettings(oscore_enabled=True, max_oscore_addresses=2)))
    tap = OscoreDevice(book.stranger("192.0.2.1"))
    tap.observes("a")
    first = tap.device
    for number in (2, 3):
        tap.moves(book.stranger(f"192.0.2.{number}")).asks(Code.GET, "a")
    (goodbye,) = first.messages()
    assert tap.opened(goodbye).payload.startswith(b"quota exceeded")
    book.loop.run()
    assert len(book.hub.sessions_of("tap")) == 2


# Beside others


def two(vault: Vault, nosec_enabled: bool = False) -> tuple[CoapBook, FakeRegistry, OscoreDevice, OscoreDevice]:
    registry = FakeRegistry()
    registry.add("tap", oscore(vault, "tap", ID))
    registry.add("valve", oscore(vault, "valve", OTHER, b"v" * 16))
    registry.add("probe", nosec("192.0.2.7"))
    book, _ = oscore_book(
        vault, Settings(coap=CoapSettings(oscore_enabled=True, nosec_enabled=nosec_enabled)), registry=registry
    )
    device = book.stranger()
    return book, registry, OscoreDevice(device), OscoreDevice(device, OTHER, b"v" * 16)


def test_two_devices_behind_one_proxy_are_two(vault: Vault) -> None:
    book, _, tap, valve = two(vault)
    tap.observes("a", token=b"t")
    valve.observes("a", token=b"v")
    book.client("pen").publishes("a", b"1", 1)
    (one,) = tap.device.messages()
    tap.device.acknowledges(one)
    (other,) = tap.device.messages()
    assert [tap.opened(one).payload, valve.opened(other).payload] == [b"1", b"1"]
    tap.device.acknowledges(other)
    assert [len(each._observer._sent) for each in opened(book)] == [0, 0]


def test_the_end_of_one_is_not_the_end_of_the_other(vault: Vault) -> None:
    book, _, tap, valve = two(vault)
    tap.observes("a", token=b"t")
    valve.observes("a", token=b"v")
    (session,) = book.hub.sessions_of("tap")
    assert session.outlet is not None
    session.outlet.end(ShutOut("revoked", reason="credential revoked"))
    (goodbye,) = tap.device.messages()
    assert tap.opened(goodbye).payload.startswith(b"credential revoked")
    book.loop.run()
    assert (book.hub.sessions_of("tap"), len(book.hub.sessions_of("valve"))) == ([], 1)
    assert not tap.device.link.is_closed


def test_who_is_nobody_on_the_same_address_ends_nobody(vault: Vault) -> None:
    book, _, tap, _ = two(vault)
    tap.observes("a")
    challenge = tap.device.asks(Code.GET, "a")
    echo = challenge.option(OptionNumber.ECHO) or b""
    assert tap.device.asks(Code.GET, "a", b"", (OptionNumber.ECHO, echo)).code == Code.UNAUTHORIZED
    book.client("pen").publishes("a", b"1", 1)
    (outer,) = tap.device.messages()
    assert tap.opened(outer).payload == b"1"


def test_a_device_without_protection_on_the_same_address_is_another(vault: Vault) -> None:
    book, _, tap, _ = two(vault, nosec_enabled=True)
    tap.observes("a")
    echo = tap.device.asks(Code.GET, "b").option(OptionNumber.ECHO) or b""
    assert tap.device.asks(Code.PUT, "b", b"1", (OptionNumber.ECHO, echo)).code == Code.CREATED
    (session,) = book.hub.sessions_of("probe")
    assert session.outlet is not None
    session.outlet.end(ShutOut("revoked", reason="credential revoked"))
    (goodbye,) = tap.device.messages()
    assert tap.opened(goodbye).payload.startswith(b"link closed"), "why the other had to go is not its affair"


def test_a_hub_that_stops_says_so_to_each(vault: Vault) -> None:
    book, _, tap, valve = two(vault)
    tap.observes("a", token=b"t")
    valve.observes("b", token=b"v")
    book.coap.close()
    found = {each.token: each for each in tap.device.messages()}
    assert tap.opened(found[b"t"]).payload.startswith(b"server shutting down")
    assert valve.opened(found[b"v"]).payload.startswith(b"server shutting down")


def test_a_link_that_goes_takes_all_with_it(vault: Vault) -> None:
    book, _, tap, valve = two(vault)
    tap.observes("a", token=b"t")
    valve.observes("b", token=b"v")
    tap.device.is_cut()
    assert (opened(book), book.hub.sessions_of("tap"), book.hub.sessions_of("valve")) == ([], [], [])


def test_many_observations_that_ended_are_forgotten(vault: Vault) -> None:
    book, _ = oscore_book(vault, Settings(coap=CoapSettings(oscore_enabled=True, max_observations=1)))
    tap = OscoreDevice(book.stranger())
    for number in range(10):
        token = bytes([number])
        tap.observes("a", token=token)
        tap.asks(Code.GET, "a", b"", (OptionNumber.OBSERVE, b"\x01"), token=token)
    assert len(opened(book)[0]._observed) <= 3


def test_an_answer_waits_for_the_disk(vault: Vault) -> None:
    book, _ = oscore_book(vault)
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.GET, "a")
    book.store.holds = True
    tap.sends(Code.PUT, "a", b"1")
    tap.device.gets_nothing()
    book.commits()
    (answer,) = tap.messages()
    assert answer.code == Code.CREATED


def test_what_goes_wrong_ends_its_own_part_alone(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    book, _, tap, valve = two(vault)
    tap.asks(Code.GET, "a")
    valve.asks(Code.GET, "a")

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Asked, "protect", fails)
        tap.sends(Code.GET, "a")
    book.loop.run()
    assert [each.session.principal.device for each in opened(book) if each.session is not None] == ["valve"]
    assert not tap.device.link.is_closed


def test_a_request_to_many_is_not_opened(book: CoapBook) -> None:
    tap = OscoreDevice(book.stranger())
    tap.asks(Code.GET, "a")
    code, options, payload = tap.protected(Code.POST, "a", b"1", (), b"m")
    tap.device.sends_bytes(wire.encode(CoapMessage(Type.NON, code, 9, b"m", options, payload)), is_multicast=True)
    tap.device.gets_nothing()


def test_a_door_without_oscore_knows_no_such_option() -> None:
    device = CoapBook(ON).stranger()
    answer = device.asks(Code.POST, "", b"x" * 20, (OptionNumber.OSCORE, b"\x09\x00" + ID))
    assert answer.code == Code.BAD_OPTION


def test_a_device_that_protects_by_messages_is_not_asked_for_resources_of_its_own(vault: Vault) -> None:
    book, _, tap, valve = two(vault)
    tap.asks(Code.GET, "a")
    answer = valve.asks(Code.GET, ".well-known/lockgate/nobody")
    assert answer.code >> 5 == 4
    assert book.coap.devices._links == {}, "what is asked of a device would go out unprotected"


def test_a_link_without_guests_is_forgotten_as_any_stranger(vault: Vault) -> None:
    book, registry = oscore_book(vault)
    registry.change("tap", is_blocked=True)
    tap = OscoreDevice(book.stranger())
    tap.sends(Code.GET, "a")
    book.loop.run()
    assert (book.coap.connections, tap.device.link.is_closed) == (set(), True), "a challenge needs no memory"
