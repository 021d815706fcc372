"""Who was turned away, and why: a bounded memory of refusals, each with a reference that a person can read out.

Like refusals in a run are one: the same address, step and reason, the same claimed names and the same fix get the same
reference and are counted. An address that comes with ever new ones gets some references and then shares one. The oldest
make room for the newest, so that no flood, from however many addresses, takes more memory than the bound.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from lockgate.errors import LockgateError
from lockgate.model.refusal import Refusal

WINDOW_SECONDS = 60.0
RUNS_PER_SOURCE = 32
MAX_TEXT = 1024

# Crockford's base 32: no I, L, O or U, so that nothing is misread or misheard.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_HALF = 4

_Source: TypeAlias = tuple[str, str, str]
_Claim: TypeAlias = tuple[str, str, str]
_ANY_CLAIM: _Claim = ("", "", "")


class _Entry(NamedTuple):
    refusal: Refusal
    source: _Source
    claim: _Claim


def new_reference() -> str:
    """Give a new reference, such as "K7Q2-9XMD": 40 random bits, so that nobody finds another's by guessing."""
    text = "".join(secrets.choice(_ALPHABET) for _ in range(2 * _HALF))
    return f"{text[:_HALF]}-{text[_HALF:]}"


def as_reference(spoken: str) -> str:
    """Give a reference as it is kept from how somebody typed it: without the dash, in small letters, O for 0."""
    text = spoken.strip().upper().translate(_MISREAD)
    return f"{text[:_HALF]}-{text[_HALF:]}"


class RefusalLog:
    """The refusals of the gate, at most `max_refusals` of them.

    Args:
        max_refusals: the bound.
        window_seconds: how long after the latest of a run another like it still belongs to it.
    """

    def __init__(self, max_refusals: int = 10_000, window_seconds: float = WINDOW_SECONDS) -> None:
        self._max_refusals = max_refusals
        self._window_seconds = window_seconds
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._runs: dict[_Source, dict[_Claim, str]] = {}
        self._changed: dict[str, None] = {}
        self.overwritten = 0
        """How many made room before anybody had drained them."""

    def __len__(self) -> int:
        """Give the number of refusals that are remembered."""
        return len(self._entries)

    def note(
        self,
        error: LockgateError,
        *,
        door: str,
        address: str,
        now: float,
        device: str = "",
        client_id: str = "",
        is_verified: bool = False,
        evidence: Mapping[str, str] | None = None,
    ) -> str:
        """Remember one refusal; give the reference to tell the peer.

        Args:
            error: why: its step, reason, message, fix and evidence.
            door: where the peer came in.
            address: the peer's address, without its port, which changes with each attempt.
            now: unix seconds.
            device: the device that the peer claimed to be.
            client_id: the client id that it claimed.
            is_verified: whether the device's name was proven.
            evidence: more names, times and fingerprints, never secrets.
        """
        source = (address, str(error.step), error.reason)
        device, client_id, fix = _storable(device), _storable(client_id), _storable(error.fix)
        claim, last = self._find_run(source, (device, client_id, fix), now)
        refusal = Refusal(
            reference=new_reference() if last is None else last.reference,
            at=now,
            step=error.step,
            reason=error.reason,
            message=_storable(str(error)),
            fix=fix,
            door=door,
            address=address,
            device=device,
            client_id=client_id,
            is_verified=is_verified,
            evidence={name: _storable(text) for name, text in (*error.evidence.items(), *(evidence or {}).items())},
            count=1 if last is None else last.count + 1,
        )
        self._remember(_Entry(refusal, source, claim))
        return refusal.reference

    def repeat(self, reference: str, count: int, now: float) -> Refusal | None:
        """Count more of a refusal that `note` gave the reference of; give it, None when it is forgotten already."""
        entry = self._entries.get(reference)
        if entry is None:
            return None
        refusal = msgspec.structs.replace(entry.refusal, at=now, count=entry.refusal.count + count)
        self._remember(entry._replace(refusal=refusal))
        return refusal

    def refusal(self, reference: str) -> Refusal:
        """Give a refusal by the reference that `note` gave, while it is remembered."""
        return self._entries[reference].refusal

    def drain(self) -> list[Refusal]:
        """Give what is new or has changed since the last call, for the store."""
        changed = [self._entries[reference].refusal for reference in self._changed]
        self._changed.clear()
        return changed

    def _find_run(self, source: _Source, claim: _Claim, now: float) -> tuple[_Claim, Refusal | None]:
        """Give the claim under which a refusal is counted, and the latest of the run that it belongs to."""
        runs = self._runs.get(source, {})
        for known, reference in list(runs.items()):
            if now - self._entries[reference].refusal.at > self._window_seconds:
                del runs[known]
        if claim not in runs and len(runs) >= RUNS_PER_SOURCE:
            claim = _ANY_CLAIM
        return claim, self._entries[runs[claim]].refusal if claim in runs else None

    def _remember(self, entry: _Entry) -> None:
        reference = entry.refusal.reference
        self._entries[reference] = entry
        self._entries.move_to_end(reference)
        self._runs.setdefault(entry.source, {})[entry.claim] = reference
        self._changed[reference] = None
        while len(self._entries) > self._max_refusals:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        reference, entry = self._entries.popitem(last=False)
        if reference in self._changed:
            del self._changed[reference]
            self.overwritten += 1
        runs = self._runs.get(entry.source, {})
        if runs.get(entry.claim) == reference:
            del runs[entry.claim]
        if not runs:
            self._runs.pop(entry.source, None)


def _storable(text: str) -> str:
    # What peers say of themselves: half a surrogate pair in it has no UTF-8, and would keep a commit from the disk.
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode()
