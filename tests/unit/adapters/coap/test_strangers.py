"""An address proves itself by repeating what only it was sent; nobody is flooded in its name."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.strangers import AddressProof, AnswerRate, challenged, may_answer
from lockgate.adapters.coap.wire import encode

PROOF = AddressProof(b"k" * 32, 60.0)


def test_a_challenge_is_for_one_address_and_one_while() -> None:
    echo = PROOF.challenge("192.0.2.7", 5683, 1000.0)
    assert PROOF.is_repeated(echo, "192.0.2.7", 5683, 1000.0)
    assert PROOF.is_repeated(echo, "192.0.2.7", 5683, 1060.0)
    assert not PROOF.is_repeated(echo, "192.0.2.7", 5683, 1120.0)
    assert not PROOF.is_repeated(echo, "192.0.2.8", 5683, 1000.0)
    assert not PROOF.is_repeated(echo, "192.0.2.7", 5684, 1000.0)
    assert not PROOF.is_repeated(echo[:-1], "192.0.2.7", 5683, 1000.0)
    assert not AddressProof(b"x" * 32, 60.0).is_repeated(echo, "192.0.2.7", 5683, 1000.0)


@pytest.mark.parametrize("path", ["", "a", "rooms/1/t", "a-long-path-that-takes-some-space/and-more-of-it/of-course"])
@pytest.mark.parametrize("token", [b"", b"12345678"])
def test_the_challenge_is_no_amplification(path: str, token: bytes) -> None:
    options = tuple((int(OptionNumber.URI_PATH), level.encode()) for level in path.split("/") if level)
    request = CoapMessage(Type.NON, Code.GET, 1, token, options)
    code, said, payload = challenged(request, b"12345678")
    answer = CoapMessage(Type.NON, code, 2, token, said, payload)
    assert code == Code.UNAUTHORIZED
    assert may_answer(request, answer)
    assert len(encode(answer)) <= 3 * len(encode(request))
    assert (said != ()) is (path != "" or token != b"")
    assert (payload != b"") is (len(path) > 30)


def test_answers_to_multicast_are_few() -> None:
    rate = AnswerRate(4.0)
    assert [rate.take(100.0) for _ in range(7)] == [True] * 4 + [False] * 3
    assert rate.take(100.3)
    assert not rate.take(100.3)
