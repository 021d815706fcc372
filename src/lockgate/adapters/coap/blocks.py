"""Bodies that are longer than a datagram, in blocks, both ways, as a server has them; `transfer` has the client's side.

What comes in (Block1) is gathered and given to the driver whole; what goes out (Block2) is sliced, and kept for a while
so that all slices are of one representation. A notification carries the first slice; the observer asks for the others.

What is full: a device that begins more than `max_partial_bodies` bodies, each way, loses its oldest; when the bodies
of all devices take more than `max_partial_bytes`, the one that has waited longest goes. Whose body is gone is told 4.08
and begins again.

Source: RFC 7959; RFC 9175 section 3 (Request-Tag).
"""

from __future__ import annotations

from typing import Final, TypeAlias, final

from mypy_extensions import mypyc_attr

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import NO_OPTIONS, CoapError, CoapMessage, Options, dotted
from lockgate.settings import CoapSettings

BODY_BYTES: Final = 512
"""What a body takes that has no bytes yet."""
OPTION_BYTES: Final = 128
"""What an option of its request takes, beside its value."""

Key: TypeAlias = tuple[int, Options]

_OBSERVE: Final = 6
_ETAG: Final = 4
_BLOCK2: Final = 23
_BLOCK1: Final = 27
_SIZE2: Final = 28
_SIZE1: Final = 60
_NO_RESPONSE: Final = 258
_CONTINUE: Final = 95
_BAD_REQUEST: Final = 128
_INCOMPLETE: Final = 136
_TOO_LARGE: Final = 141
_GET: Final = 1
_FETCH: Final = 5
_NEVER: Final = 1e300


@final
@mypyc_attr(acyclic=True)
class Block:
    """The value of a Block option (section 2.2): the number of a block, whether more follow, their size in bytes."""

    __slots__ = ("is_more", "number", "size")

    def __init__(self, number: int, is_more: bool, size: int) -> None:
        self.number: int = number
        self.is_more: bool = is_more
        self.size: int = size

    @property
    def offset(self) -> int:
        """Where the block begins in its body, in bytes."""
        return self.number * self.size

    def encode(self) -> bytes:
        """Give the option's value."""
        return wire.encode_uint(self.number << 4 | (8 if self.is_more else 0) | self.size.bit_length() - 5)


def decode_block(value: bytes, refusal: int = _BAD_REQUEST) -> Block:
    """Give what a Block option says.

    Raises:
        CoapError: `refusal` (4.00) for the reserved size (section 2.2).
    """
    number = wire.decode_uint(value)
    exponent = number & 7
    if exponent == 7:
        raise CoapError(refusal, "the size exponent 7 of a Block option is reserved")
    return Block(number >> 4, number & 8 != 0, 16 << exponent)


@final
@mypyc_attr(acyclic=True)
class Answer:
    """What to respond with, or to ask with."""

    __slots__ = ("code", "options", "payload")

    def __init__(self, code: int, options: Options = NO_OPTIONS, payload: bytes = b"") -> None:
        self.code: int = code
        self.options: Options = options
        self.payload: bytes = payload

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return (
            isinstance(other, Answer)
            and self.code == other.code
            and self.options == other.options
            and self.payload == other.payload
        )

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash((self.code, self.options, self.payload))

    def __repr__(self) -> str:
        """Show what it says; of the payload the length."""
        return f"Answer({dotted(self.code)}, {self.options!r}, {len(self.payload)} bytes)"


def refused(error: CoapError) -> Answer:
    """Give the answer that an error asks for, with its sentence as diagnostic payload (RFC 7252 section 5.5.2)."""
    return Answer(error.code, error.options, str(error).encode())


def body_key(request: CoapMessage) -> Key:
    """Give what tells one body of a link from another: the method, and the options that make the Cache-Key.

    Source: RFC 7959 sections 2.3 and 2.4, RFC 7252 section 5.4.2 (NoCacheKey), RFC 9175 section 3.3 (Request-Tag).
    """
    kept = []
    for option in request.options:
        number = option[0]
        if number & 0x1E == 0x1C or number in (_OBSERVE, _ETAG, _BLOCK2, _BLOCK1, _NO_RESPONSE):
            continue
        kept.append(option)
    return request.code, tuple(kept)


def _kept_key(request: CoapMessage) -> Key:
    """Give what tells one response of a link from another: for FETCH the body is part of what is asked."""
    code, options = body_key(request)
    return (code, (*options, (0, request.payload))) if code == _FETCH else (code, options)


class Body:
    """A body under way."""

    __slots__ = ("expires_at", "held_bytes", "is_gone")

    def __init__(self) -> None:
        self.expires_at: float = 0.0
        self.held_bytes: int = 0
        self.is_gone: bool = False

    def clear(self) -> None:
        """Let the bytes go."""
        self.is_gone = True


