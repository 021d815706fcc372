"""RFC 7252 sections 5 to 11: requests and responses, options, discovery, multicast, security."""

from __future__ import annotations

import socket

import pytest

from tests.conformance.coap import (
    ACCEPT,
    BAD_OPTION,
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CONTENT_FORMAT,
    CREATED,
    DELETE,
    DELETED,
    ECHO,
    ETAG,
    FORBIDDEN,
    GET,
    IF_MATCH,
    IF_NONE_MATCH,
    MAX_AGE,
    NON,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    POST,
    PRECONDITION_FAILED,
    PROXY_SCHEME,
    PROXY_URI,
    PROXYING_NOT_SUPPORTED,
    PUT,
    SIZE1,
    TOO_LARGE,
    UNAUTHORIZED,
    URI_HOST,
    URI_PATH,
    URI_PORT,
    URI_QUERY,
    VALID,
    CoapServer,
    Message,
    block,
    encode,
    path,
    uint,
)  # fmt: skip
from tests.conformance.marks import needs_lockgate, statement

LINK_FORMAT = 40


@statement("RFC 7252", "RFC7252-5.4.1-1")
@pytest.mark.parametrize("number", [2048, 65000])
def test_an_unknown_elective_option_is_ignored(coap: CoapServer, number: int) -> None:
    assert coap.peer().ask(GET, ".well-known/core", b"", (number, b"whatever")).code == CONTENT


@statement("RFC 7252", "RFC7252-5.4.1-2", "RFC7252-5.4.1-3", "RFC7252-5.9.2-1", "RFC7252-5.5.2-1")
@pytest.mark.parametrize("number", [9, 9999, 65001])
def test_an_unknown_critical_option_is_refused_and_named(coap: CoapServer, number: int) -> None:
    found = coap.peer().ask(GET, ".well-known/core", b"", (number, b"whatever"))
    assert found.code == BAD_OPTION
    assert found.payload.decode()
    if coap.is_ours:
        assert str(number) in found.payload.decode()


@statement("RFC 7252", "RFC7252-5.4.3-1")
@pytest.mark.parametrize(("number", "value"), [(IF_NONE_MATCH, b"x"), (ACCEPT, b"\0\0\x32"), (URI_PORT, b"\0\x16\x33")])
def test_a_critical_option_of_a_wrong_length_is_as_an_unknown_one(coap: CoapServer, number: int, value: bytes) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(GET, where, b"", (number, value)).code == BAD_OPTION


@statement("RFC 7252", "RFC7252-5.4.3-1")
@pytest.mark.parametrize(("number", "value"), [(ETAG, b""), (ETAG, b"123456789"), (MAX_AGE, b"12345")])
def test_an_elective_option_of_a_wrong_length_is_ignored(coap: CoapServer, number: int, value: bytes) -> None:
    assert coap.peer().ask(GET, ".well-known/core", b"", (number, value)).code == CONTENT


@statement("RFC 7252", "RFC7252-5.4.5-1")
@pytest.mark.parametrize("option", [(ACCEPT, uint(LINK_FORMAT)), (URI_HOST, b"localhost")])
def test_a_critical_option_too_many_is_as_an_unknown_one(coap: CoapServer, option: tuple[int, bytes]) -> None:
    assert coap.peer().ask(GET, ".well-known/core", b"", option, option).code == BAD_OPTION


