"""The hatch between office and gate: requests that came by HTTPS, in CoAP's words, from people whom the office proved.

The office says who asks; the gate looks the credential up again, so that one revoked a moment ago counts no more, and
lets the policy decide as for everybody. One request is one connection to a socket in the home, which nobody but the
hub's own users may open. What is bounded here: the frame, the time that it may take, and how many are answered at once.

Source: RFC 8075 sections 4 and 10.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import structlog

from lockgate.adapters.coap import mapping
from lockgate.adapters.coap.devices import is_own
from lockgate.adapters.coap.exchange import KNOWN_OPTIONS, unacceptable
from lockgate.adapters.coap.handed import MAX_BESIDE_BODY_BYTES, OnBehalf, Reply, decode_request, framed
from lockgate.adapters.coap.intake import Intake
from lockgate.adapters.coap.mapping import Answer
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, Type
from lockgate.adapters.coap.server import CoapDoor
from lockgate.adapters.coap.wire import in_order
from lockgate.errors import LockgateError, PayloadTooLarge, ProofExpired, Unavailable
from lockgate.events import Event
from lockgate.model.principal import Principal
from lockgate.net.link import Address
from lockgate.net.local import listening, read_frame
from lockgate.registry.journal import REPORT_IT, Peer, cited

log = structlog.get_logger()

SUFFIX: Final = "http"
FRAME_SECONDS: Final = 5.0
"""How long a frame may take: it comes from a process of this machine that has it whole."""
_METHODS: Final = frozenset({Code.GET, Code.POST, Code.PUT, Code.DELETE})


class Hatch:
    """Answers what the office hands over.

    Args:
        door: the CoAP door, whose rooms answer.
        path: where the socket is made.
    """

    def __init__(self, door: CoapDoor, path: Path) -> None:
        self._door = door
        self._path = path
        self._server: asyncio.Server | None = None
        self._running = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._max_bytes = door.settings.max_body_bytes + MAX_BESIDE_BODY_BYTES

    async def open(self) -> None:
        """Begin to answer.

        Raises:
            Unavailable: the socket cannot be made.
        """
        try:
            self._server = await asyncio.start_unix_server(self._serve, sock=listening(self._path))
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be made: {error.strerror}", fix="look at its folder") from error

    def close(self) -> None:
        """Take no more; what is being answered ends with the process."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    def committed(self, number: int) -> None:
        """Let go what waited for commit `number`."""
        waiting, self._waiting = self._waiting, []
        for wanted, future in waiting:
            if wanted > number:
                self._waiting.append((wanted, future))
            elif not future.done():
                future.set_result(None)
        if self._waiting:
            self._door.wait_for_commit(self)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._running += 1
        try:
            async with asyncio.timeout(FRAME_SECONDS):
                asked = decode_request(await read_frame(reader, self._max_bytes))
            answer = await self._answer(asked)
            async with asyncio.timeout(FRAME_SECONDS):
                writer.write(framed(Reply(answer.code, answer.options, answer.payload)))
                await writer.drain()
        except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:  # a timeout is an OSError
            log.warning(Event.UNEXPECTED_ERROR, error=repr(error), where="the hatch between office and gate")
        finally:
            self._running -= 1
            writer.close()

    async def _answer(self, asked: OnBehalf) -> Answer:
        """Give the response, once what it acknowledges is stored."""
        door = self._door
        principal = asked.principal(f"{asked.device}/{SUFFIX}")
        peer = Peer("office", Address(asked.host, asked.port), principal.client_id)
        try:
            if self._running > door.settings.max_converted_requests:
                raise Unavailable(
                    f"more than {door.settings.max_converted_requests} requests by HTTP were being answered",
                    fix="ask again soon, or raise coap.max_converted_requests",
                )
            self._check(principal)
            answer = await self._act(asked, principal)
            if answer.commit > door.store.committed:
                await self._stored(answer.commit)
            self._check(principal)  # it may have taken its time: who was revoked meanwhile learns nothing
        except LockgateError as error:
            return door.refused(error, peer, principal)
        except Exception:
            failure = LockgateError("an unexpected error", fix=REPORT_IT)
            reference = door.journal.refused_client(failure, peer, "", principal)
            log.exception(Event.UNEXPECTED_ERROR, reference=reference, code=asked.code)
            return mapping.refusal(failure, cited(failure, reference))
        return answer

    def _check(self, principal: Principal) -> None:
        """Make sure that who the office has proven still holds.

        Raises:
            LockgateError: it does not.
        """
        now = self._door.wall_clock()
        problem = self._door.authenticator.verdict(principal, now)
        if problem is not None:
            raise problem
        if principal.expires_at is not None and principal.expires_at <= now:
            raise ProofExpired(f"the proof of {principal.device} has expired", evidence={"device": principal.device})

    async def _act(self, asked: OnBehalf, principal: Principal) -> Answer:
        door = self._door
        request = _request(asked, door.settings.max_body_bytes)
        self._count(asked, principal)
        said = mapping.said_by(request)
        if not is_own(said.path):
            return door.resources.answer(request, said, principal, door.wall_clock())
        future: asyncio.Future[Answer | LockgateError] = asyncio.get_running_loop().create_future()

        def done(outcome: Answer | LockgateError) -> None:
            if not future.done():
                future.set_result(outcome)

        door.devices.ask(request, said.path, principal, done, door.wall_clock())
        outcome = await future  # `done` is called within coap.device_answer_seconds of the last part
        if isinstance(outcome, LockgateError):
            raise outcome
        return outcome

    def _count(self, asked: OnBehalf, principal: Principal) -> None:
        """Put the request on the device's account.

        Raises:
            CoapError: 4.29.
        """
        now = self._door.clock()
        intake = Intake(self._door.rates, self._door.clock)
        intake.admit(principal)
        try:
            wait = intake.count(len(asked.payload) + sum(len(value) for _, value in asked.options), now)
            if wait > 0.0:
                raise mapping.come_again(intake.excess(now)[0], wait)
        finally:
            intake.end()

    async def _stored(self, commit: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((commit, future))
        self._door.wait_for_commit(self)
        await future


def _request(asked: OnBehalf, max_body_bytes: int) -> CoapMessage:
    """Give the request as a confirmable message.

    Raises:
        CoapError: it holds what no request from there does.
        PayloadTooLarge: its body is too long.
    """
    if asked.code not in _METHODS:
        raise CoapError(Code.METHOD_NOT_ALLOWED, "this method is not converted", fix="use GET, PUT, POST or DELETE")
    options = in_order(asked.options)
    bad = unacceptable(options, KNOWN_OPTIONS)
    if bad:
        raise CoapError(Code.BAD_OPTION, f"option {bad} is not well-formed")
    if len(asked.payload) > max_body_bytes:
        raise PayloadTooLarge(
            f"a body has at most {max_body_bytes} bytes", fix="send less, or raise coap.max_body_bytes"
        )
    return CoapMessage(Type.CON, asked.code, 0, b"", options, asked.payload)