@final
class Gathered(Body):
    """A body that comes in."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        super().__init__()
        self.data: bytearray = bytearray()

    def clear(self) -> None:
        """Let the bytes go."""
        super().clear()
        self.data = bytearray()


@final
class Kept(Body):
    """A representation that goes out."""

    __slots__ = ("answer",)

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer: Answer = answer

    def clear(self) -> None:
        """Let the bytes go."""
        super().clear()
        self.answer = Answer(_INCOMPLETE)


@final
class BodyBudget:
    """How many bytes of bodies under way all links hold together.

    Args:
        max_bytes: beyond it the body goes that has waited longest for its next block.
    """

    def __init__(self, max_bytes: int) -> None:
        self.held_bytes: int = 0
        self.dropped_number: int = 0
        """How many bodies had to go."""
        self._max_bytes: int = max_bytes
        self._bodies: dict[Body, None] = {}

    def hold(self, body: Body, size: int) -> None:
        """Count `size` bytes more for a body that goes on; this one, too, may be gone after it."""
        body.held_bytes += size
        self.held_bytes += size
        self._bodies.pop(body, None)
        self._bodies[body] = None  # the last to go
        while self.held_bytes > self._max_bytes:
            self.release(next(iter(self._bodies)))
            self.dropped_number += 1

    def release(self, body: Body) -> None:
        """Count a body no longer."""
        if body in self._bodies:
            del self._bodies[body]
            self.held_bytes -= body.held_bytes
        body.clear()


@final
class Blocks:
    """One link's bodies under way.

    Args:
        settings: the door's.
        budget: what all links of the door share.
    """

    def __init__(self, settings: CoapSettings, budget: BodyBudget) -> None:
        self._budget: BodyBudget = budget
        self._size: int = settings.block_bytes
        self._max_body: int = settings.max_body_bytes
        self._max_bodies: int = settings.max_partial_bodies
        self._deadline: float = settings.partial_deadline_seconds
        self._gathered: dict[Key, Gathered] = {}
        self._kept: dict[Key, Kept] = {}

    # What comes in

    def receive(self, request: CoapMessage, now: float) -> CoapMessage | Answer:
        """Give the request with its whole body, for the driver to act on; or the answer to a part of one.

        The options of the request stay as they are: `answer` wants to see them.
        """
        options = request.options
        if not options or options[-1][0] < _BLOCK2:
            return request
        one, two = request.option(_BLOCK1), request.option(_BLOCK2)
        if one is None and two is None:
            return request
        try:
            if two is not None:
                wanted = decode_block(two)
                if wanted.number:
                    return self._resume(request, wanted, now)
            if one is not None:
                return self._gather(request, decode_block(one), now)
        except CoapError as error:
            return refused(error)
        return request

    def _gather(self, request: CoapMessage, block: Block, now: float) -> CoapMessage | Answer:
        """Add a block to its body (section 2.3)."""
        size, offset = len(request.payload), block.offset
        if block.is_more and size != block.size:
            raise CoapError(_BAD_REQUEST, f"a block that others follow has {block.size} bytes, not {size}")
        if size > block.size:
            raise CoapError(_BAD_REQUEST, f"a block of {block.size} bytes has {size}")
        announced = request.number(_SIZE1)
        if offset + size > self._max_body or (announced is not None and announced > self._max_body):
            self._drop_gathered(body_key(request))
            raise CoapError(
                _TOO_LARGE, f"a body has at most {self._max_body} bytes",
                options=((_SIZE1, wire.encode_uint(self._max_body)),),
            )  # fmt: skip
        if offset == 0 and not block.is_more:
            return request
        key = body_key(request)
        body = self._gathered.get(key)
        if offset == 0:
            body = self._begin(key)
        elif body is None or body.is_gone or body.expires_at <= now:
            self._drop_gathered(key)
            raise CoapError(_INCOMPLETE, "the blocks before this one are not here: begin again with the first")
        data = body.data
        body.expires_at = now + self._deadline
        if offset == len(data):
            data += request.payload
            if not block.is_more:
                whole = bytes(data)
                self._drop_gathered(key)
                return request.with_(request.options, whole)
            self._budget.hold(body, size if offset else size + _size_of(key))
            if body.is_gone:
                raise CoapError(_INCOMPLETE, "there is no room for so many bodies at once: begin again later")
        elif not block.is_more or data[offset : offset + size] != request.payload:
            self._drop_gathered(key)
            raise CoapError(_INCOMPLETE, f"after {len(data)} bytes came the block at {offset}: begin again")
        # Smaller blocks are agreed on with the first one (section 2.3, figure 8).
        granted = block.size if block.number else min(block.size, self._size)
        return Answer(_CONTINUE, ((_BLOCK1, Block(block.number, True, granted).encode()),))

    def _begin(self, key: Key) -> Gathered:
        self._drop_gathered(key)
        if len(self._gathered) >= self._max_bodies:
            self._drop_gathered(next(iter(self._gathered)))
        body = self._gathered[key] = Gathered()
        return body

    def _drop_gathered(self, key: Key) -> None:
        body = self._gathered.pop(key, None)
        if body is not None:
            self._budget.release(body)

    # What goes out

    def answer(self, request: CoapMessage, code: int, options: Options, payload: bytes, now: float) -> Answer:
        """Give what to send of a response, or of a notification by the request that began its observation.

        Of a long payload that is the slice that was asked for, the first by default; the whole is kept for the rest.
        """
        asked = request.options
        if (not asked or asked[-1][0] < _BLOCK2) and len(payload) <= self._size:
            return Answer(code, options, payload)
        one, two = request.option(_BLOCK1), request.option(_BLOCK2)
        try:
            wanted = Block(0, False, self._size) if two is None else decode_block(two)
            if one is not None:  # the final response says which block it is about (section 2.3)
                last = decode_block(one)
                options = with_option(options, _BLOCK1, Block(last.number, False, last.size).encode())
        except CoapError as error:
            return refused(error)
        if wanted.number == 0 and len(payload) <= min(wanted.size, self._size):
            if two is not None:  # who asks for blocks is told that this is the only one
                options = with_option(options, _BLOCK2, Block(0, False, min(wanted.size, self._size)).encode())
            return Answer(code, options, payload)
        whole = Answer(code, options, payload)
        self._keep(_kept_key(request), whole, now)
        return self._slice(request, whole, wanted)

    def _resume(self, request: CoapMessage, wanted: Block, now: float) -> CoapMessage | Answer:
        """Give a further slice of what is kept; the request itself where the driver is to make it anew."""
        kept = self._kept.get(_kept_key(request))
        if kept is not None and not kept.is_gone and kept.expires_at > now:
            kept.expires_at = now + self._deadline
            self._budget.hold(kept, 0)
            return self._slice(request, kept.answer, wanted)
        if request.code in (_GET, _FETCH):
            return request
        # To make it anew would be to act twice.
        return Answer(_INCOMPLETE, NO_OPTIONS, b"the response is not kept any more")

    def _slice(self, request: CoapMessage, whole: Answer, wanted: Block) -> Answer:
        size = min(wanted.size, self._size)
        start, total = wanted.offset, len(whole.payload)
        if start >= total:
            return self._beyond(total)
        end = start + size
        options = with_option(whole.options, _BLOCK2, Block(start // size, end < total, size).encode())
        if start:
            # Only the first slice is a notification (section 2.6). Who says Observe for the others too, as npm's coap
            # does, waits for it in them.
            if request.option(_OBSERVE) is None:
                options = without_options(options, _OBSERVE)
        else:
            options = with_option(options, _SIZE2, wire.encode_uint(total))  # section 4: how much will come
        return Answer(whole.code, options, whole.payload[start:end])

    def _beyond(self, total: int) -> Answer:
        return Answer(_BAD_REQUEST, NO_OPTIONS, f"the body ends at {total} bytes".encode())

    def _keep(self, key: Key, whole: Answer, now: float) -> None:
        self._drop_kept(key)
        if len(self._kept) >= self._max_bodies:
            self._drop_kept(next(iter(self._kept)))
        kept = self._kept[key] = Kept(whole)
        kept.expires_at = now + self._deadline
        self._budget.hold(kept, len(whole.payload) + _size_of(key))

    def _drop_kept(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._budget.release(kept)

    # Time, and the end

    def next_timer(self) -> float | None:
        """Give the monotonic second at which `handle_timer` wants to be called, None for never."""
        if not self._gathered and not self._kept:
            return None
        at = _NEVER
        for body in self._gathered.values():
            at = min(at, body.expires_at)
        for kept in self._kept.values():
            at = min(at, kept.expires_at)
        return at

    def handle_timer(self, now: float) -> None:
        """Forget the bodies that did not go on in time, or had to go."""
        for key, body in list(self._gathered.items()):
            if body.is_gone or body.expires_at <= now:
                self._drop_gathered(key)
        for key, kept in list(self._kept.items()):
            if kept.is_gone or kept.expires_at <= now:
                self._drop_kept(key)

    def close(self) -> None:
        """Forget all: the link is gone."""
        self.handle_timer(_NEVER)


def _size_of(key: Key) -> int:
    """Give about how many bytes a body takes beside its own: many short ones with long names are memory, too."""
    return BODY_BYTES + sum([OPTION_BYTES + len(value) for _, value in key[1]])


def with_option(options: Options, number: int, value: bytes) -> Options:
    """Give the options with this one, in place of those with its number."""
    before = [option for option in options if option[0] < number]
    behind = [option for option in options if option[0] > number]
    return (*before, (number, value), *behind)


def without_options(options: Options, *numbers: int) -> Options:
    """Give the options without those of these numbers."""
    return tuple([option for option in options if option[0] not in numbers])
