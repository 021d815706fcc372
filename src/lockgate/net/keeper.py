"""Brings what changed in the files of TLS into force while the hub runs: nobody is disconnected.

Contexts are built and then put in force together; a file that cannot be used leaves those in force that were. Where a
revocation list is long they are built in a thread beside the loop. Otherwise on it: that takes it a millisecond or two,
as a few handshakes do, while a thread would have to win the interpreter lock back a hundred times, against a busy loop
on a busy machine for a second. A new context has new ticket keys, so that its age is theirs: tickets of an old one fall
back to a full handshake (RFC 8446 section 4.6.1), which the client does not notice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from lockgate.errors import InvalidSettings, LockgateError
from lockgate.net.context import TlsContext, TlsContexts
from lockgate.net.trust import outdated


class ContextKeeper:
    """Keeps contexts fresh: when told, and when their ticket keys are too old.

    Args:
        contexts: those of the hub's doors.
        max_age_seconds: how long ticket keys, and with them a context, may be used.
        on_renewed: hears why contexts were renewed, once they are in force.
        on_problem: hears why they were not, and what else is wrong with the files.
        clock: gives unix seconds.
    """

    def __init__(
        self,
        contexts: Sequence[TlsContexts],
        max_age_seconds: float,
        on_renewed: Callable[[str], None],
        on_problem: Callable[[LockgateError], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._contexts = contexts
        self._max_age_seconds = max_age_seconds
        self._on_renewed = on_renewed
        self._on_problem = on_problem
        self._clock = clock
        self._wanted = asyncio.Event()
        self._why = ""
        self._told: set[tuple[str, float]] = set()

    def renew(self, why: str) -> None:
        """Have the contexts built anew; while they are, further calls come to one more time."""
        self._why = why
        self._wanted.set()

    def reload_staples(self) -> None:
        """Read the stapled answers again: that costs microseconds, and leaves contexts and tickets as they are."""
        for each in self._contexts:
            try:
                each.staple.reload()
            except LockgateError as error:
                self._on_problem(error)

    def check(self) -> None:
        """Renew contexts whose ticket keys are too old, and say once of each revocation list that it has run out."""
        now = self._clock()
        if any(now - each.taken_at >= self._max_age_seconds for each in self._contexts):
            self.renew("ticket keys too old")
        for each in outdated(self._contexts[0].current.crls, now):
            ended = each.next_update_utc
            name = each.issuer.rfc4514_string()
            key = name, ended.timestamp() if ended is not None else 0.0
            if key not in self._told:
                self._told.add(key)
                message = f"the revocation list of {name} was to be replaced by {ended:%Y-%m-%d %H:%M UTC}"
                self._on_problem(InvalidSettings(f"{message}: it is still used", fix="lockgate ca crl"))

    async def run(self) -> None:
        """Do what `renew` asks for, until cancelled."""
        while True:
            await self._wanted.wait()
            await self.work()

    async def work(self) -> None:
        """Renew the contexts once, and come back when that is done or has failed."""
        self._wanted.clear()
        why = self._why
        try:
            if all(each.is_quick for each in self._contexts):
                built = self._build()
            else:
                built = await asyncio.get_running_loop().run_in_executor(None, self._build)
        except LockgateError as error:
            self._on_problem(error)
            return
        except Exception as error:  # whatever it is, the contexts in force still serve
            self._on_problem(InvalidSettings(f"the TLS files cannot be used: {error}"))
            return
        for contexts, context in zip(self._contexts, built, strict=True):
            contexts.take(context)
        self._on_renewed(why)

    def _build(self) -> list[TlsContext]:
        return [each.build() for each in self._contexts]
