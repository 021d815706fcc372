"""What the office hands to the gate: a CoAP request on somebody's behalf; and what it gets back. One frame each way.

A frame is its length in four bytes, most significant first, and so many bytes of MessagePack.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lockgate.model.principal import Principal

HEAD_BYTES: Final = 4
MAX_BESIDE_BODY_BYTES: Final = 65_536
"""How much a frame may be longer than the largest body: names and options, which HTTP's headers bound as well."""

Option = tuple[int, bytes]


class OnBehalf(msgspec.Struct, frozen=True, array_like=True):
    """A request, and who asks: what the office has proven, and the gate looks up again."""

    device: str
    auth: str
    credential_id: int
    expires_at: float | None
    host: str
    port: int
    code: int
    options: tuple[Option, ...]
    payload: bytes

    def principal(self, client_id: str) -> Principal:
        """Give who asks."""
        return Principal(self.device, client_id, self.auth, self.credential_id, self.expires_at)


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The response."""

    code: int
    options: tuple[Option, ...] = ()
    payload: bytes = b""


def framed(record: OnBehalf | Reply) -> bytes:
    """Give the frame of a record."""
    data = msgspec.msgpack.encode(record)
    return len(data).to_bytes(HEAD_BYTES, "big") + data


def decode_request(data: bytes) -> OnBehalf:
    """Give the request in a frame's bytes.

    Raises:
        msgspec.MsgspecError: they hold none.
    """
    return msgspec.msgpack.decode(data, type=OnBehalf)


def decode_reply(data: bytes) -> Reply:
    """Give the reply in a frame's bytes.

    Raises:
        msgspec.MsgspecError: they hold none.
    """
    return msgspec.msgpack.decode(data, type=Reply)
