"""What a test may ask of any MQTT client, whatever its library calls it.

Properties have the standard's names with underscores (`session_expiry_interval`); user properties are a list of pairs,
subscription identifiers a list, correlation data bytes.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from tests.support.peers import WAIT_SECONDS, Login
from tests.support.peers import Heard as Heard

V311, V5 = 4, 5

Facts = Mapping[str, Any]
T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """What the hub answered, as far as the client tells."""

    code: int = 0
    properties: dict[str, Any] = {}
    session_present: bool = False


class Will(msgspec.Struct, frozen=True):
    """A will, at QoS 1."""

    topic: str
    payload: str
    properties: dict[str, Any] = {}


class Wishes(msgspec.Struct, frozen=True):
    """What a CONNECT shall say beside who it is."""

    clean: bool = True
    keep_alive: int = 60
    will: Will | None = None
    properties: dict[str, Any] = {}


class Client(ABC):
    """One client; `with` connects it and says goodbye."""

    def __init__(self, login: Login, version: int, wishes: Wishes) -> None:
        self.login = login
        self.version = version
        self.wishes = wishes

    def __enter__(self) -> Client:
        answer = self.connect()
        assert answer.code == 0, answer
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def connect(self) -> Answer:
        """Connect; give the CONNACK."""

    @abstractmethod
    def subscribe(self, topic_filter: str, qos: int = 1, *, options: Facts = {}, properties: Facts = {}) -> Answer:  # noqa: B006
        """Subscribe; give the SUBACK. `options`: no_local, retain_as_published, retain_handling."""

    @abstractmethod
    def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 1,
        *,
        retain: bool = False,
        properties: Facts = {},  # noqa: B006
    ) -> Answer:
        """Publish; come back when it is acknowledged, with the code and the properties if the client tells."""

    @abstractmethod
    def message(self) -> Heard:
        """Give the next message."""

    @abstractmethod
    def drop(self) -> None:
        """Lose the connection without a goodbye."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye, if there is anybody to say it to."""

    def end(self) -> Answer:
        """Wait until the hub says DISCONNECT; give what it said."""
        raise NotImplementedError

    def publish_twice_by_alias(self, topic: str, payload: str) -> None:
        """Publish the same message twice, the second time by a topic alias alone."""
        self.publish(topic, payload, properties={"topic_alias": 1})
        self.publish("", payload, properties={"topic_alias": 1})

    def publish_many(self, topic: str, payloads: Sequence[str]) -> None:
        """Publish at QoS 1 without a wait between two messages; come back when all are acknowledged."""
        raise NotImplementedError


class Loop:
    """An asyncio loop in a thread of its own, for libraries that want one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Give what `work` gives."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, WAIT_SECONDS), self.loop).result()

    def stop(self) -> None:
        """End the thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(WAIT_SECONDS)
            self.loop.close()
