"""A request of our own and its response in blocks: a client's side of what `blocks` is for a server.

Source: RFC 7959 sections 2.3 to 2.8 and 3; RFC 9175 section 3.4.
"""

from __future__ import annotations

from typing import Final, final

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.blocks import Answer, Block, decode_block, with_option, without_options
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Options
from lockgate.settings import CoapSettings

MAX_RESTARTS: Final = 3
"""How often a body is begun again that changes while it is fetched (section 2.4)."""

_FETCH: Final = 5
_OBSERVE: Final = 6
_ETAG: Final = 4
_BLOCK2: Final = 23
_BLOCK1: Final = 27
_SIZE2: Final = 28
_SIZE1: Final = 60
_REQUEST_TAG: Final = 292
_CONTINUE: Final = 95
_BAD_REQUEST: Final = 128
_TOO_LARGE: Final = 141
_BAD_GATEWAY: Final = 162


@final
class Transfer:
    """A request of our own with the response to it, in as many blocks as each takes.

    Send what `next_request` gives, hand the response to `receive`, and begin again until that gives the whole one.

    Args:
        settings: the door's.
        code: the method.
        options: without Block options.
        payload: the body.
        tag: a Request-Tag, so that two bodies for one resource are not mixed up (RFC 9175 section 3.4); b"" for none.
    """

    def __init__(
        self, settings: CoapSettings, code: int, options: Options, payload: bytes = b"", tag: bytes = b""
    ) -> None:
        self._code: int = code
        self._options: Options = options
        self._payload: bytes = payload
        self._size: int = settings.block_bytes
        self._max_body: int = settings.max_body_bytes
        self._sent: int = 0
        self._is_sliced: bool = len(payload) > self._size
        self._is_sent: bool = False
        self._next: Block | None = None
        self._gathered: bytearray = bytearray()
        self._first: CoapMessage | None = None
        self._restarts: int = 0
        if tag and self._is_sliced:
            self._options = with_option(options, _REQUEST_TAG, tag)

    @property
    def held_bytes(self) -> int:
        """How much of bodies it holds: what is to be sent, and what has come."""
        return len(self._payload) + len(self._gathered)

    def next_request(self) -> Answer:
        """Give what to ask next."""
        if self._next is not None:
            options = with_option(without_options(self._options, _OBSERVE), _BLOCK2, self._next.encode())
            # The body is there already; but a FETCH is about its body, and says it each time (RFC 8132 section 2.3).
            return Answer(self._code, options, self._payload if self._code == _FETCH and not self._is_sliced else b"")
        if not self._is_sliced:
            return Answer(self._code, self._options, self._payload)
        end = self._sent + self._size
        block = Block(self._sent // self._size, end < len(self._payload), self._size)
        options = with_option(self._options, _BLOCK1, block.encode())
        if self._sent == 0:
            options = with_option(options, _SIZE1, wire.encode_uint(len(self._payload)))
        return Answer(self._code, options, self._payload[self._sent : end])

    def receive(self, response: CoapMessage) -> CoapMessage | None:
        """Take the response to the last request; give the whole one, None where `next_request` is to go on.

        Raises:
            CoapError: 5.02 for nonsense, and for a body longer than `max_body_bytes`.
        """
        if self._is_sliced and not self._is_sent and self._go_on(response):
            return None
        self._is_sent = True
        two = response.option(_BLOCK2)
        if response.code >= _BAD_REQUEST:
            return response
        if two is None:
            if self._gathered:
                raise CoapError(_BAD_GATEWAY, "a response in blocks ended without its last one")
            return response
        return self._gather(response, decode_block(two, _BAD_GATEWAY))

    def _go_on(self, response: CoapMessage) -> bool:
        """Say whether there is more to send, after what the peer says to the last block (section 2.3)."""
        one = response.option(_BLOCK1)
        granted = self._size if one is None else min(decode_block(one, _BAD_GATEWAY).size, self._size)
        if response.code == _CONTINUE:
            self._sent += self._size
            self._size = granted
            if self._sent >= len(self._payload):
                raise CoapError(_BAD_GATEWAY, "the device asks for more than there is")
            return True
        if response.code == _TOO_LARGE and granted < self._size and self._sent == 0:  # it wants smaller ones
            self._size = granted
            return True
        return False

    def _gather(self, response: CoapMessage, block: Block) -> CoapMessage | None:
        """Add a block of the response (section 2.4)."""
        first = self._first
        if first is not None and first.option(_ETAG) != response.option(_ETAG):
            self._restart()
            return None
        if block.offset != len(self._gathered):
            raise CoapError(_BAD_GATEWAY, f"after {len(self._gathered)} bytes came the block at {block.offset}")
        if block.is_more and len(response.payload) != block.size:
            raise CoapError(_BAD_GATEWAY, f"a block of {block.size} bytes has {len(response.payload)}")
        self._gathered += response.payload
        if len(self._gathered) > self._max_body:
            raise CoapError(_BAD_GATEWAY, f"the response is longer than {self._max_body} bytes (coap.max_body_bytes)")
        if first is None:
            self._first = first = response
        if block.is_more:
            size = min(block.size, self._size)
            self._next = Block(len(self._gathered) // size, False, size)
            return None
        return first.with_(without_options(first.options, _BLOCK2, _SIZE2, _BLOCK1), bytes(self._gathered))

    def _restart(self) -> None:
        """Begin with the first block again: the representation has changed meanwhile."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise CoapError(_BAD_GATEWAY, "the representation changes faster than it can be fetched")
        self._gathered.clear()
        self._first = None
        self._next = Block(0, False, self._size)
