"""A bad network: a relay between clients and a hub that loses datagrams, doubles them, and changes their order."""

from __future__ import annotations

import heapq
import random
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

_MAX_BYTES = 65_535
_MOST_LOST = 3


class LossyRelay:
    """A port on 127.0.0.1 behind which a hub is, by a bad way; `with` opens and closes it.

    Between two datagrams that reach a client at most three are lost, either way, so that no client gives up that asks
    five times (RFC 7252 section 4.8).

    Args:
        port: the hub's, on 127.0.0.1.
        loss: how many of a hundred are lost.
        double: how many of a hundred come twice.
        delay_seconds: each waits for up to so long, by chance.
        seed: where all luck comes from.
    """

    def __init__(
        self, port: int, *, loss: int = 25, double: int = 20, delay_seconds: float = 0.03, seed: int = 1
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How many datagrams came, were "lost", "doubled", and "overtaken" by one that came later."""
        self._hub = ("127.0.0.1", port)
        self._loss, self._double, self._delay = loss, double, delay_seconds
        self._chance = random.Random(seed)
        self._front = _udp()
        self._front.bind(("127.0.0.1", 0))
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._under_way: list[tuple[float, int, bool, Callable[[], object]]] = []
        self._number = self._latest = self._lost_in_a_row = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> LossyRelay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        self._selector.close()
        for each in (self._front, *self._backs.values()):
            each.close()

    @property
    def port(self) -> int:
        """Where clients find the hub."""
        number: int = self._front.getsockname()[1]
        return number

    def _run(self) -> None:
        while not self._ends.is_set():
            wait = self._under_way[0][0] - time.monotonic() if self._under_way else 0.1
            for key, _ in self._selector.select(min(max(wait, 0.0), 0.1)):
                self._take(key.fileobj, key.data)
            while self._under_way and self._under_way[0][0] <= time.monotonic():
                _, number, to_client, send = heapq.heappop(self._under_way)
                self.counts["overtaken"] += number < self._latest
                self._latest = max(self._latest, number)
                if to_client:
                    self._lost_in_a_row = 0
                send()

    def _take(self, sock: object, client: tuple[str, int] | None) -> None:
        assert isinstance(sock, socket.socket)
        try:
            data, sender = sock.recvfrom(_MAX_BYTES)
        except OSError:  # nobody is there any more
            return
        if client is not None:
            self._carry(lambda: self._front.sendto(data, client), to_client=True)
            return
        back = self._backs.get(sender)
        if back is None:
            back = self._backs[sender] = _udp()
            back.connect(self._hub)
            self._selector.register(back, selectors.EVENT_READ, sender)
        self._carry(lambda: back.send(data), to_client=False)

    def _carry(self, send: Callable[[], object], to_client: bool) -> None:
        self.counts["came"] += 1
        if self._chance.random() * 100 < self._loss and self._lost_in_a_row < _MOST_LOST:
            self._lost_in_a_row += 1
            self.counts["lost"] += 1
            return
        times = 1
        if self._chance.random() * 100 < self._double:
            self.counts["doubled"] += 1
            times = 2
        for _ in range(times):
            self._number += 1
            at = time.monotonic() + self._chance.random() * self._delay
            heapq.heappush(self._under_way, (at, self._number, to_client, send))


def _udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
