"""What a request says, and what a message looks like as a representation."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap import mapping
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.wire import encode_uint
from lockgate.errors import (
    AuthenticationFailed,
    LockgateError,
    NotAuthorized,
    NotFound,
    ProofExpired,
    RateExceeded,
    ShutOut,
    TopicFilterInvalid,
    TopicNameInvalid,
)
from lockgate.model.message import Message, MessageProperties
from lockgate.model.topic import topic_name
from tests.support.fakes import principal

NOW = 1000.0


def request(
    *options: tuple[int, bytes], code: int = Code.GET, payload: bytes = b"", type: int = Type.CON
) -> CoapMessage:
    return CoapMessage(type, code, 1, b"t", tuple(sorted(options, key=lambda option: option[0])), payload)


def path(text: str) -> list[tuple[int, bytes]]:
    return [(int(OptionNumber.URI_PATH), level.encode()) for level in text.split("/")]


def message(topic: str = "a", payload: bytes = b"x", **words: object) -> Message:
    return Message(topic_name(topic), payload, 1, **words)  # type: ignore[arg-type]


@pytest.mark.parametrize("topic", ["a", "a/b", "/a", "a/", "a//b", "ü/ß", "$SYS/x"])
def test_the_segments_of_the_path_are_the_levels_of_the_topic(topic: str) -> None:
    assert mapping.name_of(mapping.said_by(request(*path(topic)))) == topic


def test_each_option_is_heard() -> None:
    said = mapping.said_by(
        request(
            (OptionNumber.IF_MATCH, b"1"), (OptionNumber.IF_MATCH, b"2"), (OptionNumber.ETAG, b"3"),
            (OptionNumber.ETAG, b"4"), (OptionNumber.IF_NONE_MATCH, b""), (OptionNumber.OBSERVE, b"\x01"),
            (OptionNumber.CONTENT_FORMAT, b"\x32"), (OptionNumber.MAX_AGE, b"\x01\x00"), (OptionNumber.ACCEPT, b""),
            (OptionNumber.URI_QUERY, b"filter=a/+"), (OptionNumber.URI_QUERY, b"retain=0"),
            (OptionNumber.URI_QUERY, b"x=y"), (OptionNumber.URI_HOST, b"hub"),
        )
    )  # fmt: skip
    assert (said.if_match, said.etags, said.if_none_match, said.observe) == ([b"1", b"2"], [b"3", b"4"], True, 1)
    assert (said.content_format, said.max_age, said.accept, said.retain) == (50, 256, 0, 0)
    assert (said.filter, said.queries, said.path) == ("a/+", ["x=y"], "")
    with pytest.raises(CoapError, match="unknown query 'x=y'"):
        mapping.check_queries(said)
    nothing = mapping.said_by(request())
    assert (nothing.observe, nothing.accept, nothing.retain, nothing.etags) == (-1, -1, -1, None)
    mapping.check_queries(nothing)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([(OptionNumber.URI_PATH, b"a/b")], TopicNameInvalid),
        ([(OptionNumber.URI_PATH, b"\xff")], CoapError),
        ([(OptionNumber.URI_QUERY, b"\xff")], CoapError),
    ],
)
def test_what_cannot_be_read_is_refused(options: list[tuple[int, bytes]], error: type[LockgateError]) -> None:
    with pytest.raises(error) as caught:
        mapping.said_by(request(*options))
    assert mapping.code_of(caught.value) == Code.BAD_REQUEST


def test_a_request_without_a_topic_says_what_is_missing() -> None:
    with pytest.raises(NotFound, match="names no topic"):
        mapping.name_of(mapping.said_by(request()))
    with pytest.raises(TopicNameInvalid):
        mapping.name_of(mapping.said_by(request(*path("a/+"))))


def test_a_filter_stands_alone_and_is_not_shared() -> None:
    def asked(text: bytes, *more: tuple[int, bytes]) -> mapping.Said:
        return mapping.said_by(request((OptionNumber.URI_QUERY, b"filter=" + text), *more))

    assert mapping.filter_of(asked(b"a/+")) == "a/+"
    assert mapping.filter_of(mapping.said_by(request(*path("a")))) == ""
    with pytest.raises(CoapError, match="beside a path"):
        mapping.filter_of(asked(b"a/+", *path("a")))
    for text in (b"$share/x/a", b"a+"):
        with pytest.raises(TopicFilterInvalid):
            mapping.filter_of(asked(text))


def test_a_put_becomes_a_message() -> None:
    said = request(
        *path("a/b"), (OptionNumber.CONTENT_FORMAT, b"\x32"), (OptionNumber.MAX_AGE, b"\x3c"),
        code=Code.PUT, payload=b"{}",
    )  # fmt: skip
    assert mapping.to_message(said, mapping.said_by(said), principal("lamp"), True, NOW) == Message(
        topic_name("a/b"), b"{}", 1, True, MessageProperties(content_type="application/json"), NOW + 60, "lamp"
    )
    bare = request(*path("a"), code=Code.POST, payload=b"1", type=Type.NON)
    found = mapping.to_message(bare, mapping.said_by(bare), principal("lamp"), False, NOW)
    assert found == Message(topic_name("a"), b"1", 0, publisher="lamp")
    assert (mapping.is_confirmable(said), mapping.is_confirmable(bare)) == (True, False)


@pytest.mark.parametrize("number", [0, 50, 60, 110, 65_000])
def test_content_formats_find_back(number: int) -> None:
    said = request(*path("a"), (OptionNumber.CONTENT_FORMAT, encode_uint(number)), code=Code.PUT, payload=b"x")
    assert mapping.format_of(mapping.to_message(said, mapping.said_by(said), principal("lamp"), True, NOW)) == number


@pytest.mark.parametrize(
    ("properties", "number"),
    [
        (None, -1),
        (MessageProperties(), -1),
        (MessageProperties(payload_is_text=True), 0),
        (MessageProperties(content_type="text/plain"), 0),
        (MessageProperties(content_type="Application/JSON"), 50),
        (MessageProperties(content_type="application/unheard-of"), -1),
        (MessageProperties(content_type=f"{mapping.UNREGISTERED}70000"), -1),
        (MessageProperties(content_type=f"{mapping.UNREGISTERED}x"), -1),
        (MessageProperties(content_type=f"{mapping.UNREGISTERED}"), -1),
    ],
)
def test_what_others_say_of_a_payload_becomes_its_format(properties: MessageProperties | None, number: int) -> None:
    assert mapping.format_of(message(properties=properties)) == number


def test_formats_without_a_name_do_not_pile_up() -> None:
    for number in range(3000):
        mapping._properties(number)
    assert len(mapping._PROPERTIES) <= mapping._MAX_FORMATS


def test_a_representation_has_its_options_in_their_order() -> None:
    shown = message("a/b", properties=MessageProperties(content_type="application/json"), expires_at=NOW + 61.9)
    options = mapping.representation(shown, NOW, observe=7, names_topic=True)
    numbers = [number for number, _ in options]
    assert numbers == sorted(numbers)
    assert options[1:] == (
        (OptionNumber.OBSERVE, b"\x07"), (OptionNumber.LOCATION_PATH, b"a"), (OptionNumber.LOCATION_PATH, b"b"),
        (OptionNumber.CONTENT_FORMAT, b"\x32"), (OptionNumber.MAX_AGE, b"\x3d"),
    )  # fmt: skip
    assert [number for number, _ in mapping.without_format(options)] == [4, 6, 8, 8, 14]
    assert mapping.representation(message(expires_at=NOW - 1), NOW)[1:] == ((OptionNumber.MAX_AGE, b""),)
    assert mapping.representation(message(expires_at=1e12), NOW)[1:] == ((OptionNumber.MAX_AGE, b"\xff" * 4),)


def test_an_etag_is_of_payload_and_content_type() -> None:
    json = MessageProperties(content_type="application/json")
    tags = [mapping.etag_of(each) for each in (message(), message(payload=b"y"), message(properties=json))]
    assert len(set(tags)) == 3
    assert all(len(tag) == 8 for tag in tags)
    assert mapping.etag_of(message("b", retain=True)) == tags[0]


def test_topics_that_no_path_can_name_are_known() -> None:
    assert mapping.is_expressible("a/" + "x" * 255)
    assert not mapping.is_expressible("a/" + "ü" * 128)


def test_errors_have_their_codes() -> None:
    for error, code in (
        (AuthenticationFailed(), Code.UNAUTHORIZED),
        (ProofExpired(), Code.UNAUTHORIZED),
        (NotAuthorized(), Code.FORBIDDEN),
        (ShutOut(), Code.FORBIDDEN),
        (LockgateError(), Code.INTERNAL_SERVER_ERROR),
        (CoapError(Code.NOT_ACCEPTABLE, "x"), Code.NOT_ACCEPTABLE),
    ):
        assert mapping.code_of(error) == code
    said = mapping.refusal(CoapError(Code.BAD_REQUEST, "x", options=((60, b"\x01"),)), "why")
    assert (said.code, said.options, said.payload, said.commit) == (Code.BAD_REQUEST, ((60, b"\x01"),), b"why", 0)


def test_who_comes_too_often_is_told_when_to_come_again() -> None:
    error = mapping.come_again(RateExceeded("too much"), 2.4)
    assert (error.code, error.options, str(error)) == (
        Code.TOO_MANY_REQUESTS, ((OptionNumber.MAX_AGE, b"\x03"),), "too much",
    )  # fmt: skip