@statement("RFC 7252", "RFC7252-5.8.1-1", "RFC7252-5.8.3-1", "RFC7252-5.8.3-2", "RFC7252-5.9.1.5-1", "RFC7252-5.8.3-4")
def test_put_creates_changes_and_may_be_repeated_and_get_changes_nothing(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1").code == CREATED
    for _ in range(2):
        assert peer.ask(PUT, where, b"2").code == CHANGED
        found = peer.ask(GET, where)
        assert (found.code, found.payload) == (CONTENT, b"2")


@statement("RFC 7252", "RFC7252-5.8.3-3", "RFC7252-5.5.2-2")
def test_a_put_that_cannot_be_is_an_error(coap: CoapServer) -> None:
    found = coap.peer().ask(PUT, ".well-known/core", b"mine")
    assert found.code >> 5 in (4, 5)
    found.payload.decode()


@statement("RFC 7252", "RFC7252-5.8.2-1")
def test_post_is_answered_as_what_it_did(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1").is_success
    found = peer.ask(POST, where, b"2")
    assert found.code in ((CREATED, CHANGED, DELETED) if coap.is_ours else (CREATED, CHANGED, DELETED, 0x85))


@statement("RFC 7252", "RFC7252-5.8.4-1")
def test_delete_is_answered_alike_whether_or_not_there_was_something(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1").is_success
    assert peer.ask(DELETE, where).code == DELETED
    assert peer.ask(GET, where).code == NOT_FOUND
    assert peer.ask(DELETE, where).code == DELETED


@statement("RFC 7252", "RFC7252-5.6.2-1", "RFC7252-5.9.1.3-1", "RFC7252-5.10.6.1-1", "RFC7252-5.9.1.5-1")
@needs_lockgate
def test_who_has_the_present_representation_is_told_so(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1").is_success
    tag = peer.ask(GET, where).value(ETAG)
    assert tag is not None
    assert 1 <= len(tag) <= 8
    found = peer.ask(GET, where, b"", (ETAG, b"another"), (ETAG, tag))
    assert (found.code, found.value(ETAG), found.payload) == (VALID, tag, b"")
    assert peer.ask(PUT, where, b"2").is_success
    found = peer.ask(GET, where, b"", (ETAG, tag))
    assert (found.code, found.payload) == (CONTENT, b"2")
    assert found.value(ETAG) != tag


@statement("RFC 7252", "RFC7252-5.6.1-1", "RFC7252-5.6.1-2")
@needs_lockgate
def test_max_age_tells_how_long_an_answer_is_fresh(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1", (MAX_AGE, uint(3000))).is_success
    assert 2900 <= (peer.ask(GET, where).uint(MAX_AGE) or 0) <= 3000


@statement("RFC 7252", "RFC7252-5.9.2.9-1")
@needs_lockgate
def test_a_body_that_is_too_large_is_refused_with_what_is_taken(coap: CoapServer) -> None:
    found = coap.peer().ask(PUT, coap.resource(), b"x" * 64, (27, block(0, True, 64)), (SIZE1, uint(1 << 31)))
    assert found.code == TOO_LARGE
    assert (found.uint(SIZE1) or 0) > 1024


@statement("RFC 7252", "RFC7252-5.9.3.4-1")
def test_a_server_that_cannot_at_the_moment_says_when(coap: CoapServer) -> None:
    """Nothing here makes a server unable; where it is, it must say so. The playbooks bring ours into that state."""
    found = coap.peer().ask(GET, ".well-known/core")
    assert found.code != 0xA3 or found.uint(MAX_AGE) is not None


@statement("RFC 7252", "RFC7252-5.10.1-1")
def test_each_segment_of_the_path_stands_for_itself(coap: CoapServer) -> None:
    peer, first = coap.peer(), coap.resource()
    name = first.rpartition("/")[2]
    spellings = [path(first) + path("a/b"), (*path(first), (URI_PATH, b"a%2Fb"))]
    for number, where in enumerate(spellings):
        assert peer.ask(PUT, where, str(number).encode()).code == CREATED, name
    for number, where in enumerate(spellings):
        assert peer.ask(GET, where).payload == str(number).encode()


@statement("RFC 7252", "RFC7252-5.10.1-2")
@pytest.mark.parametrize("dots", [b".", b".."])
def test_dots_lead_nowhere(coap: CoapServer, dots: bytes) -> None:
    peer, first = coap.peer(), coap.resource()
    assert peer.ask(PUT, first, b"mine").is_success
    found = peer.ask(GET, (*path(first), (URI_PATH, b"x"), (URI_PATH, dots)))
    assert found.payload != b"mine"
    assert found.code in (BAD_OPTION, BAD_REQUEST, NOT_FOUND, FORBIDDEN)


@statement("RFC 7252", "RFC7252-5.10.1-3")
def test_the_name_of_the_server_itself_changes_nothing(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1").is_success
    found = peer.ask(GET, where, b"", (URI_HOST, b"localhost"), (URI_PORT, uint(coap.port)))
    assert (found.code, found.payload) == (CONTENT, b"1")


@statement("RFC 7252", "RFC7252-5.10.2-1", "RFC7252-5.10.2-2")
@pytest.mark.parametrize(
    "options", [((PROXY_URI, b"coap://192.0.2.1/x"),), ((URI_HOST, b"192.0.2.1"), (PROXY_SCHEME, b"coap"))]
)
def test_nothing_is_forwarded(coap: CoapServer, options: tuple[tuple[int, bytes], ...]) -> None:
    assert coap.peer().ask(GET, "", b"", *options).code == PROXYING_NOT_SUPPORTED


@statement("RFC 7252", "RFC7252-5.10.4-1")
@needs_lockgate
def test_a_format_that_is_not_to_be_had_is_not_acceptable(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"{}", (CONTENT_FORMAT, uint(50))).is_success
    assert peer.ask(GET, where, b"", (ACCEPT, uint(50))).code == CONTENT
    assert peer.ask(GET, where, b"", (ACCEPT, uint(60))).code == NOT_ACCEPTABLE


@statement("RFC 7252", "RFC7252-5.10.8.1-1", "RFC7252-5.10.8.1-2", "RFC7252-5.10.8.1-3")
@needs_lockgate
def test_if_match_guards_what_somebody_else_has_changed(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1", (IF_MATCH, b"")).code == PRECONDITION_FAILED
    assert peer.ask(GET, where).code == NOT_FOUND
    assert peer.ask(PUT, where, b"1").code == CREATED
    tag = peer.ask(GET, where).value(ETAG)
    assert tag is not None
    assert peer.ask(PUT, where, b"2", (IF_MATCH, b"another")).code == PRECONDITION_FAILED
    assert peer.ask(GET, where).payload == b"1"
    assert peer.ask(PUT, where, b"3", (IF_MATCH, b"another"), (IF_MATCH, tag)).code == CHANGED
    assert peer.ask(PUT, where, b"4", (IF_MATCH, b"")).code == CHANGED
    assert peer.ask(DELETE, where, b"", (IF_MATCH, tag)).code == PRECONDITION_FAILED
    assert peer.ask(GET, where).payload == b"4"


@statement("RFC 7252", "RFC7252-5.10.8.2-1", "RFC7252-5.10.8.2-2")
@needs_lockgate
def test_if_none_match_never_overwrites(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1", (IF_NONE_MATCH, b"")).code == CREATED
    assert peer.ask(PUT, where, b"2", (IF_NONE_MATCH, b"")).code == PRECONDITION_FAILED
    assert peer.ask(GET, where).payload == b"1"


@statement("RFC 7252", "RFC7252-7.1-1", "RFC7252-7.2-1")
def test_discovery_answers_in_link_format(coap: CoapServer) -> None:
    found = coap.peer().ask(GET, ".well-known/core", b"", (ACCEPT, uint(LINK_FORMAT)))
    assert (found.code, found.uint(CONTENT_FORMAT)) == (CONTENT, LINK_FORMAT)
    assert found.payload.startswith(b"<")


@statement("RFC 7252", "RFC7252-7.2-2")
def test_discovery_can_be_filtered(coap: CoapServer) -> None:
    peer, where = coap.peer(), coap.resource()
    assert peer.ask(PUT, where, b"1").is_success
    found = peer.ask(GET, ".well-known/core", b"", (URI_QUERY, f"href=/{where}".encode()))
    links = found.payload.decode().split(",<")
    assert len(links) == 1
    assert f"</{where}>" in f"<{links[0].removeprefix('<')}"
    prefix = where[:-2]
    found = peer.ask(GET, ".well-known/core", b"", (URI_QUERY, f"href=/{prefix}*".encode()))
    assert f"</{where}>".encode() in found.payload
    found = peer.ask(GET, ".well-known/core", b"", (URI_QUERY, b"rt=nobody-has-this"))
    assert found.payload == b""


# Multicast: only our own hub listens to the groups here, on the loopback interface.


@statement("RFC 7252", "RFC7252-8.1-1", "RFC7252-8.1-2", "RFC7252-8.2-1", "RFC7252-8.2-2")
@needs_lockgate
def test_multicast_is_answered_late_without_errors_and_only_if_there_is_something_to_say(coap: CoapServer) -> None:
    if not coap.is_ours:
        pytest.skip("needs our own hub")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        group = ("224.0.1.187", coap.port)
        silent = [
            Message(0, GET, 1, b"c", path(".well-known/core")),  # Confirmable
            Message(0, 0, 2),  # a ping
            Message(NON, GET, 3, b"d", path("no/such/thing")),
            Message(NON, GET, 4, b"e", ((9999, b""), *path(".well-known/core"))),
            Message(NON, GET, 5, b"f", (*path(".well-known/core"), (URI_QUERY, b"rt=nobody-has-this"))),
            Message(NON, 0xE1, 6, b"g"),
        ]
        for message in silent:
            asking.sendto(encode(message), group)
        asking.settimeout(6.0)
        asking.sendto(encode(Message(NON, GET, 7, b"h", path(".well-known/core"))), group)
        data, sender = asking.recvfrom(2048)
        assert data[1] == CONTENT
        assert data[4:5] == b"h"
        assert data[0] >> 4 & 3 == NON
        assert sender[0] != group[0]
        asking.settimeout(5.5)
        with pytest.raises(TimeoutError):
            asking.recvfrom(2048)


@statement("RFC 7252", "RFC7252-11.3-1")
@statement("RFC 7641", "RFC7641-7-1")
@needs_lockgate
def test_an_address_that_has_proven_nothing_is_sent_little(coap: CoapServer) -> None:
    owner, where = coap.peer(), coap.resource()
    assert owner.ask(PUT, where, b"x" * 1000).is_success
    stranger = coap.peer(is_proven=False)
    for options in ((), ((6, b""),)):
        request = stranger.request(GET, where, b"", *options)
        found = stranger.receive()
        assert found.code == UNAUTHORIZED
        assert found.value(ECHO)
        assert len(encode(found)) <= 3 * len(encode(request))
    assert owner.ask(PUT, where, b"changed").is_success
    stranger.expect_silence()
