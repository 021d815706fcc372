"""RFC 7959: block-wise transfer, both ways."""

from __future__ import annotations

import pytest

from tests.conformance.coap import (
    BAD_OPTION,
    BAD_REQUEST,
    BLOCK1,
    BLOCK2,
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    CONTINUE,
    CREATED,
    ETAG,
    GET,
    INCOMPLETE,
    NOT_FOUND,
    OBSERVE,
    PUT,
    SIZE1,
    SIZE2,
    TOO_LARGE,
    CoapServer,
    Message,
    Peer,
    block,
    block_of,
    uint,
)  # fmt: skip
from tests.conformance.marks import needs_lockgate, statement

BODY = bytes(range(256)) * 24
"""Six kilobytes, of which no two blocks are alike in their place."""


def put(peer: Peer, where: str, body: bytes, size: int = 1024) -> Message:
    """Send a body in blocks; give the last answer."""
    count = -(-len(body) // size)
    for number in range(count):
        is_last = number == count - 1
        part = body[number * size : (number + 1) * size]
        found = peer.ask(PUT, where, part, (BLOCK1, block(number, not is_last, size)))
        if not is_last:
            assert found.code == CONTINUE, found
            assert block_of(found.value(BLOCK1))[:2] == (number, True)
    return found


def get(peer: Peer, where: str, size: int) -> tuple[bytes, set[bytes | None]]:
    """Fetch a body in blocks of `size`; give it, and the ETags that came with it."""
    body, tags, number = b"", set(), 0
    while True:
        found = peer.ask(GET, where, b"", (BLOCK2, block(number, False, size)))
        assert found.code == CONTENT
        tags.add(found.value(ETAG))
        had, more, got = block_of(found.value(BLOCK2))
        assert (had, got) == (number, size)
        assert len(found.payload) == size if more else len(found.payload) <= size
        body += found.payload
        if not more:
            return body, tags
        number += 1


@pytest.fixture
def large(coap: CoapServer) -> str:
    """A resource with a body of six kilobytes."""
    where = coap.resource()
    assert put(coap.peer(), where, BODY).code == CREATED
    return where


@statement("RFC 7959", "RFC7959-2.2-1")
@pytest.mark.parametrize("option", [BLOCK1, BLOCK2])
def test_a_block_size_exponent_of_7_is_a_bad_request(coap: CoapServer, option: int) -> None:
    found = coap.peer().ask(PUT if option == BLOCK1 else GET, coap.resource(), b"x" * 16, (option, b"\x07"))
    assert found.code in ((BAD_REQUEST,) if coap.is_ours else (BAD_REQUEST, BAD_OPTION))


@statement("RFC 7959", "RFC7959-2.2-2")
@needs_lockgate
def test_a_block_that_is_not_the_last_has_exactly_its_size(coap: CoapServer) -> None:
    found = coap.peer().ask(PUT, coap.resource(), b"x" * 63, (BLOCK1, block(0, True, 64)))
    assert found.code == BAD_REQUEST


@statement("RFC 7959", "RFC7959-2.3-1", "RFC7959-2.4-1", "RFC7959-2.4-2", "RFC7959-2.4-3")
@pytest.mark.parametrize("size", [64, 256, 1024])
def test_a_large_representation_comes_in_blocks_of_the_size_asked_for(coap: CoapServer, large: str, size: int) -> None:
    body, tags = get(coap.peer(), large, size)
    assert body == BODY
    assert len(tags) == 1


@statement("RFC 7959", "RFC7959-2.4-1")
def test_a_large_representation_comes_in_blocks_unasked(coap: CoapServer, large: str) -> None:
    found = coap.peer().ask(GET, large)
    number, more, size = block_of(found.value(BLOCK2))
    assert (number, more, len(found.payload)) == (0, True, size)


@statement("RFC 7959", "RFC7959-2.4-4")
def test_a_block_beyond_the_end_is_a_bad_request(coap: CoapServer, large: str) -> None:
    found = coap.peer().ask(GET, large, b"", (BLOCK2, block(100, False, 1024)))
    assert found.code == BAD_REQUEST


@statement("RFC 7959", "RFC7959-2.4-5")
def test_a_smaller_size_goes_on_at_the_same_place(coap: CoapServer, large: str) -> None:
    peer = coap.peer()
    assert peer.ask(GET, large, b"", (BLOCK2, block(0, False, 1024))).payload == BODY[:1024]
    found = peer.ask(GET, large, b"", (BLOCK2, block(4, False, 256)))
    assert found.payload == BODY[1024:1280]


@statement("RFC 7959", "RFC7959-2.5-1", "RFC7959-2.5-2", "RFC7959-2.5-7")
@pytest.mark.parametrize("size", [64, 1024])
def test_a_body_in_blocks_is_taken_when_it_is_whole(coap: CoapServer, size: int) -> None:
    peer, where = coap.peer(), coap.resource()
    body = BODY[:3000]
    found = peer.ask(PUT, where, body[:size], (BLOCK1, block(0, True, size)))
    assert found.code == CONTINUE
    assert coap.peer().ask(GET, where).code == NOT_FOUND
    found = put(peer, where, body, size)
    assert found.code == CREATED
    assert block_of(found.value(BLOCK1))[0] == (len(body) - 1) // size
    assert get(peer, where, 1024)[0] == body


@statement("RFC 7959", "RFC7959-2.5-3")
def test_a_block_without_those_before_it_is_incomplete(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"x" * 64, (BLOCK1, block(3, True, 64))).code == INCOMPLETE
    assert peer.ask(PUT, where, b"x" * 64, (BLOCK1, block(0, True, 64))).code == CONTINUE
    assert peer.ask(PUT, where, b"x" * 64, (BLOCK1, block(2, False, 64))).code == INCOMPLETE
    assert peer.ask(GET, where).code == NOT_FOUND


@statement("RFC 7959", "RFC7959-2.5-4")
def test_block_0_begins_anew(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    for number in range(2):
        assert peer.ask(PUT, where, b"old!" * 16, (BLOCK1, block(number, True, 64))).code == CONTINUE
    assert put(peer, where, BODY[:200], 64).code == CREATED
    assert peer.ask(GET, where).payload == BODY[:200]


@statement("RFC 7959", "RFC7959-2.5-5")
def test_the_answer_to_a_block_asks_for_no_larger_ones(coap: CoapServer) -> None:
    found = coap.peer().ask(PUT, coap.resource(), b"x" * 64, (BLOCK1, block(0, True, 64)))
    assert block_of(found.value(BLOCK1))[2] <= 64


@statement("RFC 7959", "RFC7959-2.5-6")
@needs_lockgate
def test_blocks_of_another_format_are_not_joined(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    first = peer.ask(PUT, where, b"x" * 64, (BLOCK1, block(0, True, 64)), (CONTENT_FORMAT, uint(50)))
    assert first.code == CONTINUE
    found = peer.ask(PUT, where, b"x" * 64, (BLOCK1, block(1, False, 64)), (CONTENT_FORMAT, uint(60)))
    assert found.code == INCOMPLETE


@statement("RFC 7959", "RFC7959-2.6-1")
def test_a_notification_of_a_large_state_holds_its_first_block(coap: CoapServer, large: str) -> None:
    peer = coap.peer()
    assert peer.ask(GET, large, b"", (OBSERVE, b"")).uint(OBSERVE) is not None
    changed = BODY[::-1]
    assert put(coap.peer(), large, changed).code == CHANGED
    told = peer.receive()
    if told.type == CON:
        peer.acknowledge(told)
    number, more, size = block_of(told.value(BLOCK2))
    assert (number, more, told.payload) == (0, True, changed[:size])
    body = told.payload
    while more:
        number += 1
        found = peer.ask(GET, large, b"", (BLOCK2, block(number, False, size)))
        body += found.payload
        assert found.value(ETAG) == told.value(ETAG)
        more = block_of(found.value(BLOCK2))[1]
    assert body == changed


@statement("RFC 7959", "RFC7959-2.7-1")
def test_what_was_sent_in_blocks_comes_back_in_blocks(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert put(peer, where, BODY, 256).code == CREATED
    assert get(peer, where, 512)[0] == BODY


@statement("RFC 7959", "RFC7959-2.9.3-1")
@needs_lockgate
def test_a_body_that_is_too_large_is_refused_at_once(coap: CoapServer) -> None:
    found = coap.peer().ask(PUT, coap.resource(), b"x" * 64, (BLOCK1, block(0, True, 64)), (SIZE1, uint(1 << 31)))
    assert found.code == TOO_LARGE


@statement("RFC 7959", "RFC7959-4-1")
def test_the_size_is_told_where_it_is_asked_for(coap: CoapServer, large: str) -> None:
    found = coap.peer().ask(GET, large, b"", (BLOCK2, block(0, False, 64)), (SIZE2, b""))
    assert found.uint(SIZE2) == len(BODY)
