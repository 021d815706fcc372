"""RFC 7641: Observe."""

from __future__ import annotations

import pytest

from tests.conformance.coap import (
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    DELETE,
    ETAG,
    GET,
    MAX_AGE,
    NON,
    NOT_ACCEPTABLE,
    OBSERVE,
    PUT,
    VALID,
    CoapServer,
    Message,
    Peer,
    uint,
)  # fmt: skip
from tests.conformance.marks import needs_lockgate, statement

REGISTER, DEREGISTER = (OBSERVE, b""), (OBSERVE, b"\x01")


def told(peer: Peer) -> Message:
    """Wait for a notification, and acknowledge it."""
    found = peer.receive()
    if found.type == CON:
        peer.acknowledge(found)
    return found


@pytest.fixture
def where(coap: CoapServer) -> str:
    """A resource that is there."""
    found = coap.resource()
    assert coap.peer().ask(PUT, found, b"0").is_success
    return found


@statement("RFC 7641", "RFC7641-2-1")
def test_what_cannot_be_observed_is_answered_as_a_plain_get(coap: CoapServer) -> None:
    found = coap.peer().ask(GET, ".well-known/core", b"", REGISTER)
    assert (found.code, found.uint(OBSERVE)) == (CONTENT, None)


@statement("RFC 7641", "RFC7641-3.2-1", "RFC7641-3.2-2", "RFC7641-4.1-1", "RFC7641-4.2-1", "RFC7641-4.2-2")
def test_all_observers_are_told_of_a_change_with_their_own_tokens(coap: CoapServer, where: str) -> None:
    peers = [coap.peer() for _ in range(3)]
    for number, peer in enumerate(peers):
        found = peer.ask(GET, where, b"", REGISTER, token=b"token%d" % number)
        assert (found.code, found.payload) == (CONTENT, b"0")
        assert found.uint(OBSERVE) is not None
    assert coap.peer().ask(PUT, where, b"1").code == CHANGED
    for number, peer in enumerate(peers):
        found = told(peer)
        assert (found.code, found.payload, found.token) == (CONTENT, b"1", b"token%d" % number)
        assert found.uint(OBSERVE) is not None


@statement("RFC 7641", "RFC7641-4.1-2")
def test_to_register_again_with_the_same_token_changes_nothing(coap: CoapServer, where: str) -> None:
    peer = coap.peer()
    for _ in range(3):
        assert peer.ask(GET, where, b"", REGISTER, token=b"tk").uint(OBSERVE) is not None
    assert coap.peer().ask(PUT, where, b"1").is_success
    assert told(peer).payload == b"1"
    peer.expect_silence()


@statement("RFC 7641", "RFC7641-4.1-3")
def test_who_deregisters_hears_no_more(coap: CoapServer, where: str) -> None:
    peer = coap.peer()
    assert peer.ask(GET, where, b"", REGISTER, token=b"tk").uint(OBSERVE) is not None
    found = peer.ask(GET, where, b"", DEREGISTER, token=b"tk")
    assert (found.code, found.uint(OBSERVE)) == (CONTENT, None)
    assert coap.peer().ask(PUT, where, b"1").is_success
    peer.expect_silence()


@statement("RFC 7641", "RFC7641-4.1-4")
def test_the_same_token_elsewhere_is_another_observation(coap: CoapServer, where: str) -> None:
    one, two = coap.peer(), coap.peer()
    for peer in (one, two):
        assert peer.ask(GET, where, b"", REGISTER, token=b"tk").uint(OBSERVE) is not None
    assert one.ask(GET, where, b"", DEREGISTER, token=b"tk").uint(OBSERVE) is None
    assert coap.peer().ask(PUT, where, b"1").is_success
    assert told(two).payload == b"1"
    one.expect_silence()


@statement("RFC 7641", "RFC7641-4.2-3")
def test_a_notification_that_is_an_error_is_the_last(coap: CoapServer, where: str) -> None:
    """Ours tells of a resource that was deleted with 4.04, or with an empty state; after an error nothing comes."""
    peer, other = coap.peer(), coap.peer()
    assert peer.ask(GET, where, b"", REGISTER).uint(OBSERVE) is not None
    assert other.ask(DELETE, where).is_success
    found = told(peer)
    if not found.is_success:
        assert found.uint(OBSERVE) is None
        assert other.ask(PUT, where, b"again").is_success
        peer.expect_silence()


