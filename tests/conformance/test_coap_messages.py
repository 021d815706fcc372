"""RFC 7252 sections 3 and 4: how a message is written, and how it is transmitted."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tests.conformance.coap import (
    ACK,
    BAD_OPTION,
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    CREATED,
    EMPTY,
    GET,
    NON,
    NOT_FOUND,
    OBSERVE,
    PUT,
    RST,
    CoapServer,
    Message,
    Peer,
    encode,
    path,
    uint,
)  # fmt: skip
from tests.conformance.marks import needs_lockgate, statement

TOLERANCE = 0.25
"""Seconds by which the server's timers and ours may differ."""


@statement("RFC 7252", "RFC7252-3-2", "RFC7252-3-1")
@pytest.mark.parametrize("version", [0, 2, 3])
def test_a_message_of_another_version_is_ignored_in_silence(coap: CoapServer, version: int) -> None:
    peer = coap.peer()
    data = bytearray(encode(Message(CON, GET, peer.mid(), b"tk", path(".well-known/core"))))
    data[0] = data[0] & 0x3F | version << 6
    peer.send_raw(bytes(data))
    peer.expect_silence()
    assert peer.ping().type == RST


@statement("RFC 7252", "RFC7252-3-4", "RFC7252-4.2-4")
@pytest.mark.parametrize("length", range(9, 16))
def test_a_token_length_above_8_is_a_format_error(coap: CoapServer, length: int) -> None:
    peer = coap.peer()
    mid = peer.mid()
    peer.send_raw(bytes([0x40 | length, GET]) + mid.to_bytes(2, "big") + bytes(length) + b"\xbb.well-known\x04core")
    expect_rejected(peer, mid)


@statement("RFC 7252", "RFC7252-3-5", "RFC7252-4.2-4")
def test_a_payload_marker_with_nothing_behind_it_is_a_format_error(coap: CoapServer) -> None:
    peer = coap.peer()
    request = Message(CON, PUT, peer.mid(), b"tk", path(coap.resource()))
    peer.send_raw(encode(request) + b"\xff")
    expect_rejected(peer, request.mid)


@statement("RFC 7252", "RFC7252-3.1-1", "RFC7252-4.2-4")
def test_an_option_delta_of_15_is_a_format_error(coap: CoapServer) -> None:
    expect_malformed(coap.peer(), b"\xf1x")


@statement("RFC 7252", "RFC7252-3.1-2", "RFC7252-4.2-4")
def test_an_option_length_of_15_is_a_format_error(coap: CoapServer) -> None:
    expect_malformed(coap.peer(), b"\xbfxxxxxxxxxxxxxxxx")


@statement("RFC 7252", "RFC7252-3.1-3", "RFC7252-4.2-4")
@pytest.mark.parametrize("tail", [b"\xb5ab", b"\xbd", b"\xbe\x01", b"\xd0", b"\xe0\x01", b"\xbd\x20ab"])
def test_an_option_beyond_the_end_is_a_format_error(coap: CoapServer, tail: bytes) -> None:
    expect_malformed(coap.peer(), tail)


def expect_malformed(peer: Peer, options: bytes) -> None:
    """See that a Confirmable GET with these options is rejected."""
    mid = peer.mid()
    peer.send_raw(bytes([0x42, GET]) + mid.to_bytes(2, "big") + b"tk" + options)
    expect_rejected(peer, mid)


def expect_rejected(peer: Peer, mid: int) -> None:
    """See a Reset, alone and empty."""
    found = peer.receive()
    assert (found.type, found.code, found.mid, found.token) == (RST, EMPTY, mid, b"")
    peer.expect_silence()


@statement("RFC 7252", "RFC7252-3.2-2")
def test_leading_zeros_of_an_integer_mean_nothing(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1", (CONTENT_FORMAT, b"\0\x32" if coap.is_ours else b"\x32")).is_success
    assert peer.ask(GET, where).uint(CONTENT_FORMAT) == 50


@statement("RFC 7252", "RFC7252-3.2-1", "RFC7252-5.10.3-1")
@pytest.mark.parametrize("number", [0, 40, 50, 60])
def test_integers_come_in_as_few_bytes_as_they_need(coap: CoapServer, number: int) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"[]", (CONTENT_FORMAT, uint(number))).is_success
    assert peer.ask(GET, where).uint(CONTENT_FORMAT) == number


