"""Bodies in blocks, both ways, as a client has them (RFC 7959)."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.adapters.coap.blocks import Block, Blocks, BodyBudget
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, OptionNumber, Options
from lockgate.adapters.coap.transfer import Transfer
from lockgate.settings import CoapSettings

pytestmark = pytest.mark.requirement("C1")

PATH: Options = ((11, b"a"),)
ETAG: Options = ((4, b"e1"),)
BODY = bytes(range(256)) * 25
NOW = 1000.0


def blocks(block_bytes: int = 1024) -> Blocks:
    return Blocks(limits(block_bytes), BodyBudget(1 << 20))


def limits(block_bytes: int) -> CoapSettings:
    return msgspec.convert({"block_bytes": block_bytes}, CoapSettings)


def exchange(transfer: Transfer, link: Blocks, payload: bytes, changes: int = 0) -> tuple[CoapMessage, list[bytes]]:
    """Let a transfer and a server's blocks speak; give the response and the bodies that the server had whole."""
    whole: list[bytes] = []
    for turn in range(1000):
        asked = transfer.next_request()
        request = CoapMessage(0, asked.code, turn, b"t", asked.options, asked.payload)
        found = link.receive(request, NOW)
        if isinstance(found, CoapMessage):
            whole.append(found.payload)
            found = link.answer(found, Code.CONTENT, ETAG, payload, NOW)
        if turn and changes:
            changes -= 1
            link.close()
            payload = payload[::-1]
            found = link.answer(request, Code.CONTENT, ((4, bytes([changes])),), payload, NOW)
        response = transfer.receive(CoapMessage(2, found.code, turn, b"t", found.options, found.payload))
        if response is not None:
            return response, whole
    raise AssertionError("no end")


@pytest.mark.parametrize("ours", [16, 1024])
@pytest.mark.parametrize("theirs", [16, 1024])
@pytest.mark.parametrize("sizes", [(0, 0), (5, 17), (1024, 1024), (1025, 3000), (4096, 16)])
def test_client_and_server_understand_each_other(ours: int, theirs: int, sizes: tuple[int, int]) -> None:
    sent, wanted = BODY[: sizes[0]], BODY[: sizes[1]]
    transfer = Transfer(limits(ours), Code.POST, PATH, sent, b"\1")
    response, whole = exchange(transfer, blocks(block_bytes=theirs), wanted)
    assert (response.code, response.payload, whole) == (Code.CONTENT, wanted, [sent])
    if wanted:
        assert response.option(OptionNumber.ETAG) == b"e1"


def test_a_client_begins_again_when_the_representation_changes() -> None:
    transfer = Transfer(CoapSettings(), Code.GET, ((6, b""), *PATH))
    response, _ = exchange(transfer, blocks(), BODY, changes=1)
    assert response.payload == BODY[::-1]
    with pytest.raises(CoapError, match="faster"):
        exchange(Transfer(CoapSettings(), Code.GET, PATH), blocks(), BODY, changes=9)


def reply(code: int, *options: tuple[int, bytes], payload: bytes = b"") -> CoapMessage:
    return CoapMessage(2, code, 1, b"t", options, payload)


def test_a_client_sends_smaller_blocks_to_who_wants_them() -> None:
    transfer = Transfer(CoapSettings(), Code.PUT, PATH, BODY)
    assert len(transfer.next_request().payload) == 1024
    refused = reply(Code.REQUEST_ENTITY_TOO_LARGE, (27, Block(0, True, 64).encode()))
    assert transfer.receive(refused) is None
    assert len(transfer.next_request().payload) == 64
    assert transfer.receive(refused) is refused, "and no smaller than that"
    continued = Transfer(CoapSettings(), Code.PUT, PATH, BODY)
    assert continued.receive(reply(Code.CONTINUE)) is None, "who says nothing of blocks is content with these"
    assert continued.next_request().options[-1] == (27, Block(1, True, 1024).encode())


def test_a_client_takes_an_error_for_the_end() -> None:
    for transfer in (Transfer(CoapSettings(), Code.PUT, PATH, BODY), Transfer(CoapSettings(), Code.GET, PATH)):
        error = reply(Code.FORBIDDEN, (23, b"\x0e"))
        assert transfer.receive(error) is error


def test_a_fetch_says_again_what_it_is_about() -> None:
    transfer = Transfer(CoapSettings(), Code.FETCH, PATH, b"query")
    assert transfer.receive(reply(Code.CONTENT, (23, b"\x0e"), payload=bytes(1024))) is None
    asked = transfer.next_request()
    assert (asked.payload, asked.options) == (b"query", (*PATH, (23, b"\x16")))


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (reply(Code.CONTENT, (23, b"\x0f"), payload=bytes(1024)), "reserved"),
        (reply(Code.CONTENT, (23, b"\x1e"), payload=bytes(1024)), "after 0 bytes came the block at 1024"),
        (reply(Code.CONTENT, (23, b"\x0e"), payload=bytes(1023)), "has 1023"),
        (reply(Code.CONTENT, (23, b"\x06"), payload=bytes(2000)), "longer than 1024"),
    ],
)
def test_nonsense_of_a_server_is_named(response: CoapMessage, words: str) -> None:
    transfer = Transfer(CoapSettings(max_body_bytes=1024), Code.GET, PATH)
    with pytest.raises(CoapError, match=words) as caught:
        transfer.receive(response)
    assert caught.value.code == Code.BAD_GATEWAY


def test_a_response_in_blocks_has_a_last_one() -> None:
    transfer = Transfer(CoapSettings(), Code.GET, PATH)
    transfer.receive(reply(Code.CONTENT, (23, b"\x0e"), payload=bytes(1024)))
    with pytest.raises(CoapError, match="without its last"):
        transfer.receive(reply(Code.CONTENT, payload=b"x"))


def test_a_server_asks_for_no_more_than_there_is() -> None:
    transfer = Transfer(CoapSettings(), Code.PUT, PATH, bytes(1025))
    transfer.receive(reply(Code.CONTINUE))
    with pytest.raises(CoapError, match="more than there is"):
        transfer.receive(reply(Code.CONTINUE))
    reserved = Transfer(CoapSettings(), Code.PUT, PATH, bytes(1025))
    with pytest.raises(CoapError, match="reserved"):
        reserved.receive(reply(Code.CONTINUE, (27, b"\x0f")))
