"""Two ends of a CoAP link without a hub: protocol and blocks alone, under a clock of the test's own."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.blocks import Answer, Blocks, BodyBudget
from lockgate.adapters.coap.exchange import Acknowledged, Event, GaveUp, Request, Reset, Response, Settled
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Options, Type
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.adapters.coap.transfer import Transfer
from lockgate.settings import CoapSettings

START = 1000.0


class ServerEnd:
    """A server of resources by their paths: GET, PUT, POST (adds), DELETE, Observe."""

    def __init__(self, settings: CoapSettings, chance: Callable[[], float], message_id: int = 500) -> None:
        self.protocol = CoapProtocol(settings, START, message_id, chance)
        self.blocks = Blocks(settings, BodyBudget(settings.max_partial_bytes))
        self.resources: dict[bytes, bytes] = {}
        self.acted: list[tuple[int, bytes]] = []
        self.observers: dict[bytes, CoapMessage] = {}
        self.settled: list[Settled] = []
        self.is_slow = False
        self.unanswered: list[CoapMessage] = []
        self._version = 0

    def receive(self, data: bytes, now: float, is_multicast: bool = False) -> None:
        self._handle(self.protocol.receive_datagram(data, now, is_multicast), now)

    def handle_timer(self, now: float) -> None:
        self._handle(self.protocol.handle_timer(now), now)
        self.blocks.handle_timer(now)

    def next_timer(self) -> float | None:
        times = [at for at in (self.protocol.next_timer(), self.blocks.next_timer()) if at is not None]
        return min(times, default=None)

    def publish(self, path: bytes, payload: bytes, is_confirmable: bool, now: float) -> None:
        self.resources[path] = payload
        self._version += 1
        for token, registration in self.observers.items():
            if registration.option(OptionNumber.URI_PATH) == path:
                number = wire.encode_uint(self.protocol.next_observe_number())
                answer = self.blocks.answer(
                    registration, Code.CONTENT, wire.in_order([(6, number), *self._etag()]), payload, now
                )
                key = self._version
                self.protocol.notify(token, answer.code, answer.options, answer.payload, is_confirmable, key, now)

    def answer_late(self, now: float) -> None:
        for request in self.unanswered:
            self._respond(request, now)
        self.unanswered.clear()

    def _etag(self) -> Options:
        return ((4, self._version.to_bytes(4, "big")),)

    def _handle(self, events: list[Event], now: float) -> None:
        for event in events:
            if isinstance(event, Request):
                found = self.blocks.receive(event.message, now)
                if isinstance(found, Answer):
                    self.protocol.respond(event.message, found.code, found.options, found.payload, now)
                elif self.is_slow:
                    self.unanswered.append(found)
                else:
                    self._respond(found, now)
            elif isinstance(event, Settled):
                self.settled.append(event)
                if isinstance(event, GaveUp | Reset):
                    self.observers.pop(event.token, None)

    def _respond(self, request: CoapMessage, now: float) -> None:
        code, options, payload = self._act(request)
        answer = self.blocks.answer(request, code, options, payload, now)
        self.protocol.respond(request, answer.code, answer.options, answer.payload, now)

    def _act(self, request: CoapMessage) -> tuple[int, Options, bytes]:
        path = request.option(OptionNumber.URI_PATH) or b""
        if request.code == Code.GET:
            if path not in self.resources:
                return Code.NOT_FOUND, (), b"nothing is here"
            options = list(self._etag())
            if request.number(OptionNumber.OBSERVE) == 0:
                self.observers[request.token] = request
                options.append((6, wire.encode_uint(self.protocol.next_observe_number())))
            elif request.number(OptionNumber.OBSERVE) == 1:
                self.observers.pop(request.token, None)
            return Code.CONTENT, wire.in_order(options), self.resources[path]
        self.acted.append((request.code, request.payload))
        if request.code == Code.DELETE:
            self.resources.pop(path, None)
            return Code.DELETED, (), b""
        is_new = path not in self.resources
        before = self.resources.get(path, b"") if request.code == Code.POST else b""
        self.resources[path] = before + request.payload
        self._version += 1
        return Code.CREATED if is_new else Code.CHANGED, (), b""


class ClientEnd:
    """A client that asks one thing after the other, and observes."""

    def __init__(self, settings: CoapSettings, chance: Callable[[], float], message_id: int = 9000) -> None:
        self.protocol = CoapProtocol(settings, START, message_id, chance)
        self.settings = settings
        self.responses: list[CoapMessage] = []
        self.heard: list[bytes] = []
        self.repeats = 0
        self._transfers: dict[int, Transfer] = {}
        self._keys = 0
        self._known: set[int] = set()
        self._latest = 0
        self._etag: bytes | None = None

    @property
    def is_busy(self) -> bool:
        return bool(self._transfers)

    def asks(self, code: int, path: bytes, payload: bytes, now: float, tag: bytes = b"") -> None:
        transfer = Transfer(self.settings, code, ((OptionNumber.URI_PATH, path),), payload, tag)
        self._go_on(transfer, now)

    def receive(self, data: bytes, now: float) -> None:
        message = wire.decode(data)
        if message.code >= 64 and message.option(OptionNumber.OBSERVE) is not None:
            self._notified(message, now)
        else:
            self._handle(self.protocol.receive_datagram(data, now), now)

    def handle_timer(self, now: float) -> None:
        self._handle(self.protocol.handle_timer(now), now)

    def next_timer(self) -> float | None:
        return self.protocol.next_timer()

    def _notified(self, message: CoapMessage, now: float) -> None:
        """Take a notification as an observer does (RFC 7641 section 3.4); the protocol here has no need to."""
        if message.type == Type.CON:
            self.protocol._flight.out.append(wire.empty(Type.ACK, message.message_id))
        number = message.number(OptionNumber.OBSERVE) or 0
        if message.message_id in self._known or number <= self._latest:
            self.repeats += 1
            return
        self._known.add(message.message_id)
        self._latest = number
        path = ((OptionNumber.URI_PATH, b"a"),)
        transfer = Transfer(self.settings, Code.GET, path)
        whole = transfer.receive(message)
        if whole is None:
            self._transfers.clear()  # what was being fetched is old
            self._go_on(transfer, now)
        else:
            self._hear(whole)

    def _hear(self, whole: CoapMessage) -> None:
        """Take a representation; one with the ETag of the last is that one, fetched again."""
        if whole.option(OptionNumber.ETAG) != self._etag:
            self._etag = whole.option(OptionNumber.ETAG)
            self.heard.append(whole.payload)

    def _go_on(self, transfer: Transfer, now: float) -> None:
        asked = transfer.next_request()
        self._keys += 1
        self._transfers[self._keys] = transfer
        self.protocol.request(asked.code, asked.options, asked.payload, self._keys, now)

    def _handle(self, events: list[Event], now: float) -> None:
        for event in events:
            assert not isinstance(event, Request | Acknowledged)
            if isinstance(event, Response):
                transfer = self._transfers.pop(event.key, None)
                if transfer is None:
                    continue
                whole = transfer.receive(event.message)
                if whole is None:
                    self._go_on(transfer, now)
                elif whole.code == Code.CONTENT:
                    self._hear(whole)
                else:
                    self.responses.append(whole)
            elif isinstance(event, GaveUp):
                self._transfers.pop(event.key, None)


class Relay:
    """Carries datagrams between two ends, and loses, doubles and delays them.

    Args:
        client: one end.
        server: the other.
        chance: where all luck comes from.
        loss: how many of a hundred are lost; the others come after up to `delay` seconds, so they overtake each other.
        double: how many of a hundred come twice.
    """

    def __init__(
        self, client: ClientEnd, server: ServerEnd, chance: random.Random, loss: int = 25, double: int = 15,
        delay: float = 3.0,
    ) -> None:  # fmt: skip
        self.now = START
        self.carried = 0
        self._ends: tuple[ClientEnd | ServerEnd, ...] = (client, server)
        self._chance = chance
        self._loss, self._double, self._delay = loss, double, delay
        self._under_way: list[tuple[float, int, int, bytes]] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    def run(self, until: Callable[[], bool], seconds: float = 1e7) -> bool:
        """Let time pass until something holds; say whether it came to that."""
        end = self.now + seconds
        while not until():
            self._collect()
            times = [at for at in (one.next_timer() for one in self._ends) if at is not None]
            times += [self._under_way[0][0]] if self._under_way else []
            if not times or min(times) > end:
                return until()
            self.now = max(self.now, min(times))
            while self._under_way and self._under_way[0][0] <= self.now:
                _, _, to, data = heapq.heappop(self._under_way)
                self._ends[to].receive(data, self.now)
            for one in self._ends:
                at = one.next_timer()
                if at is not None and at <= self.now:
                    one.handle_timer(self.now)
        return True

    def _collect(self) -> None:
        for number, one in enumerate(self._ends):
            for data in one.protocol.datagrams_to_send():
                for _ in range(1 + (self._chance.random() * 100 < self._double)):
                    if self._chance.random() * 100 >= self._loss:
                        self.carried += 1
                        at = self.now + self._chance.random() * self._delay
                        heapq.heappush(self._under_way, (at, self.carried, 1 - number, data))
