"""OSCORE: each message protected by itself, end to end, whatever carries it. Opens requests and protects their answers.

    outer request --opened--> Asked (the request inside, and how to answer it) --protect--> outer answer

The keys, the replay window and the protection itself are aiocoap's; here stands when to trust them. A context is made
when its device first asks, and its replay window is empty of memory then: what the device sent before is not known any
more. So its first request is answered with a challenge, and acts only when it comes again with that in it (RFC 8613
appendix B.1.2). The challenge is bound to the address that asked: who repeats it has shown that it is fresh, and where
it is. An answer is protected under the number of its request, once; all else takes a number of the hub's own, from
`next_number`, which never gives one twice (appendix B.1.1).

Source: RFC 8613 sections 4, 5 and 8; appendix B.1.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final, final

from aiocoap import Code as AiocoapCode
from aiocoap import Message as AiocoapMessage
from aiocoap import oscore
from aiocoap.message import Direction
from aiocoap.numbers.optionnumbers import OptionNumber as AiocoapNumber

from lockgate.adapters.coap.messages import NO_OPTIONS, CoapMessage, Code, Options
from lockgate.adapters.coap.wire import decode_uint
from lockgate.errors import AuthenticationFailed, LockgateError
from lockgate.identity.oscore import OscoreSecrets

CHALLENGE_BYTES: Final = 8
MAX_DEVICE_ID_BYTES: Final = 7
"""Of AES-CCM-16-64-128 (section 3.3)."""
_OBSERVE: Final = 6
_OSCORE: Final = 9
_MAX_AGE: Final = 14
_NO_RESPONSE: Final = 258
_DEREGISTER: Final = (_OBSERVE, b"\1")


class Refused(Exception):
    """A request that was not opened: how to answer it, unprotected, and what the journal is told.

    Args:
        code: the response code (section 8.2).
        text: the diagnostic payload, in the standard's words.
        error: why, and what mends it; its evidence names the context.
        device: whose context it claims to be, "" where that is nobody's.
        options: what stands in the answer.
    """

    def __init__(
        self, code: int, text: str, error: LockgateError, device: str = "", options: Options = NO_OPTIONS
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.error = error
        self.device = device
        self.options = options


class Challenged(Exception):
    """A request that may be an old one: the answer that asks for it again, protected."""

    def __init__(self, code: int, options: Options, payload: bytes) -> None:
        super().__init__("the replay window is not known")
        self.code = code
        self.options = options
        self.payload = payload


class SecurityContext(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]
    """What the hub and one device share: section 3. The numbers of the hub come from outside.

    Args:
        secrets: of the registry.
        next_number: gives a sender sequence number that was never given before.
    """

    def __init__(self, secrets: OscoreSecrets, next_number: Callable[[], int]) -> None:
        self.alg_aead = oscore.algorithms[oscore.DEFAULT_ALGORITHM]
        self.hashfun = oscore.hashfunctions[oscore.DEFAULT_HASHFUNCTION]
        self.sender_id = secrets.hub_id
        self.recipient_id = secrets.device_id
        self.id_context = None
        self.derive_keys(secrets.master_salt, secrets.master_secret)
        self.recipient_replay_window = oscore.ReplayWindow(oscore.DEFAULT_WINDOWSIZE, lambda: None)
        self.echo_recovery: bytes | None = None
        self.device = secrets.device
        self.credential_id = secrets.credential_id
        self._next_number = next_number

    def __repr__(self) -> str:
        """Show whose it is, never a key."""
        return f"<OSCORE context of {self.device!r}, id={self.recipient_id.hex()}>"

    @property
    def is_fresh(self) -> bool:
        """Whether the replay window is known."""
        return bool(self.recipient_replay_window.is_initialized())

    def new_sequence_number(self) -> int:
        """Give the next sender sequence number."""
        return self._next_number()

    def post_seqnoincrease(self) -> None:
        """Nothing: numbers are kept where they come from."""


@final
class Asked:
    """A request that was opened, and how to answer it.

    `request` is the one inside, with the type, message id and token of the outer one. `is_place_proven` says that it
    held a challenge which was sent to the address that it came from.
    """

    __slots__ = ("_context", "_request_id", "is_place_proven", "outer", "request")

    def __init__(
        self, context: SecurityContext, request_id: Any, outer: CoapMessage, request: CoapMessage, is_place_proven: bool
    ) -> None:
        self._context = context
        self._request_id = request_id
        self.outer = outer
        self.request = request
        self.is_place_proven = is_place_proven

    @property
    def device(self) -> str:
        """Whose context opened it."""
        return str(self._context.device)

    @property
    def device_id(self) -> bytes:
        """The id of that context."""
        return bytes(self._context.recipient_id)

    def is_waived(self, code: int) -> bool:
        """Say whether the device does not want an answer of this class (RFC 7967; a Class E option)."""
        value = self.request.option(_NO_RESPONSE)
        return value is not None and decode_uint(value) >> ((code >> 5) - 1) & 1 != 0

    def protect(self, code: int, options: Options, payload: bytes) -> tuple[int, Options, bytes]:
        """Give code, options and payload of the outer answer. One request may have many: it may observe.

        Raises:
            LockgateError: the hub's own numbers cannot be had.
        """
        message = AiocoapMessage(code=AiocoapCode(code), payload=payload)
        outside: list[tuple[int, bytes]] = []
        for number, value in options:
            if number == _OBSERVE:  # section 4.1.3.5: its value is outside, for proxies; the order is our own number's
                outside.append((number, value))
                value = b""
                self._request_id.get_reusable_kid_and_piv()  # not used: notifications are ordered by our own numbers
            message.opt.add_option(AiocoapNumber(number).create_option(decode=value))
        outer, _ = self._context.protect(message, self._request_id)
        outside.append((_OSCORE, bytes(outer.opt.oscore)))
        return int(outer.code), tuple(outside), bytes(outer.payload)


@final
class Contexts:
    """The contexts of all devices.

    Args:
        find: gives the secrets of a context by its id, None where it is nobody's or was revoked.
        next_number: gives a sender sequence number that was never given before, to no context.
        key: random bytes of this process.
    """

    def __init__(
        self, find: Callable[[bytes], OscoreSecrets | None], next_number: Callable[[], int], key: bytes
    ) -> None:
        self._find = find
        self._next_number = next_number
        self._key = key
        self._contexts: dict[bytes, SecurityContext] = {}

    def __len__(self) -> int:
        """Give the number of contexts that are in use: never more than are registered, and were seen not revoked."""
        return len(self._contexts)

    def opened(self, outer: CoapMessage, host: str, port: int) -> Asked:
        """Give the request inside a request with an OSCORE option that came from an address.

        Raises:
            Challenged: it must come again, with what it is asked for.
            Refused: it cannot be opened, or came before.
        """
        message = AiocoapMessage(code=AiocoapCode(outer.code), payload=outer.payload)
        message.direction = Direction.INCOMING
        message.opt.oscore = outer.option(_OSCORE)
        message.opt.observe = outer.number(_OBSERVE)
        context = self._context(_device_id(message))
        place = self._place(host, port, context.recipient_id)
        was_fresh = context.is_fresh
        context.echo_recovery = None if was_fresh else place
        try:
            inner, request_id = context.unprotect(message)
        except oscore.ReplayErrorWithEcho as challenge:
            answer = challenge.to_message()
            raise Challenged(
                int(answer.code), ((_OSCORE, bytes(answer.opt.oscore)),), bytes(answer.payload)
            ) from challenge
        except oscore.ReplayError as error:
            raise _replayed(context) from error
        except LockgateError:
            raise
        except Exception as error:  # the library has many words for bytes that are not what they should be
            raise _not_decrypted(context) from error
        if not inner.code.is_request():
            raise _not_decrypted(context)
        options = [(int(each.number), bytes(each.encode())) for each in inner.opt.option_list()]
        if outer.number(_OBSERVE) == 1:  # what the library leaves out; section 4.1.3.5: inside and outside are the same
            options = sorted([_DEREGISTER, *options])
        request = CoapMessage(
            outer.type, int(inner.code), outer.message_id, outer.token, tuple(options), bytes(inner.payload)
        )
        return Asked(context, request_id, outer, request, not was_fresh)

    def _context(self, device_id: bytes) -> SecurityContext:
        secrets = self._find(device_id) if len(device_id) <= MAX_DEVICE_ID_BYTES else None
        if secrets is None:
            self._contexts.pop(device_id, None)
            raise _unknown(device_id.hex())
        known = self._contexts.get(device_id)
        if known is None or known.credential_id != secrets.credential_id:
            known = self._contexts[device_id] = SecurityContext(secrets, self._next_number)
        return known

    def _place(self, host: str, port: int, device_id: bytes) -> bytes:
        """Give what a device must repeat from an address while its replay window is not known."""
        said = f"{host} {port} {device_id.hex()}".encode()
        return hmac.new(self._key, said, hashlib.sha256).digest()[:CHALLENGE_BYTES]


def _device_id(message: Any) -> bytes:
    """Give the id of the context that a request names.

    Raises:
        Refused: it names none that we could have.
    """
    try:
        fields = oscore.verify_start(message)
    except Exception as error:
        raise Refused(
            Code.BAD_OPTION,
            "Failed to decode COSE",
            AuthenticationFailed(
                "a request had an OSCORE option that cannot be read",
                reason="OSCORE option not readable",
                fix="check that the device protects as RFC 8613 says",
            ),
        ) from error
    if oscore.COSE_KID_CONTEXT in fields:  # ours have none
        raise _unknown(f"one with the id context {fields[oscore.COSE_KID_CONTEXT].hex()[:32]}")
    if oscore.COSE_KID not in fields:
        raise _unknown("none")
    return bytes(fields[oscore.COSE_KID])


def _unknown(shown: str) -> Refused:
    return Refused(
        Code.UNAUTHORIZED,
        "Security context not found",
        AuthenticationFailed(
            f"no device has the OSCORE context that a request named: {shown}",
            reason="unknown OSCORE context",
            fix="give the device the context of its folder (oscore/settings.json); if that was revoked, or is lost: "
            "lockgate device rotate NAME --auth oscore --out DIR",
            evidence={"oscore id": shown},
        ),
    )


def _replayed(context: SecurityContext) -> Refused:
    return Refused(
        Code.UNAUTHORIZED,
        "Replay detected",
        AuthenticationFailed(
            f"a request of {context.device} came that was there before, or is older than what is remembered",
            reason="OSCORE replay",
            fix="if nobody repeats what it said: the device lost its own sequence number, or two programs use its "
            f"context at once; lockgate device rotate {context.device} --auth oscore --out DIR gives it a new one",
            evidence={"oscore id": context.recipient_id.hex()},
        ),
        context.device,
        ((_MAX_AGE, b""),),
    )


def _not_decrypted(context: SecurityContext) -> Refused:
    return Refused(
        Code.BAD_REQUEST,
        "Decryption failed",
        AuthenticationFailed(
            f"a request that names the OSCORE context of {context.device} is not protected by its keys, "
            "or was changed on the way",
            reason="OSCORE decryption failed",
            fix="give the device the context of its folder (oscore/settings.json) again, or a new one: "
            f"lockgate device rotate {context.device} --auth oscore --out DIR",
            evidence={"oscore id": context.recipient_id.hex()},
        ),
        context.device,
        ((_MAX_AGE, b""),),
    )
