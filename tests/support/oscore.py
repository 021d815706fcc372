"""A device that protects its messages by OSCORE, on a link of a `CoapBook`; the mathematics is aiocoap's.

tap = OscoreDevice(book.stranger(), ID)
tap.asks(Code.PUT, "a", b"1").code          # meets a challenge once, as a device does
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from secrets import token_bytes
from typing import Any

from aiocoap import Code as AiocoapCode
from aiocoap import Message
from aiocoap.message import Direction
from aiocoap.numbers.optionnumbers import OptionNumber as AiocoapNumber

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Options, Type
from lockgate.adapters.coap.oscore import Contexts, SecurityContext
from lockgate.adapters.coap.protected import offer
from lockgate.identity import Authenticator
from lockgate.identity.oscore import HUB_ID, OscoreSecrets, find_context
from lockgate.model.permission import Rule
from lockgate.registry.vault import Vault
from lockgate.settings import CoapSettings, Settings
from tests.support.coap_book import CoapBook, Device
from tests.support.fakes import EVERYTHING
from tests.support.registry import FakeRegistry, oscore

ID = b"\xa1\xb2"
SECRET, SALT = b"s" * 16, b"t" * 8
ON = Settings(coap=CoapSettings(oscore_enabled=True))


def oscore_book(
    vault: Vault,
    settings: Settings = ON,
    registry: FakeRegistry | None = None,
    rules: tuple[Rule, ...] = EVERYTHING,
    first: int = 0,
    numbers: Callable[[], int] | None = None,
) -> tuple[CoapBook, FakeRegistry]:
    """Give a hub with the device `tap`, whose context has `ID`; the hub's own numbers begin with `first`."""
    known = registry or FakeRegistry()
    if registry is None:
        known.add("tap", oscore(vault, "tap", ID, SECRET, SALT))
    book = CoapBook(settings, rules)
    book.rules.registered = known.devices
    book.coap.authenticator = Authenticator(known, settings.identity)
    counted = count(first)

    def find(device_id: bytes) -> OscoreSecrets | None:
        return find_context(known, vault, device_id)

    offer(book.coap, Contexts(find, numbers or (lambda: next(counted)), token_bytes(32)))
    return book, known


def protected_request(
    device: OscoreDevice, code: int, path: str, payload: bytes = b"", *options: tuple[int, bytes], token: bytes = b"t"
) -> CoapMessage:
    """Give a request as it goes out, without a link that it goes by."""
    outer_code, said, body = device.protected(code, path, payload, options, token)
    return CoapMessage(Type.CON, outer_code, 1, token, said, body)


class OscoreDevice:
    """The device's side: what it sends is protected, and what it gets is opened."""

    def __init__(
        self, device: Device | None, device_id: bytes = ID, secret: bytes = SECRET, salt: bytes = SALT, first: int = 0,
        numbers: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        self._device = device
        secrets = OscoreSecrets(1, "hub", secret, salt, HUB_ID, device_id)
        counted = count(first)
        self.take = numbers or (lambda: next(counted))
        self.context = SecurityContext(secrets, self.take)
        self.context.recipient_replay_window.initialize_empty()
        self._asked: dict[bytes, Any] = {}

    @property
    def device(self) -> Device:
        """The link that it is on."""
        assert self._device is not None
        return self._device

    def moves(self, device: Device) -> OscoreDevice:
        """Go on from another address."""
        self._device = device
        return self

    def protected(
        self, code: int, path: str, payload: bytes, options: Options, token: bytes
    ) -> tuple[int, Options, bytes]:
        """Give code, options and payload of the outer request."""
        message = Message(code=AiocoapCode(code), payload=payload)
        levels = [(int(OptionNumber.URI_PATH), level.encode()) for level in path.split("/")] if path else []
        for number, value in wire.in_order([*levels, *options]):
            message.opt.add_option(AiocoapNumber(number).create_option(decode=value))
        outer, self._asked[token] = self.context.protect(message)
        said = [(9, bytes(outer.opt.oscore))]
        if outer.opt.observe is not None:
            said.append((6, wire.encode_uint(outer.opt.observe)))
        return int(outer.code), wire.in_order(said), bytes(outer.payload)

    def sends(
        self, code: int, path: str = "", payload: bytes = b"", *options: tuple[int, bytes], token: bytes = b"",
        type: int = Type.CON,
    ) -> CoapMessage:  # fmt: skip
        """Send a request; give it as it went."""
        token = token or self.device._message_id.to_bytes(2, "big")
        outer_code, said, body = self.protected(code, path, payload, options, token)
        return self.device.sends(outer_code, "", body, *said, token=token, type=type)

    def opened(self, outer: CoapMessage) -> CoapMessage:
        """Open an answer."""
        message = Message(code=AiocoapCode(outer.code), payload=outer.payload)
        message.direction = Direction.INCOMING
        message.opt.oscore = outer.option(9)
        message.opt.observe = outer.number(6)
        inner, _ = self.context.unprotect(message, self._asked[outer.token])
        observe = [(6, b"")] if inner.opt.observe is not None else []
        inner.opt.observe = None
        options = [*observe, *((int(each.number), bytes(each.encode())) for each in inner.opt.option_list())]
        return CoapMessage(
            outer.type, int(inner.code), outer.message_id, outer.token, wire.in_order(options), bytes(inner.payload)
        )

    def messages(self) -> list[CoapMessage]:
        """Open everything that came since the last time."""
        return [self.opened(each) for each in self.device.messages()]

    def asks_once(
        self, code: int, path: str = "", payload: bytes = b"", *options: tuple[int, bytes], token: bytes = b"",
        type: int = Type.CON,
    ) -> CoapMessage:  # fmt: skip
        """Ask; see exactly one answer, and give it opened."""
        self.sends(code, path, payload, *options, token=token, type=type)
        (answer,) = self.messages()
        return answer

    def asks(
        self, code: int, path: str = "", payload: bytes = b"", *options: tuple[int, bytes], token: bytes = b"",
        type: int = Type.CON,
    ) -> CoapMessage:  # fmt: skip
        """Ask; repeat a challenge, if one comes; give the answer."""
        answer = self.asks_once(code, path, payload, *options, token=token, type=type)
        echo = answer.option(OptionNumber.ECHO)
        if answer.code == Code.UNAUTHORIZED and echo is not None:
            options = (*options, (int(OptionNumber.ECHO), echo))
            answer = self.asks_once(code, path, payload, *options, token=token, type=type)
        return answer

    def observes(self, path: str, token: bytes = b"\x01", type: int = Type.CON) -> CoapMessage:
        """Observe; give the first answer."""
        return self.asks(Code.GET, path, b"", (OptionNumber.OBSERVE, b""), token=token, type=type)
