"""The records and registries of CoAP."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap.messages import (
    CONTENT_FORMATS,
    OPTION_RULES,
    CoapError,
    CoapFormatError,
    CoapMessage,
    Code,
    OptionNumber,
    Type,
    content_format,
    dotted,
    media_type,
)
from lockgate.errors import LockgateError


def test_codes_are_class_and_detail() -> None:
    assert (Code.CONTENT >> 5, Code.CONTENT & 31) == (2, 5)
    assert [dotted(code) for code in (0, Code.GET, Code.CREATED, Code.TOO_MANY_REQUESTS)] == [
        "0.00", "0.01", "2.01", "4.29"
    ]  # fmt: skip


def test_every_option_has_its_rule() -> None:
    assert set(OPTION_RULES) == {int(number) for number in OptionNumber}


def test_content_formats_go_both_ways() -> None:
    for number, name in CONTENT_FORMATS.items():
        assert content_format(name) == number
        assert media_type(number) == name


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("text/plain", 0),
        ("Text/Plain; charset=UTF-8", 0),
        ("application/JSON", 50),
        ("text/plain;charset=latin-1", None),
    ],
)
def test_a_media_type_is_known_in_any_spelling(name: str, number: int | None) -> None:
    assert content_format(name) == number


def test_what_is_not_registered_has_no_name() -> None:
    assert media_type(65_000) is None


def test_a_message_gives_its_options() -> None:
    path = ((11, b"a"), (11, b"b"), (12, b"\x32"))
    message = CoapMessage(Type.CON, Code.PUT, 7, b"t", path, b"21")
    assert message.all(OptionNumber.URI_PATH) == [b"a", b"b"]
    assert (message.option(11), message.option(4)) == (b"a", None)
    assert (message.number(12), message.number(14)) == (50, None)


def test_messages_are_equal_by_value_and_show_no_payload() -> None:
    message = CoapMessage(Type.CON, Code.PUT, 7, b"t", (), b"secret")
    same = CoapMessage(Type.CON, Code.PUT, 7, b"t").with_((), b"secret")
    assert message == same
    assert hash(message) == hash(same)
    assert message not in (CoapMessage(Type.NON, Code.PUT, 7, b"t", (), b"secret"), "text")
    assert repr(message) == "<CON 0.03 id=7 token=74 options=() payload=6 bytes>"


def test_errors_carry_what_the_answer_needs() -> None:
    error: LockgateError = CoapError(Code.REQUEST_ENTITY_TOO_LARGE, "too much", options=((60, b"\x10"),))
    assert isinstance(error, CoapError)
    assert (error.code, error.options, str(error), error.reason) == (
        141, ((60, b"\x10"),), "too much", "not CoAP as agreed"
    )  # fmt: skip
    malformed = CoapFormatError("no", 1, 2)
    assert (malformed.code, malformed.type, malformed.message_id, malformed.reason) == (128, 1, 2, "malformed message")
    assert malformed.fix
