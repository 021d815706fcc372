"""Peers without DTLS: nothing but an address, which anybody can write into a datagram.

Before an address counts, it must repeat what was sent to it (Echo). Until then it gets answers of at most three times
what it sent, so that nobody is flooded by us in its name. By multicast, nobody gets more than the hub's own link, so
many times a second in all.

Source: RFC 9175 section 2 (Echo) and section 2.6 (amplification); RFC 7252 sections 8 and 11.3.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, final

from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber
from lockgate.adapters.coap.wire import encode

MAX_AMPLIFICATION: Final = 3
ECHO_BYTES: Final = 8
"""Few, so that the challenge is no amplification: 64 bits cannot be guessed within their lifetime."""
_WARMTH: Final = "prove that you hear what is sent to you: repeat the Echo option"


@final
class AddressProof:
    """Challenges that only somebody at an address can repeat, and only for a while. It keeps nothing of them.

    Args:
        key: random bytes of this process.
        lifetime_seconds: how long a repeated challenge proves the address, at least; at most twice as long.
    """

    def __init__(self, key: bytes, lifetime_seconds: float) -> None:
        self._key = key
        self.lifetime_seconds = lifetime_seconds

    def challenge(self, host: str, port: int, now: float) -> bytes:
        """Give the value of an Echo option for an address. `now` in monotonic seconds."""
        return self._value(host, port, int(now // self.lifetime_seconds))

    def is_repeated(self, value: bytes, host: str, port: int, now: float) -> bool:
        """Say whether an Echo option proves the address."""
        period = int(now // self.lifetime_seconds)
        return any(
            hmac.compare_digest(value, self._value(host, port, each)) for each in (period, period - 1)
        )  # fmt: skip

    def _value(self, host: str, port: int, period: int) -> bytes:
        said = f"{host} {port} {period}".encode()
        return hmac.new(self._key, said, hashlib.sha256).digest()[:ECHO_BYTES]


def may_answer(asked: CoapMessage, answer: CoapMessage) -> bool:
    """Say whether an answer is small enough for an address that has proven nothing."""
    return len(encode(answer)) <= MAX_AMPLIFICATION * len(encode(asked))


def challenged(request: CoapMessage, echo: bytes) -> tuple[int, tuple[tuple[int, bytes], ...], bytes]:
    """Give code, options and payload of the answer that asks for a proof, as long as its request lets it be."""
    options = ((int(OptionNumber.ECHO), echo),)
    for payload in (_WARMTH.encode(), b""):
        answer = CoapMessage(request.type, Code.UNAUTHORIZED, 0, request.token, options, payload)
        if may_answer(request, answer):
            return int(Code.UNAUTHORIZED), options, payload
    return int(Code.UNAUTHORIZED), (), b""


@final
class AnswerRate:
    """How many answers may go out, whoever asks: a bucket of one second's worth.

    Args:
        per_second: answers.
    """

    def __init__(self, per_second: float) -> None:
        self._cost = 1.0 / per_second
        self._until = 0.0

    def take(self, now: float) -> bool:
        """Take one answer; say whether there was one. `now` in monotonic seconds."""
        until = max(self._until, now - 1.0) + self._cost
        if until > now:
            return False
        self._until = until
        return True
