"""Records into bytes and back (MessagePack), as the databases keep them: each by the names of its fields."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from lockgate.model.message import Message, MessageProperties
from lockgate.model.principal import Principal

_T = TypeVar("_T")


def _fields_of(record: Any) -> dict[str, Any]:
    names: tuple[str, ...]
    if isinstance(record, Principal):
        names = ("device", "client_id", "auth", "credential_id", "expires_at")
    elif isinstance(record, Message):
        names = ("topic", "payload", "qos", "retain", "properties", "expires_at", "publisher")
    else:
        raise NotImplementedError(f"{type(record).__name__} is not kept")
    return {name: getattr(record, name) for name in names}


class _PrincipalFields(msgspec.Struct):
    device: str
    client_id: str
    auth: str
    credential_id: int = 0
    expires_at: float | None = None


class _MessageFields(msgspec.Struct):
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: MessageProperties | None = None
    expires_at: float | None = None
    publisher: str = ""


def _made_of(kind: type, fields: Any) -> Any:
    """Check the fields of a record that msgspec does not know, and make it."""
    checked = msgspec.convert(fields, _PrincipalFields if kind is Principal else _MessageFields)
    return kind(**msgspec.structs.asdict(checked))


_encode = msgspec.msgpack.Encoder(enc_hook=_fields_of).encode


def pack(record: object) -> bytes:
    """Give the bytes of a record."""
    return _encode(record)


def unpack(body: bytes, kind: type[_T]) -> _T:
    """Give the record of this kind.

    Raises:
        msgspec.MsgspecError: when the bytes are none.
    """
    return msgspec.msgpack.decode(body, type=kind, dec_hook=_made_of)
