"""CoAP's wire and message layer under mutated captures: only documented errors, and what a second opinion says.

What is malformed is judged a second time below, slowly and after the words of the standard; what a good message says is
judged by aiocoap's codec (which takes much that is malformed, and refuses text that is no UTF-8).
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from aiocoap import Message
from aiocoap.error import UnparsableMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.blocks import Answer, Blocks, BodyBudget
from lockgate.adapters.coap.exchange import Request
from lockgate.adapters.coap.messages import CoapFormatError, CoapMessage, Code
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.errors import QuotaExceeded
from lockgate.settings import CoapSettings
from tests.fuzz.mutations import INTERESTING

SHORT, LONG = 5_000, 500_000


def corpus() -> list[bytes]:
    lines = [line for path in sorted(Path(__file__).parent.glob("corpus/coap/*.hex")) for line in path.open()]
    texts = [line.partition("#")[0].strip() for line in lines]
    return [bytes.fromhex(text) for text in texts if text]


CORPUS = corpus()


def opinion(data: bytes) -> tuple[Any, ...] | None:
    """Give what aiocoap makes of a datagram, None where it refuses it."""
    try:
        message = Message.decode(data)
    except (UnparsableMessage, UnicodeDecodeError, ValueError):
        return None
    options = tuple((int(option.number), option.encode()) for option in message.opt.option_list())
    return int(message.mtype), int(message.code), message.mid, message.token, len(options), message.payload


def is_well_formed(data: bytes) -> bool:
    """Say whether a datagram is a message, by sections 3, 3.1, 4.1, 4.2 and 12.1 of RFC 7252."""
    if len(data) < 4 or data[0] & 0xC0 != 0x40:
        return False
    tokens, code = data[0] & 0x0F, data[1]
    if code == 0:
        return tokens == 0 and len(data) == 4
    if data[0] & 0x30 == 0x30 or code // 32 in (1, 6, 7) or tokens > 8 or 4 + tokens > len(data):
        return False
    rest = list(data[4 + tokens :])
    number = count = 0
    while rest:
        head = rest.pop(0)
        if head == 0xFF:
            return len(rest) > 0
        values = []
        for nibble in divmod(head, 16):
            more = max(0, nibble - 12)
            if nibble == 15 or len(rest) < more:
                return False
            extra = int.from_bytes(bytes(rest[:more]), "big")
            values.append(nibble if not more else extra + (13 if more == 1 else 269))
            rest = rest[more:]
        number, count = number + values[0], count + 1
        if number > 65_535 or count > wire.MAX_OPTIONS or values[1] > len(rest):
            return False
        rest = rest[values[1] :]
    return True


def decoded(data: bytes) -> tuple[CoapMessage | None, CoapFormatError | None]:
    try:
        return wire.decode(data), None
    except CoapFormatError as error:
        return None, error


def check(data: bytes) -> str:
    """Hold the wire against the second opinion on one datagram; give what became of it."""
    other = opinion(data)
    message, error = decoded(data)
    assert (message is not None) == is_well_formed(data), f"{error}: {data.hex()}"
    if message is None:
        assert error is not None
        is_known = len(data) >= 4 and data[0] >> 6 == 1
        assert (error.type, error.message_id) == ((data[0] >> 4 & 3, data[2] << 8 | data[3]) if is_known else (-1, -1))
        return "refused"
    again = wire.encode(message)
    assert wire.decode(again) == message, data.hex()
    if other is not None:
        ours = (message.type, message.code, message.message_id, message.token, len(message.options), message.payload)
        assert ours == other, data.hex()
    return "taken"


def mutated(chance: random.Random) -> bytes:
    """Give a datagram of the corpus, spoilt in up to four ways."""
    data = bytearray(chance.choice(CORPUS))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 4))):
        at = int(chance.random() * (len(data) or 1))
        way = chance.random()
        if not data or way < 0.1:
            data[at:at] = chance.choice(CORPUS)[4:]
        elif way < 0.35:
            data[at] ^= 1 << int(chance.random() * 8)
        elif way < 0.55:
            data[at] = chance.choice(INTERESTING)
        elif way < 0.7:
            data[at:at] = chance.randbytes(1 + int(chance.random() * 3))
        elif way < 0.85:
            del data[at : at + 1 + int(chance.random() * 3)]
        elif way < 0.9:
            del data[at:]
        else:
            data[at:at] = data[at : at + int(chance.random() * 8)] * 3
    return bytes(data)


def run_wire(count: int, seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    outcomes = {"taken": 0, "refused": 0}
    for _ in range(count):
        outcomes[check(mutated(chance))] += 1
    return outcomes


def test_the_corpus_is_judged_as_by_others() -> None:
    assert len(CORPUS) > 60
    assert {check(data) for data in CORPUS} == {"taken", "refused"}


def test_mutated_datagrams_are_judged_as_by_others() -> None:
    outcomes = run_wire(SHORT, 1)
    assert min(outcomes.values()) > SHORT // 10, outcomes


@given(st.binary(max_size=64))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_message_or_a_documented_error(data: bytes) -> None:
    check(data)


def in_order(numbers: list[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
    return wire.in_order(numbers)


MESSAGES = st.builds(
    CoapMessage,
    st.sampled_from((0, 1, 2)),
    st.sampled_from([int(code) for code in Code if code]),
    st.integers(0, 65_535),
    st.binary(max_size=8),
    st.lists(st.tuples(st.integers(0, 65_535), st.binary(max_size=300)), max_size=12).map(in_order),
    st.binary(max_size=64),
)


@given(MESSAGES)
@settings(max_examples=300, deadline=None)
def test_what_can_be_said_is_understood(message: CoapMessage) -> None:
    assert wire.decode(wire.encode(message)) == message


class Chaos:
    """A message layer with blocks that hears nonsense, while its driver does all that a driver may do."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.settings = CoapSettings(
            max_exchanges=8, max_waiting_notifications=4, nstart=self.chance.choice((1, 3)), max_partial_bodies=2,
            max_body_bytes=4096, block_bytes=64,
        )  # fmt: skip
        self.now = 1000.0
        self.budget = BodyBudget(self.settings.max_partial_bytes)
        self.protocol = CoapProtocol(self.settings, self.now, self.chance.randrange(1 << 16), self.chance.random)
        self.blocks = Blocks(self.settings, self.budget)
        self.waiting: list[CoapMessage] = []
        self.sent: list[CoapMessage] = []

    def step(self) -> None:
        way = self.chance.random()
        if way < 0.6:
            data = self.echoed() if self.sent and self.chance.random() < 0.3 else mutated(self.chance)
            for event in self.protocol.receive_datagram(data, self.now, self.chance.random() < 0.05):
                if isinstance(event, Request):
                    self.act(event.message)
        elif way < 0.7:
            self.now += self.chance.choice((0.1, 1, 30, 300))
            self.protocol.handle_timer(self.now)
            self.blocks.handle_timer(self.now)
        elif way < 0.8:
            token = self.chance.choice((b"a", b"b"))
            key = self.chance.randrange(100)
            self.protocol.notify(token, Code.CONTENT, (), b"x", self.chance.random() < 0.7, key, self.now)
        elif way < 0.85:
            self.protocol.forget(self.chance.choice((b"a", b"b")), self.now)
        elif way < 0.9:
            try:
                self.protocol.request(Code.GET, ((11, b"a"),), b"", 1, self.now)
            except QuotaExceeded:
                assert len(self.protocol._asked) == self.settings.max_exchanges
        elif self.waiting:
            self.respond(self.waiting.pop(self.chance.randrange(len(self.waiting))))
        self.look()

    def echoed(self) -> bytes:
        """Give what a peer may say to something that was sent."""
        about = self.chance.choice(self.sent)
        kind = self.chance.choice((0, 1, 2, 2, 3))
        code = 0 if kind == 3 else self.chance.choice((0, 69, 132, 1))
        token = b"" if code == 0 else about.token
        return wire.encode(CoapMessage(kind, code, about.message_id, token))

    def act(self, request: CoapMessage) -> None:
        found = self.blocks.receive(request, self.now)
        if isinstance(found, Answer):
            self.protocol.respond(request, found.code, found.options, found.payload, self.now)
        elif self.chance.random() < 0.4 and len(self.waiting) < 50:
            self.waiting.append(found)
            if self.chance.random() < 0.5:
                self.protocol.acknowledge(found)
        else:
            self.respond(found)

    def respond(self, request: CoapMessage) -> None:
        size = self.chance.choice((0, 3, 64, 65, 400))
        code = self.chance.choice((Code.CONTENT, Code.CHANGED, Code.NOT_FOUND))
        answer = self.blocks.answer(request, code, ((4, b"e"),), bytes(size), self.now)
        self.protocol.respond(request, answer.code, answer.options, answer.payload, self.now)

    def look(self) -> None:
        """Hold everything against its bound; what goes out can be read."""
        for data in self.protocol.datagrams_to_send():
            self.sent = [*self.sent[-20:], wire.decode(data)]
        protocol, limits = self.protocol, self.settings
        received = protocol._received.values()
        assert len(received) <= limits.max_exchanges
        assert protocol._unanswered == sum(not exchange.is_answered for exchange in received)
        assert len(protocol._flight._waiting) <= limits.max_waiting_notifications
        assert len(protocol._flight._answers) <= 2 * limits.max_exchanges
        assert len(protocol._flight._in_flight) <= limits.nstart
        assert len(protocol._sent) <= limits.max_exchanges
        at = protocol.next_timer()
        if protocol._flight._in_flight:
            assert at is not None
            assert at <= min(one.due_at for one in protocol._flight._in_flight.values())
        assert len(self.blocks._gathered) <= limits.max_partial_bodies
        assert len(self.blocks._kept) <= limits.max_partial_bodies
        bodies = [*self.blocks._gathered.values(), *self.blocks._kept.values()]
        assert self.budget.held_bytes == sum(body.held_bytes for body in bodies if not body.is_gone)

    def ends(self) -> None:
        """Let all time pass: nothing is left."""
        for request in self.waiting:
            self.respond(request)
        for _ in range(200):
            self.protocol.datagrams_to_send()
            at = self.protocol.next_timer()
            if at is None:
                break
            self.now = max(self.now, at)
            self.protocol.handle_timer(self.now)
        assert self.protocol.next_timer() is None
        assert not self.protocol._received
        assert not self.protocol._sent
        assert not self.protocol._asked
        self.blocks.close()
        assert self.budget.held_bytes == 0


def run_protocol(count: int, seed: int) -> None:
    for number in range(seed, seed + count):
        chaos = Chaos(number)
        for _ in range(100):
            chaos.step()
        chaos.ends()


def test_the_message_layer_stands_nonsense() -> None:
    run_protocol(SHORT // 100, 1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_wire_and_message_layer_stand_much_nonsense() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    outcomes = run_wire(LONG, seed)
    assert min(outcomes.values()) > LONG // 10, outcomes
    run_protocol(LONG // 100, seed)