@statement("RFC 7641", "RFC7641-4.2-4")
@needs_lockgate
def test_a_change_of_format_ends_the_observation(coap: CoapServer) -> None:
    peer, other, where = coap.peer(), coap.peer(), coap.resource()
    assert other.ask(PUT, where, b"{}", (CONTENT_FORMAT, uint(50))).is_success
    assert peer.ask(GET, where, b"", REGISTER).uint(CONTENT_FORMAT) == 50
    assert other.ask(PUT, where, b"text", (CONTENT_FORMAT, b"")).is_success
    found = told(peer)
    assert (found.code, found.uint(OBSERVE)) == (NOT_ACCEPTABLE, None)
    assert other.ask(PUT, where, b"{}", (CONTENT_FORMAT, uint(50))).is_success
    peer.expect_silence()


@statement("RFC 7641", "RFC7641-4.3.1-1")
@needs_lockgate
def test_a_notification_says_how_long_it_is_fresh(coap: CoapServer, where: str) -> None:
    peer = coap.peer()
    assert peer.ask(GET, where, b"", REGISTER).uint(OBSERVE) is not None
    assert coap.peer().ask(PUT, where, b"1", (MAX_AGE, uint(500))).is_success
    assert 490 <= (told(peer).uint(MAX_AGE) or 0) <= 500


@statement("RFC 7641", "RFC7641-4.3.2-1")
@needs_lockgate
def test_the_etag_of_a_notification_is_that_of_the_state(coap: CoapServer, where: str) -> None:
    peer = coap.peer()
    assert peer.ask(GET, where, b"", REGISTER).uint(OBSERVE) is not None
    assert coap.peer().ask(PUT, where, b"1").is_success
    tag = told(peer).value(ETAG)
    assert tag is not None
    assert coap.peer().ask(GET, where, b"", (ETAG, tag)).code == VALID


@statement("RFC 7641", "RFC7641-4.4-1", "RFC7641-4.4-2")
def test_sequence_numbers_grow(coap: CoapServer, where: str) -> None:
    peer, other = coap.peer(), coap.peer()
    last = peer.ask(GET, where, b"", REGISTER).uint(OBSERVE)
    assert last is not None
    for number in range(8):
        assert other.ask(PUT, where, str(number).encode()).is_success
        found = told(peer)
        now = found.uint(OBSERVE)
        assert found.payload == str(number).encode()
        assert now is not None
        assert 0 < (now - last) % (1 << 24) < 1 << 23
        last = now


@statement("RFC 7641", "RFC7641-4.5-1")
def test_a_reset_ends_the_observation(coap: CoapServer, where: str) -> None:
    peer, other = coap.peer(), coap.peer()
    assert peer.ask(GET, where, b"", REGISTER).uint(OBSERVE) is not None
    assert other.ask(PUT, where, b"1").is_success
    peer.reset(peer.receive())
    assert other.ask(PUT, where, b"2").is_success
    peer.expect_silence()


@statement("RFC 7641", "RFC7641-4.5-1")
@needs_lockgate
def test_a_reset_to_a_nonconfirmable_notification_ends_the_observation_too(coap: CoapServer, where: str) -> None:
    peer, other = coap.peer(), coap.peer()
    assert peer.ask(GET, where, b"", REGISTER, kind=NON).uint(OBSERVE) is not None
    assert other.ask(PUT, where, b"1").is_success
    found = peer.receive()
    assert found.type == NON
    peer.reset(found)
    peer.expect_silence(0.1)
    assert other.ask(PUT, where, b"2").is_success
    peer.expect_silence()


@statement("RFC 7641", "RFC7641-4.5-3")
@needs_lockgate
def test_a_notification_of_what_is_observed_reliably_is_confirmable(coap: CoapServer, where: str) -> None:
    """The bound of 24 hours for those that are not is tested with a clock in hand, in tests/playbook."""
    peer = coap.peer()
    assert peer.ask(GET, where, b"", REGISTER).uint(OBSERVE) is not None
    assert coap.peer().ask(PUT, where, b"1").is_success
    assert told(peer).type == CON


@statement("RFC 7641", "RFC7641-4.5-4")
def test_a_notification_that_was_acknowledged_is_not_sent_again(coap: CoapServer, where: str) -> None:
    peer = coap.peer()
    assert peer.ask(GET, where, b"", REGISTER).uint(OBSERVE) is not None
    assert coap.peer().ask(PUT, where, b"1").is_success
    told(peer)
    peer.expect_silence(2.5)
