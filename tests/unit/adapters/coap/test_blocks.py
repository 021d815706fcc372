"""Bodies in blocks, both ways, as a server has them (RFC 7959)."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.blocks import (
    BODY_BYTES,
    OPTION_BYTES,
    Answer,
    Block,
    Blocks,
    BodyBudget,
    body_key,
    decode_block,
)
from lockgate.adapters.coap.messages import CoapMessage, Code, Options
from lockgate.settings import CoapSettings

pytestmark = pytest.mark.requirement("C1")

PATH: Options = ((11, b"a"),)
ETAG: Options = ((4, b"e1"),)
BODY = bytes(range(256)) * 25
NOW = 1000.0


def blocks(budget: BodyBudget | None = None, **settings: Any) -> Blocks:
    made = CoapSettings(**settings)
    return Blocks(made, budget or BodyBudget(made.max_partial_bytes))


def put(number: int, is_more: bool, payload: bytes, size: int = 1024, options: Options = PATH) -> CoapMessage:
    block = (27, Block(number, is_more, size).encode())
    return CoapMessage(0, Code.PUT, 7, b"t", wire.in_order([*options, block]), payload)


def get(number: int = -1, size: int = 1024, options: Options = PATH, code: int = Code.GET) -> CoapMessage:
    block = [(23, Block(number, False, size).encode())] if number >= 0 else []
    return CoapMessage(0, code, 7, b"t", wire.in_order([*options, *block]))


def said(found: CoapMessage | Answer) -> tuple[int, Options]:
    assert isinstance(found, Answer)
    return found.code, found.options


def code_of(found: CoapMessage | Answer) -> int:
    assert isinstance(found, Answer)
    return found.code


def granted(number: int, size: int) -> tuple[int, Options]:
    return Code.CONTINUE, ((27, Block(number, True, size).encode()),)


# The option


@pytest.mark.parametrize(
    ("value", "number", "is_more", "size"),
    [
        ("", 0, False, 16),
        ("06", 0, False, 1024),
        ("0e", 0, True, 1024),
        ("22", 2, False, 64),
        ("fffffe", 1_048_575, True, 1024),
    ],
)
def test_a_block_option_goes_both_ways(value: str, number: int, is_more: bool, size: int) -> None:
    block = decode_block(bytes.fromhex(value))
    assert (block.number, block.is_more, block.size) == (number, is_more, size)
    assert block.encode() == bytes.fromhex(value)
    assert block.offset == number * size


def test_the_reserved_size_is_refused() -> None:
    for request in (CoapMessage(0, 3, 7, b"", ((27, b"\x0f"),), b"x"), CoapMessage(0, 1, 7, b"", ((23, b"\x07"),))):
        assert code_of(blocks().receive(request, NOW)) == Code.BAD_REQUEST
        assert blocks().answer(request, Code.CONTENT, (), b"x", NOW).code == Code.BAD_REQUEST


def test_answers_are_equal_by_value_and_show_no_payload() -> None:
    assert Answer(69, (), b"x") == Answer(69, (), b"x")
    assert Answer(69) not in (Answer(68), Answer(69, PATH), Answer(69, (), b"x"), 69)
    assert len({Answer(69), Answer(69)}) == 1
    assert repr(Answer(69, (), b"x")) == "Answer(2.05, (), 1 bytes)"


def test_a_body_is_known_by_method_and_cache_key() -> None:
    extra = ((4, b"e"), (6, b""), (23, b""), (27, b"\x16"), (28, b""), (60, b"\1"), (252, b"e"), (258, b"\2"))
    plain = CoapMessage(0, 3, 1, b"", PATH)
    assert body_key(plain) == body_key(CoapMessage(1, 3, 2, b"u", wire.in_order([*PATH, *extra]), b"x"))
    for other in (CoapMessage(0, 2, 1, b"", PATH), CoapMessage(0, 3, 1, b"", (*PATH, (292, b"1")))):
        assert body_key(plain) != body_key(other)


# What comes in


def test_what_is_in_one_piece_passes_as_it_is() -> None:
    for options in ((), PATH, (*PATH, (60, b"\1"))):
        request = CoapMessage(0, Code.PUT, 7, b"t", options, b"21")
        assert blocks().receive(request, NOW) is request
    only = put(0, False, b"21")
    assert blocks().receive(only, NOW) is only
    first = get(0)
    assert blocks().receive(first, NOW) is first


def test_a_body_comes_together() -> None:
    link = blocks()
    for number in range(6):
        part = put(number, True, BODY[number * 1024 : (number + 1) * 1024])
        assert said(link.receive(part, NOW)) == granted(number, 1024)
    last = put(6, False, BODY[6144:])
    whole = link.receive(last, NOW)
    assert isinstance(whole, CoapMessage)
    assert (whole.payload, whole.options) == (BODY, last.options)
    assert link.next_timer() is None
    assert link.answer(whole, Code.CHANGED, (), b"", NOW) == Answer(
        Code.CHANGED, ((27, Block(6, False, 1024).encode()),)
    )


def test_smaller_blocks_are_agreed_on_with_the_first() -> None:
    link = blocks(block_bytes=64)
    assert said(link.receive(put(0, True, BODY[:256], 256), NOW)) == granted(0, 64)
    assert said(link.receive(put(4, True, BODY[256:320], 64), NOW)) == granted(4, 64)
    whole = link.receive(put(5, False, BODY[320:330], 64), NOW)
    assert isinstance(whole, CoapMessage)
    assert whole.payload == BODY[:330]
    assert said(link.receive(put(0, True, BODY[:16], 16), NOW)) == granted(0, 16)


def test_a_block_that_comes_twice_counts_once() -> None:
    link = blocks()
    for number in (0, 1, 1, 0, 1):
        part = put(number, True, BODY[number * 1024 : (number + 1) * 1024])
        assert said(link.receive(part, NOW)) == granted(number, 1024)
    whole = link.receive(put(2, False, b"end"), NOW)
    assert isinstance(whole, CoapMessage)
    assert whole.payload == BODY[:2048] + b"end"


@pytest.mark.parametrize(
    "second",
    [
        put(2, True, BODY[2048:3072]),
        put(2, False, b"end"),
        put(1, True, BODY[:1024], options=(*PATH, (12, b"\x32"))),
        put(1, True, BODY[:1024], options=(*PATH, (292, b"\1"))),
        put(0, False, b""),
    ],
    ids=["gap", "gap before the end", "content format", "tag", "one block only"],
)
def test_blocks_that_do_not_follow_each_other_do_not_come_together(second: CoapMessage) -> None:
    link = blocks()
    assert said(link.receive(put(0, True, BODY[:1024]), NOW)) == granted(0, 1024)
    found = link.receive(second, NOW)
    assert found is second or code_of(found) == Code.REQUEST_ENTITY_INCOMPLETE


def test_a_block_with_other_bytes_than_before_ends_the_body() -> None:
    link = blocks()
    for number in range(2):
        link.receive(put(number, True, BODY[:1024]), NOW)
    assert code_of(link.receive(put(1, True, bytes(1024)), NOW)) == Code.REQUEST_ENTITY_INCOMPLETE
    assert code_of(link.receive(put(2, True, bytes(1024)), NOW)) == Code.REQUEST_ENTITY_INCOMPLETE


@pytest.mark.parametrize("part", [put(0, True, b"short"), put(0, True, b""), put(3, False, bytes(1025))])
def test_a_block_of_another_size_than_it_says_is_refused(part: CoapMessage) -> None:
    assert code_of(blocks().receive(part, NOW)) == Code.BAD_REQUEST


def test_a_body_that_is_too_large_is_refused_as_soon_as_that_is_known() -> None:
    link = blocks(max_body_bytes=2048)
    announced = put(0, True, bytes(1024), options=(*PATH, (60, wire.encode_uint(2049))))
    too_large = (Code.REQUEST_ENTITY_TOO_LARGE, ((60, wire.encode_uint(2048)),))
    assert said(link.receive(announced, NOW)) == too_large
    for number in range(2):
        assert code_of(link.receive(put(number, True, bytes(1024)), NOW)) == Code.CONTINUE
    assert said(link.receive(put(2, False, b"x"), NOW)) == too_large
    assert code_of(link.receive(put(2, False, b""), NOW)) == Code.REQUEST_ENTITY_INCOMPLETE


def test_a_body_that_does_not_go_on_is_forgotten() -> None:
    link = blocks()
    link.receive(put(0, True, bytes(1024)), NOW)
    assert link.next_timer() == NOW + 93
    link.handle_timer(NOW + 92)
    assert code_of(link.receive(put(1, True, bytes(1024)), NOW + 92)) == Code.CONTINUE
    assert code_of(link.receive(put(2, True, bytes(1024)), NOW + 185)) == Code.REQUEST_ENTITY_INCOMPLETE
    link.receive(put(0, True, bytes(1024)), NOW)
    link.handle_timer(NOW + 93)
    assert link.next_timer() is None


def test_a_device_has_so_many_bodies_under_way() -> None:
    link = blocks(max_partial_bodies=2)
    for tag in (b"1", b"2", b"3"):
        link.receive(put(0, True, bytes(1024), options=(*PATH, (292, tag))), NOW)
    found = [
        code_of(link.receive(put(1, True, bytes(1024), options=(*PATH, (292, tag))), NOW)) for tag in (b"1", b"2", b"3")
    ]
    assert found == [Code.REQUEST_ENTITY_INCOMPLETE, Code.CONTINUE, Code.CONTINUE]


def test_all_devices_have_so_many_bytes_under_way() -> None:
    begun = BODY_BYTES + len(PATH) * OPTION_BYTES + sum(len(value) for _, value in PATH)
    budget = BodyBudget(2 * (begun + 2048))
    links = [blocks(budget) for _ in range(3)]
    for number in range(2):
        for link in links:
            link.receive(put(number, True, bytes(1024)), NOW)
    assert (budget.held_bytes, budget.dropped_number) == (2 * (begun + 2048), 1)
    found = [code_of(link.receive(put(2, True, bytes(1024)), NOW)) for link in links]
    assert found == [Code.CONTINUE, Code.REQUEST_ENTITY_INCOMPLETE, Code.REQUEST_ENTITY_INCOMPLETE]
    for link in links:
        link.close()
        assert link.next_timer() is None
    assert budget.held_bytes == 0


def test_a_body_above_all_that_is_left_goes_itself() -> None:
    budget = BodyBudget(1000)
    link = blocks(budget)
    assert code_of(link.receive(put(0, True, bytes(1024)), NOW)) == Code.REQUEST_ENTITY_INCOMPLETE
    assert code_of(link.receive(put(1, True, bytes(1024)), NOW)) == Code.REQUEST_ENTITY_INCOMPLETE
    assert link.answer(get(), Code.CONTENT, ETAG, bytes(2000), NOW).code == Code.CONTENT
    assert isinstance(link.receive(get(1), NOW), CoapMessage), "made anew by the driver"
    link.handle_timer(NOW)
    assert (budget.held_bytes, link.next_timer()) == (0, None)


# What goes out


def test_a_short_answer_goes_as_it_is() -> None:
    assert blocks().answer(get(), Code.CONTENT, ETAG, b"21", NOW) == Answer(Code.CONTENT, ETAG, b"21")
    request = get(options=(*PATH, (60, b"")))
    assert blocks().answer(request, Code.CONTENT, ETAG, b"21", NOW) == Answer(Code.CONTENT, ETAG, b"21")
    assert blocks().answer(get(0, 64), Code.CONTENT, ETAG, b"21", NOW) == Answer(
        Code.CONTENT, (*ETAG, (23, Block(0, False, 64).encode())), b"21"
    )


@pytest.mark.parametrize(("asked", "size"), [(-1, 1024), (1024, 1024), (64, 64)])
def test_a_long_answer_goes_in_slices(asked: int, size: int) -> None:
    link = blocks()
    first = get() if asked < 0 else get(0, asked)
    answer = link.answer(first, Code.CONTENT, ETAG, BODY, NOW)
    assert answer.options == (*ETAG, (23, Block(0, True, size).encode()), (28, wire.encode_uint(len(BODY))))
    gathered, number = answer.payload, 0
    while len(gathered) < len(BODY):
        number += 1
        found = link.receive(get(number, size), NOW)
        assert isinstance(found, Answer)
        gathered += found.payload
        assert found.options == (*ETAG, (23, Block(number, len(gathered) < len(BODY), size).encode()))
    assert gathered == BODY
    assert code_of(link.receive(get(number + 1, size), NOW)) == Code.BAD_REQUEST


def test_the_size_of_slices_is_ours_at_most() -> None:
    link = blocks(block_bytes=64)
    answer = link.answer(get(0, 1024), Code.CONTENT, ETAG, BODY, NOW)
    assert (len(answer.payload), answer.options[1]) == (64, (23, Block(0, True, 64).encode()))
    found = link.receive(get(3, 32), NOW)
    assert isinstance(found, Answer)
    assert found.payload == BODY[96:128]


def test_what_is_not_kept_any_more_is_made_anew_where_that_changes_nothing() -> None:
    link = blocks()
    asked = get(1)
    assert link.receive(asked, NOW) is asked
    assert link.answer(asked, Code.CONTENT, ETAG, BODY, NOW).payload == BODY[1024:2048]
    assert link.answer(get(7), Code.CONTENT, ETAG, BODY, NOW).code == Code.BAD_REQUEST
    assert link.answer(get(1), Code.CONTENT, ETAG, b"21", NOW).code == Code.BAD_REQUEST
    assert code_of(link.receive(get(1, code=Code.POST), NOW)) == Code.REQUEST_ENTITY_INCOMPLETE


def test_two_fetches_of_one_resource_are_not_mixed_up() -> None:
    link = blocks()
    one, other = (CoapMessage(0, Code.FETCH, 7, b"t", (*PATH, (23, b"\x16")), body) for body in (b"1", b"2"))
    link.answer(one.with_(PATH, b"1"), Code.CONTENT, ETAG, BODY, NOW)
    assert isinstance(link.receive(one, NOW), Answer)
    assert link.receive(other, NOW) is other


def test_a_representation_is_kept_for_a_while_from_its_last_slice() -> None:
    link = blocks()
    link.answer(get(), Code.CONTENT, ETAG, BODY, NOW)
    assert isinstance(link.receive(get(1), NOW + 90), Answer)
    assert isinstance(link.receive(get(1), NOW + 180), Answer)
    link.handle_timer(NOW + 200)
    assert link.next_timer() == NOW + 273
    assert isinstance(link.receive(get(1), NOW + 273), CoapMessage)
    link.handle_timer(NOW + 273)
    assert link.next_timer() is None


def test_a_device_has_so_many_representations_kept() -> None:
    link = blocks(max_partial_bodies=1)
    other = ((11, b"b"),)
    link.answer(get(), Code.CONTENT, ETAG, BODY, NOW)
    link.answer(get(options=other), Code.CONTENT, ETAG, BODY, NOW)
    assert isinstance(link.receive(get(1), NOW), CoapMessage)
    assert isinstance(link.receive(get(1, options=other), NOW), Answer)


def test_of_a_notification_the_first_slice_goes_and_the_rest_is_asked_for() -> None:
    link = blocks()
    registration = get(options=((6, b""), (11, b"a")))
    options: Options = ((4, b"e2"), (6, b"\x07"))
    answer = link.answer(registration, Code.CONTENT, options, BODY, NOW)
    assert answer.options[:2] == options
    found = link.receive(get(1), NOW)
    assert isinstance(found, Answer)
    assert found.options == ((4, b"e2"), (23, Block(1, True, 1024).encode())), "only the first one is a notification"
    insisting = link.receive(get(1, options=((6, b""), (11, b"a"))), NOW)
    assert isinstance(insisting, Answer)
    assert insisting.options[:2] == options


def test_a_long_body_may_get_a_long_answer() -> None:
    link = blocks()
    link.receive(put(0, True, BODY[:1024]), NOW)
    whole = link.receive(put(1, False, b"end"), NOW)
    assert isinstance(whole, CoapMessage)
    answer = link.answer(whole, Code.CHANGED, (), BODY, NOW)
    assert answer.options == (
        (23, Block(0, True, 1024).encode()), (27, Block(1, False, 1024).encode()), (28, wire.encode_uint(len(BODY)))
    )  # fmt: skip
    found = link.receive(get(1, code=Code.PUT), NOW)
    assert isinstance(found, Answer)
    assert found.payload == BODY[1024:2048]