@statement("RFC 7252", "RFC7252-4.1-1", "RFC7252-4.2-4")
@pytest.mark.parametrize("tail", [b"x", b"\xff", b"\xb1a"])
def test_an_empty_message_that_goes_on_is_a_format_error(coap: CoapServer, tail: bytes) -> None:
    peer = coap.peer()
    mid = peer.mid()
    peer.send_raw(b"\x40\0" + mid.to_bytes(2, "big") + tail)
    expect_rejected(peer, mid)


@statement("RFC 7252", "RFC7252-4.2-1", "RFC7252-4.2-5", "RFC7252-5.2.1-1", "RFC7252-5.3.2-2")
def test_a_confirmable_request_is_acknowledged_with_its_response(coap: CoapServer) -> None:
    peer = coap.peer()
    for where, wanted in ((".well-known/core", CONTENT), (coap.resource(), NOT_FOUND)):
        request = peer.request(GET, where)
        found = peer.receive()
        assert (found.type, found.mid, found.token, found.code) == (ACK, request.mid, request.token, wanted)


@statement("RFC 7252", "RFC7252-4.2-2", "RFC7252-4.2-6")
def test_a_ping_is_answered_with_a_reset(coap: CoapServer) -> None:
    peer = coap.peer()
    assert peer.ping().token == b""


@statement("RFC 7252", "RFC7252-4.2-3")
@pytest.mark.parametrize("first", [1, 6, 7])
def test_a_code_of_a_reserved_class_is_rejected(coap: CoapServer, first: int) -> None:
    peer = coap.peer()
    sent = peer.send(Message(CON, first << 5 | 1, peer.mid(), b"tk", path(".well-known/core")))
    expect_rejected(peer, sent.mid)


@statement("RFC 7252", "RFC7252-4.2-7")
@pytest.mark.parametrize("kind", [ACK, RST])
@pytest.mark.parametrize("found", [EMPTY, GET, CONTENT, 0x21, 0xE1])
def test_an_acknowledgement_or_a_reset_is_never_answered(coap: CoapServer, kind: int, found: int) -> None:
    peer = coap.peer()
    if found == EMPTY:
        peer.send(Message(kind, EMPTY, peer.mid()))
        peer.send_raw(bytes([0x40 | kind << 4, EMPTY]) + peer.mid().to_bytes(2, "big") + b"more")
    else:
        peer.send(Message(kind, found, peer.mid(), b"tk", path(".well-known/core")))
    peer.expect_silence()
    assert peer.ping().type == RST


@statement("RFC 7252", "RFC7252-4.2-8", "RFC7252-4.2-9", "RFC7252-4.2-10", "RFC7252-4.8-1", "RFC7252-4.8-2")
@statement("RFC 7641", "RFC7641-4.5-2")
@needs_lockgate
def test_a_notification_nobody_acknowledges_is_sent_again_at_doubling_intervals_and_then_no_more(
    coap: CoapServer,
) -> None:
    """Our hub is started with ACK_TIMEOUT 1 s and MAX_RETRANSMIT 2 for this."""
    peer, other, where = coap.peer(), coap.peer(), coap.resource()
    assert other.ask(PUT, where, b"1").code == CREATED
    assert peer.ask(GET, where, b"", (OBSERVE, b"")).uint(OBSERVE) is not None
    assert other.ask(PUT, where, b"2").code == CHANGED
    first = peer.receive()
    times, copies = [time.monotonic()], [first]
    while (again := peer.next(9.0)) is not None:
        times.append(time.monotonic())
        copies.append(again)
    assert copies == [first] * 3
    waits = [after - before for before, after in pairwise(times)]
    assert 1.0 - TOLERANCE <= waits[0] <= 1.5 + TOLERANCE
    assert abs(waits[1] - 2 * waits[0]) <= 2 * TOLERANCE
    assert other.ask(PUT, where, b"3").code == CHANGED
    peer.expect_silence()  # the observation ended with the message that was given up


@statement("RFC 7252", "RFC7252-4.2-10")
@statement("RFC 7641", "RFC7641-4.5-1")
def test_after_a_reset_nothing_is_sent_again(coap: CoapServer) -> None:
    peer, other, where = coap.peer(), coap.peer(), coap.resource()
    assert other.ask(PUT, where, b"1").is_success
    assert peer.ask(GET, where, b"", (OBSERVE, b"")).uint(OBSERVE) is not None
    assert other.ask(PUT, where, b"2").is_success
    peer.reset(peer.receive())
    peer.expect_silence(2.0)
    assert other.ask(PUT, where, b"3").is_success
    peer.expect_silence()


