"""What the CoAP protocol remembers of one link's messages, and what it tells its driver.

Source: RFC 7252 sections 4.2 to 4.8.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

from lockgate.adapters.coap.messages import OPTION_RULES, CoapMessage, Options

NO_KEY: Final = -1
"""The key of what nobody asks after."""

NOTIFICATION: Final = 0
RESPONSE: Final = 1
REQUEST: Final = 2

OSCORE: Final = 9
KNOWN_OPTIONS: Final = frozenset(OPTION_RULES) - {OSCORE}
"""The options that are understood without an OSCORE context."""

_URI_PATH: Final = 11
_URI_QUERY: Final = 15
_LONGEST_SEGMENT: Final = 255


@mypyc_attr(acyclic=True)
class Event:
    """What a driver is told."""

    __slots__ = ()

    def _key(self) -> tuple[object, ...]:
        return ()

    def __eq__(self, other: object) -> bool:
        """Compare by kind and value."""
        return isinstance(other, Event) and type(other) is type(self) and other._key() == self._key()

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash(self._key())

    def __repr__(self) -> str:
        """Show what it says."""
        return f"{type(self).__name__}{self._key()!r}"


@final
@mypyc_attr(acyclic=True)
class Request(Event):
    """The peer asks: answer it with `respond`, or `acknowledge` it and `respond` later.

    `is_repeated`: it came before, and its answer was too long to be kept: answer again, what it asks changes nothing.
    """

    __slots__ = ("is_multicast", "is_repeated", "message")

    def __init__(self, message: CoapMessage, is_repeated: bool = False, is_multicast: bool = False) -> None:
        self.message: CoapMessage = message
        self.is_repeated: bool = is_repeated
        self.is_multicast: bool = is_multicast

    def _key(self) -> tuple[object, ...]:
        return self.message, self.is_repeated, self.is_multicast


@final
@mypyc_attr(acyclic=True)
class Response(Event):
    """The peer answers the request that was sent with `key`."""

    __slots__ = ("key", "message")

    def __init__(self, message: CoapMessage, key: int) -> None:
        self.message: CoapMessage = message
        self.key: int = key

    def _key(self) -> tuple[object, ...]:
        return self.message, self.key


@mypyc_attr(acyclic=True)
class Settled(Event):
    """What became of a notification (or of a request of our own), by its key and token.

    The key is NO_KEY for the response that began an observation: who does not take that does not observe.
    """

    __slots__ = ("key", "token")

    def __init__(self, key: int, token: bytes) -> None:
        self.key: int = key
        self.token: bytes = token

    def _key(self) -> tuple[object, ...]:
        return self.key, self.token


@final
@mypyc_attr(acyclic=True)
class Acknowledged(Settled):
    """The peer has it."""

    __slots__ = ()


@final
@mypyc_attr(acyclic=True)
class Reset(Settled):
    """The peer does not know what it is about: its observation is over."""

    __slots__ = ()


@final
@mypyc_attr(acyclic=True)
class GaveUp(Settled):
    """The peer did not acknowledge it in time, or what was sent before it on the same observation."""

    __slots__ = ()


@final
@mypyc_attr(acyclic=True)
class Exchange:
    """A message that came, remembered so that it does not act twice (section 4.5).

    `answer` is what a repeat is answered with, b"" while there is none.
    """

    __slots__ = (
        "ack_at", "answer", "code", "expires_at", "is_acknowledged", "is_answered", "is_confirmable", "is_multicast",
        "no_response", "token",
    )  # fmt: skip

    def __init__(
        self, code: int, token: bytes, is_confirmable: bool, is_multicast: bool, no_response: int, expires_at: float,
        ack_at: float,
    ) -> None:  # fmt: skip
        self.code: int = code
        self.token: bytes = token
        self.is_confirmable: bool = is_confirmable
        self.is_multicast: bool = is_multicast
        self.no_response: int = no_response
        self.expires_at: float = expires_at
        self.ack_at: float = ack_at
        self.is_acknowledged: bool = False
        self.is_answered: bool = False
        self.answer: bytes = b""


@final
@mypyc_attr(acyclic=True)
class Outgoing:
    """A confirmable message of our own: it waits for its turn, then for its acknowledgement."""

    __slots__ = (
        "code",
        "data",
        "due_at",
        "key",
        "message_id",
        "options",
        "payload",
        "role",
        "timeout",
        "token",
        "tries",
    )

    def __init__(self, role: int, token: bytes, code: int, options: Options, payload: bytes, key: int) -> None:
        self.role: int = role
        self.token: bytes = token
        self.code: int = code
        self.options: Options = options
        self.payload: bytes = payload
        self.key: int = key
        self.message_id: int = 0
        self.data: bytes = b""
        self.timeout: float = 0.0
        self.due_at: float = 0.0
        self.tries: int = 0


@final
@mypyc_attr(acyclic=True)
class Asked:
    """A request of our own that has no response yet."""

    __slots__ = ("expires_at", "key")

    def __init__(self, key: int, expires_at: float) -> None:
        self.key: int = key
        self.expires_at: float = expires_at


def unacceptable(options: Options, known: frozenset[int]) -> int:
    """Give the first option that is not to be acted on, 0 where all are well.

    That is one that is not known, has a value of a length it cannot have (section 5.4.3), or stands once more than it
    may (section 5.4.5): all three are handled alike.
    """
    last = 0
    for number, value in options:
        if number in (_URI_PATH, _URI_QUERY):  # what most options are
            if len(value) > _LONGEST_SEGMENT:
                return number
        else:
            if number not in known:
                return number
            least, most, may_repeat = OPTION_RULES[number]
            if not least <= len(value) <= most or (number == last and not may_repeat):
                return number
        last = number
    return 0


def sift(options: Options, known: frozenset[int]) -> tuple[Options, int]:
    """Give the options without the elective ones that are to be ignored, and the first critical one (0: none).

    Source: RFC 7252 section 5.4.1.
    """
    if not unacceptable(options, known):
        return options, 0
    kept: list[tuple[int, bytes]] = []
    last = 0
    for number, value in options:
        if number in known:
            least, most, may_repeat = OPTION_RULES[number]
            if least <= len(value) <= most and (number != last or may_repeat):
                kept.append((number, value))
                last = number
                continue
        if number & 1:
            return options, number
    return tuple(kept), 0
