"""OSCORE as RFC 8613 writes it: its own test vectors, what is not opened and why, and when a number is used again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from aiocoap import Code as AiocoapCode
from aiocoap import Message
from hypothesis import given
from hypothesis import strategies as st

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.oscore import Asked, Challenged, Contexts, Refused, SecurityContext
from lockgate.errors import Unavailable
from lockgate.identity.oscore import OscoreSecrets
from tests.support.oscore import ID, SALT, SECRET, OscoreDevice, protected_request

MASTER = bytes(range(1, 17))
HOST, PORT = "192.0.2.7", 40_000


def secrets_of(device_id: bytes, salt: bytes, hub_id: bytes = b"\x01") -> OscoreSecrets:
    return OscoreSecrets(1, "tap", MASTER, salt, device_id, hub_id)


def opened(secrets: OscoreSecrets, datagram: str, numbers: Callable[[], int]) -> Asked:
    """Open a request of the standard, by a context that has seen none before."""
    contexts = Contexts(lambda found: secrets if found == secrets.device_id else None, numbers, b"k" * 32)
    context = contexts._contexts[secrets.device_id] = SecurityContext(secrets, numbers)
    context.recipient_replay_window.initialize_empty()
    return contexts.opened(wire.decode(bytes.fromhex(datagram)), HOST, PORT)


VECTORS = (  # device id, salt, protected request, message id and token
    pytest.param(
        b"", bytes.fromhex("9e7ca92223786340"),
        "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e",
        id="C.4, with the context of C.1",
    ),
    pytest.param(
        b"\x00", b"", "440271c30000b932396c6f63616c686f737463091400ff4ed339a5a379b0b8bc731fffb0",
        id="C.5, with the context of C.2",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("device_id", "salt", "datagram"), VECTORS)
def test_a_request_of_the_standard_opens(device_id: bytes, salt: bytes, datagram: str) -> None:
    asked = opened(secrets_of(device_id, salt), datagram, count().__next__)
    outer = wire.decode(bytes.fromhex(datagram))
    path = ((int(OptionNumber.URI_PATH), b"tv1"),)
    assert asked.request == CoapMessage(Type.CON, Code.GET, outer.message_id, outer.token, path)
    assert (asked.device, asked.device_id, asked.is_place_proven) == ("tap", device_id, False)


def test_keys_are_those_of_the_standard() -> None:
    context = SecurityContext(secrets_of(b"", bytes.fromhex("9e7ca92223786340")), count().__next__)
    assert context.recipient_key.hex() == "f0910ed7295e6ad4b54fc793154302ff"
    assert context.sender_key.hex() == "ffb14e093c94c9cac9471648b4f98710"
    assert context.common_iv.hex() == "4622d4dd6d944168eefb54987c"


def test_answers_are_those_of_the_standard_first_under_the_number_of_the_request_and_then_under_our_own() -> None:
    asked = opened(secrets_of(b"", bytes.fromhex("9e7ca92223786340")), VECTORS[0].values[2], count().__next__)  # type: ignore[arg-type]
    first = asked.protect(Code.CONTENT, (), b"Hello World!")  # C.7
    assert first == (Code.CHANGED, ((9, b""),), bytes.fromhex("dbaad1e9a7e7b2a813d3c31524378303cdafae119106"))
    second = asked.protect(Code.CONTENT, (), b"Hello World!")  # C.8
    body = bytes.fromhex("4d4c13669384b67354b2b6175ff4b8658c666a6cf88e")
    assert second == (Code.CHANGED, ((9, bytes.fromhex("0100")),), body)


def test_an_id_context_is_none_of_ours() -> None:
    datagram = "44022f8eef9bbf7a396c6f63616c686f73746b19140837cbf3210017a2d3ff72cd7273fd331ac45cffbe55c3"  # C.6
    with pytest.raises(Refused) as refused:
        opened(secrets_of(b"", bytes.fromhex("9e7ca92223786340")), datagram, count().__next__)
    assert (refused.value.code, refused.value.text) == (Code.UNAUTHORIZED, "Security context not found")
    assert "37cbf3210017a2d3" in str(refused.value.error)


# What is not opened


@pytest.fixture
def contexts() -> Contexts:
    known = OscoreSecrets(7, "tap", SECRET, SALT, ID)
    return Contexts(lambda device_id: known if device_id == ID else None, count(100).__next__, b"k" * 32)


@pytest.fixture
def tap() -> OscoreDevice:
    return OscoreDevice(None)


def meets(contexts: Contexts, tap: OscoreDevice, host: str = HOST) -> bytes:
    """Meet the challenge of a context that is new; give what is to be repeated."""
    with pytest.raises(Challenged) as challenged:
        contexts.opened(protected_request(tap, Code.GET, "a"), host, PORT)
    again = challenged.value
    answer = CoapMessage(Type.ACK, again.code, 1, b"t", again.options, again.payload)
    inner = tap.opened(answer)
    assert inner.code == Code.UNAUTHORIZED
    return inner.option(OptionNumber.ECHO) or b""


@pytest.fixture
def echo(contexts: Contexts, tap: OscoreDevice) -> bytes:
    return meets(contexts, tap)


def test_a_new_context_asks_for_the_first_request_again_and_takes_it_once(
    contexts: Contexts, tap: OscoreDevice, echo: bytes
) -> None:
    request = protected_request(tap, Code.GET, "a", b"", (OptionNumber.ECHO, echo))
    asked = contexts.opened(request, HOST, PORT)
    assert (asked.is_place_proven, len(contexts)) == (True, 1)
    with pytest.raises(Refused) as refused:
        contexts.opened(request, HOST, PORT)
    assert (refused.value.code, refused.value.options) == (Code.UNAUTHORIZED, ((OptionNumber.MAX_AGE, b""),))
    assert (refused.value.text, refused.value.error.reason) == ("Replay detected", "OSCORE replay")
    assert contexts.opened(protected_request(tap, Code.GET, "a"), HOST, PORT).is_place_proven is False


def test_the_answer_to_a_challenge_counts_from_the_address_alone_that_was_asked(
    contexts: Contexts, tap: OscoreDevice, echo: bytes
) -> None:
    with pytest.raises(Challenged):
        contexts.opened(protected_request(tap, Code.GET, "a", b"", (OptionNumber.ECHO, echo)), "198.51.100.1", PORT)


def test_an_answer_to_a_request_whose_freshness_was_not_known_takes_a_number_of_our_own(
    contexts: Contexts, tap: OscoreDevice, echo: bytes
) -> None:
    asked = contexts.opened(protected_request(tap, Code.GET, "a", b"", (OptionNumber.ECHO, echo)), HOST, PORT)
    assert asked.protect(Code.CONTENT, (), b"")[1][0][1] == b"\x01\x65"


def test_a_notification_has_its_number_outside_and_none_inside(
    contexts: Contexts, tap: OscoreDevice, echo: bytes
) -> None:
    contexts.opened(protected_request(tap, Code.GET, "a", b"", (OptionNumber.ECHO, echo)), HOST, PORT)
    request = protected_request(tap, Code.GET, "a", b"", (OptionNumber.OBSERVE, b""))
    assert request.code == Code.FETCH
    asked = contexts.opened(request, HOST, PORT)
    assert asked.request.number(OptionNumber.OBSERVE) == 0
    code, options, payload = asked.protect(Code.CONTENT, ((OptionNumber.OBSERVE, b"\x05"),), b"21")
    assert (code, options[0]) == (Code.CONTENT, (OptionNumber.OBSERVE, b"\x05"))
    assert options[1] == (OptionNumber.OSCORE, b"\x01\x65"), "its own number: by that notifications are ordered"
    inner = tap.opened(CoapMessage(Type.ACK, code, 1, b"t", options, payload))
    assert (inner.payload, inner.option(OptionNumber.OBSERVE)) == (b"21", b"")
    ends = protected_request(tap, Code.GET, "a", b"", (OptionNumber.OBSERVE, b"\x01"))
    assert contexts.opened(ends, HOST, PORT).request.number(OptionNumber.OBSERVE) == 1


@pytest.mark.parametrize(
    ("option", "code", "text"),
    [
        (b"\xe0", Code.BAD_OPTION, "Failed to decode COSE"),
        (b"\x19\x00", Code.BAD_OPTION, "Failed to decode COSE"),
        (b"\x05\x00", Code.BAD_OPTION, "Failed to decode COSE"),
        (b"", Code.UNAUTHORIZED, "Security context not found"),
        (b"\x01\x00", Code.UNAUTHORIZED, "Security context not found"),
        (b"\x09\x00\xff\xff", Code.UNAUTHORIZED, "Security context not found"),
        (b"\x09\x00" + ID * 10, Code.UNAUTHORIZED, "Security context not found"),
        (b"\x08" + ID, Code.BAD_REQUEST, "Decryption failed"),
        (b"\x09\x00" + ID, Code.BAD_REQUEST, "Decryption failed"),
    ],
)
def test_what_is_not_protected_by_a_context_of_ours_is_told_so_in_the_words_of_the_standard(
    contexts: Contexts, option: bytes, code: int, text: str
) -> None:
    for payload in (b"", b"x", b"x" * 40):
        request = CoapMessage(Type.CON, Code.POST, 1, b"t", ((OptionNumber.OSCORE, option),), payload)
        with pytest.raises(Refused) as refused:
            contexts.opened(request, HOST, PORT)
        assert (refused.value.code, refused.value.text) == (code, text)
        assert refused.value.device == ("tap" if code == Code.BAD_REQUEST else "")


@pytest.mark.parametrize("code", [Code.GET, Code.PUT])
def test_the_method_outside_is_post_or_fetch(contexts: Contexts, tap: OscoreDevice, code: int) -> None:
    request = protected_request(tap, Code.GET, "a")
    odd = CoapMessage(request.type, code, 1, b"t", request.options, request.payload)
    with pytest.raises(Refused, match="Decryption failed"):
        contexts.opened(odd, HOST, PORT)


def test_a_response_inside_a_request_is_none(
    contexts: Contexts, tap: OscoreDevice, echo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts.opened(protected_request(tap, Code.GET, "a", b"", (OptionNumber.ECHO, echo)), HOST, PORT)
    response = Message(code=AiocoapCode(Code.CONTENT))
    monkeypatch.setattr(SecurityContext, "unprotect", lambda *_: (response, None))
    with pytest.raises(Refused, match="Decryption failed"):
        contexts.opened(protected_request(tap, Code.GET, "a"), HOST, PORT)


def test_a_context_is_gone_with_its_credential_and_a_new_one_begins_anew(tap: OscoreDevice) -> None:
    known = [OscoreSecrets(7, "tap", SECRET, SALT, ID)]
    contexts = Contexts(lambda _: known[0] if known else None, count().__next__, b"k" * 32)
    echo = meets(contexts, tap)
    contexts.opened(protected_request(tap, Code.GET, "a", b"", (OptionNumber.ECHO, echo)), HOST, PORT)
    known[0] = OscoreSecrets(8, "tap", b"n" * 16, SALT, ID)
    with pytest.raises(Refused, match="Decryption failed"):
        contexts.opened(protected_request(tap, Code.GET, "a"), HOST, PORT)
    known.clear()
    with pytest.raises(Refused, match="Security context not found"):
        contexts.opened(protected_request(tap, Code.GET, "a"), HOST, PORT)
    assert len(contexts) == 0


def test_what_a_device_waives_is_known_inside(contexts: Contexts, tap: OscoreDevice, echo: bytes) -> None:
    words = ((OptionNumber.ECHO, echo), (OptionNumber.NO_RESPONSE, b"\x02"))
    asked = contexts.opened(protected_request(tap, Code.POST, "a", b"1", *words), HOST, PORT)
    assert (asked.is_waived(Code.CHANGED), asked.is_waived(Code.FORBIDDEN)) == (True, False)


def test_without_a_number_of_our_own_nothing_is_protected(tap: OscoreDevice) -> None:
    def none_left() -> int:
        raise Unavailable("used up")

    known = OscoreSecrets(7, "tap", SECRET, SALT, ID)
    contexts = Contexts(lambda _: known, none_left, b"k" * 32)
    with pytest.raises(Unavailable, match="used up"):
        contexts.opened(protected_request(tap, Code.GET, "a"), HOST, PORT)


def test_a_context_shows_whose_it_is_and_no_key() -> None:
    context = SecurityContext(OscoreSecrets(7, "tap", SECRET, SALT, ID), count().__next__)
    assert repr(context) == "<OSCORE context of 'tap', id=a1b2>"


@given(option=st.binary(max_size=20), payload=st.binary(max_size=60), code=st.sampled_from((2, 5)), named=st.booleans())
def test_no_bytes_do_anything_but_be_refused(option: bytes, payload: bytes, code: int, named: bool) -> None:
    known = OscoreSecrets(7, "tap", SECRET, SALT, ID)
    contexts = Contexts(lambda device_id: known if device_id == ID else None, count().__next__, b"k" * 32)
    said = b"\x09\x00" + ID if named else option
    request = CoapMessage(Type.CON, code, 1, b"t", ((OptionNumber.OSCORE, said),), payload)
    with pytest.raises(Refused):
        contexts.opened(request, HOST, PORT)


@given(at=st.integers(0, 200), bit=st.integers(0, 7))
def test_no_changed_bit_opens(at: int, bit: int) -> None:
    known = OscoreSecrets(7, "tap", SECRET, SALT, ID)
    contexts = Contexts(lambda device_id: known if device_id == ID else None, count().__next__, b"k" * 32)
    sent = protected_request(OscoreDevice(None, first=300), Code.PUT, "a/b", b"21.5")
    whole = bytearray((sent.option(OptionNumber.OSCORE) or b"") + sent.payload)
    whole[at % len(whole)] ^= 1 << bit
    split = len(sent.option(OptionNumber.OSCORE) or b"")
    changed = CoapMessage(Type.CON, sent.code, 1, b"t", ((9, bytes(whole[:split])),), bytes(whole[split:]))
    with pytest.raises(Refused):
        contexts.opened(changed, HOST, PORT)