@statement("RFC 7252", "RFC7252-4.3-2", "RFC7252-5.2.3-1", "RFC7252-4.3-1")
def test_a_nonconfirmable_request_is_answered_alike_and_not_acknowledged(coap: CoapServer) -> None:
    peer = coap.peer()
    request = peer.request(GET, ".well-known/core", kind=NON)
    found = peer.receive()
    assert (found.type, found.code, found.token) == (NON, CONTENT, request.token)
    peer.expect_silence()


@statement("RFC 7252", "RFC7252-4.3-3")
@pytest.mark.parametrize(
    "data", [b"\x50\x00\x12\x34", b"\x52\xe1\x12\x35tk", b"\x59\x01\x12\x36", b"\x52\x01\x12\x37tk\xff"]
)
def test_a_nonconfirmable_message_that_makes_no_sense_is_rejected_at_most(coap: CoapServer, data: bytes) -> None:
    peer = coap.peer()
    peer.send_raw(data)
    found = peer.next(0.4)
    assert found is None or (found.type, found.code, found.mid) == (RST, EMPTY, int.from_bytes(data[2:4], "big"))
    peer.expect_silence()


@statement("RFC 7252", "RFC7252-4.4-1")
def test_message_ids_of_the_server_are_not_used_again_soon(coap: CoapServer) -> None:
    peer = coap.peer()
    seen = []
    for _ in range(40):
        peer.request(GET, ".well-known/core", kind=NON)
        seen.append(peer.receive().mid)
    assert len(set(seen)) == len(seen)


@statement("RFC 7252", "RFC7252-4.4-2")
def test_an_acknowledgement_of_somebody_else_counts_for_nothing(coap: CoapServer) -> None:
    peer, other, third, where = coap.peer(), coap.peer(), coap.peer(), coap.resource()
    assert other.ask(PUT, where, b"1").is_success
    assert peer.ask(GET, where, b"", (OBSERVE, b"")).uint(OBSERVE) is not None
    assert other.ask(PUT, where, b"2").is_success
    told = peer.receive()
    if told.type == NON:  # some servers tell without asking for an answer
        return
    third.acknowledge(told)
    assert peer.receive() == told
    peer.acknowledge(told)
    peer.expect_silence(2.0)


@statement("RFC 7252", "RFC7252-4.5-1", "RFC7252-4.5-2")
def test_a_repeated_confirmable_request_is_answered_alike_and_done_once(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    request = peer.request(PUT, where, b"1")
    first = peer.receive()
    assert first.code == CREATED
    peer.send(request)
    assert peer.receive() == first  # had it been done twice, it would be 2.04
    peer.expect_silence()


@statement("RFC 7252", "RFC7252-4.5-3")
def test_a_repeated_nonconfirmable_request_is_done_once(coap: CoapServer) -> None:
    peer, watcher, where = coap.peer(), coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"0").is_success
    assert watcher.ask(GET, where, b"", (OBSERVE, b"")).uint(OBSERVE) is not None
    request = peer.request(PUT, where, b"1", kind=NON)
    assert peer.receive().is_success
    peer.send(request)
    told = watcher.receive()
    assert told.payload == b"1"
    if told.type == CON:
        watcher.acknowledge(told)
    watcher.expect_silence()
    found = peer.next(0.3)
    assert found is None or found.is_success


@statement("RFC 7252", "RFC7252-4.5-4")
def test_the_same_message_id_of_another_endpoint_is_another_message(coap: CoapServer) -> None:
    one, two, where = coap.peer(), coap.peer(), coap.resource()
    assert one.ask(PUT, where, b"1").code == CREATED
    sent = Message(CON, PUT, 0x4711, b"tk", path(where), b"2")
    for peer in (one, two):
        peer.send(sent)
        assert peer.receive().code == CHANGED


@statement("RFC 7252", "RFC7252-4.6-1")
def test_no_datagram_is_larger_than_1152_bytes(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    for number in range(4):
        more = number < 3
        value = uint(number << 4 | more << 3 | 6)
        assert peer.ask(PUT, where, b"x" * 1024, (27, value)).code < 0x60
    found = peer.ask(GET, where)
    assert found.code == CONTENT
    assert len(found.payload) <= 1024
    assert len(encode(found)) <= 1152


@statement("RFC 7252", "RFC7252-4.7-1")
@statement("RFC 7641", "RFC7641-4.5.1-1", "RFC7641-4.5.1-2", "RFC7641-4.5-4")
def test_one_notification_waits_for_its_acknowledgement_before_the_next(coap: CoapServer) -> None:
    peer, other, where = coap.peer(), coap.peer(), coap.resource()
    assert other.ask(PUT, where, b"0").is_success
    assert peer.ask(GET, where, b"", (OBSERVE, b"")).uint(OBSERVE) is not None
    for number in range(1, 4):
        assert other.ask(PUT, where, str(number).encode()).is_success
    outstanding: set[int] = set()
    last = b""
    while (told := peer.next(1.5)) is not None:
        last = told.payload
        if told.type != CON:
            continue
        outstanding.add(told.mid)
        assert len(outstanding) == 1, "two Confirmable messages at once"
        peer.acknowledge(told)
        outstanding.clear()
    assert last == b"3"


@statement("RFC 7252", "RFC7252-4.7-2")
@needs_lockgate
def test_who_acknowledges_nothing_is_sent_little(coap: CoapServer) -> None:
    peer, other, where = coap.peer(), coap.peer(), coap.resource()
    assert other.ask(PUT, where, b"0").is_success
    assert peer.ask(GET, where, b"", (OBSERVE, b"")).uint(OBSERVE) is not None
    for number in range(20):
        assert other.ask(PUT, where, str(number).encode()).is_success
    count = 0
    while peer.next(1.0) is not None:
        count += 1
    assert count <= 3, "MAX_RETRANSMIT is 2 here: one message and its copies"


@statement("RFC 7252", "RFC7252-3-3", "RFC7252-5.3.1-1", "RFC7252-5.3.1-2")
@pytest.mark.parametrize("length", range(9))
def test_the_token_comes_back_as_it_was(coap: CoapServer, length: int) -> None:
    peer = coap.peer()
    token = bytes(range(0xFF, 0xFF - length, -1))
    assert peer.ask(GET, ".well-known/core", token=token).token == token


@statement("RFC 7252", "RFC7252-5.3.2-1")
def test_the_answer_comes_from_where_the_request_went(coap: CoapServer) -> None:
    """The peer's socket is connected: the kernel hands it nothing from elsewhere."""
    assert coap.peer().ask(GET, ".well-known/core").is_success


@statement("RFC 7252", "RFC7252-5.4.1-5")
@needs_lockgate
def test_a_response_nobody_asked_for_is_rejected(coap: CoapServer) -> None:
    peer = coap.peer()
    sent = peer.send(Message(CON, CONTENT, peer.mid(), b"none", ((9999, b"critical"),), b"x"))
    expect_rejected(peer, sent.mid)


@statement("RFC 7252", "RFC7252-5.8-1")
@pytest.mark.parametrize("method", [8, 12, 30, 31])
def test_an_unknown_method_is_not_allowed(coap: CoapServer, method: int) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1").is_success
    request = peer.request(method, where)
    found = peer.receive()
    assert (found.type, found.mid, found.code) == (ACK, request.mid, 0x85)


@statement("RFC 7252", "RFC7252-5.4.1-4")
def test_an_unknown_critical_option_makes_a_nonconfirmable_request_rejected(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    peer.request(PUT, where, b"1", (9999, b"?"), kind=NON)
    found = peer.next(0.4)
    assert found is None or found.type == RST or found.code == BAD_OPTION
    assert peer.ask(GET, where).code == NOT_FOUND


@statement("RFC 7252", "RFC7252-5.2.2-1", "RFC7252-5.2.2-2")
def test_a_separate_response_is_a_message_of_its_own_and_goes_until_it_is_acknowledged(
    separate: tuple[CoapServer, str],
) -> None:
    server, where = separate
    peer = server.peer()
    request = peer.request(PUT if server.is_ours else GET, where, b"1" if server.is_ours else b"")
    first = peer.receive()
    assert (first.type, first.code, first.mid, first.token) == (ACK, EMPTY, request.mid, b"")
    response = peer.receive()
    assert response.type == CON
    assert response.token == request.token
    assert response.is_success
    peer.send(request)  # the acknowledgement was lost, it thinks
    again = [peer.receive() for _ in range(2)]  # the empty acknowledgement, and the response, which nobody acknowledged
    assert (ACK, EMPTY, request.mid) in [(each.type, each.code, each.mid) for each in again]
    assert all(each.code == EMPTY or each == response for each in again)
    peer.acknowledge(response)
    peer.expect_silence(3.0)
