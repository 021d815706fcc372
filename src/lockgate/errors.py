"""What can go wrong, in our own words.

Inside the house every failure is one of these; each door's `mapping.py` turns it into the wire's words.
An error says what was expected and what came (`str(error)`), a short stable `reason` that may be told to the
peer, and, where one is known, the `fix`: the sentence that tells a person what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Step(StrEnum):
    """Where on its way in a peer was refused: the order is the order of the checks."""

    TCP = "tcp"
    TLS = "tls"
    PROTOCOL = "protocol"
    CREDENTIAL = "credential"
    CLIENT_ID = "client-id"
    POLICY = "policy"
    LIMIT = "limit"
    HUB = "hub"


class LockgateError(Exception):
    """The root of all that lockgate raises.

    Args:
        message: one sentence for the operator: what was expected and what came. Never a secret.
        reason: a few stable words, safe to tell to the peer; defaults to the class's own.
        fix: one sentence that names what would mend it, "" when nobody can know.
        step: the check that refused.
        evidence: names, times and fingerprints behind the decision; never secrets.
    """

    default_reason = "unspecified error"
    default_step = Step.HUB
    default_fix = ""

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        fix: str = "",
        step: Step | None = None,
        evidence: Mapping[str, str] | None = None,
    ) -> None:
        self.reason = reason or self.default_reason
        super().__init__(message or self.reason)
        self.fix = fix or self.default_fix
        self.step = step or self.default_step
        self.evidence: dict[str, str] = dict(evidence or {})


class AuthenticationFailed(LockgateError):
    """Who are you? The credentials do not prove it."""

    default_reason = "authentication failed"
    default_step = Step.CREDENTIAL


class NotAuthorized(LockgateError):
    """May you? The policy says no."""

    default_reason = "not authorized"
    default_step = Step.POLICY


class ShutOut(NotAuthorized):
    """Somebody decided that this device, or this credential, is no longer welcome: blocked, revoked or removed."""

    default_reason = "shut out"


class ProofExpired(AuthenticationFailed):
    """The proof was good, and its time is up: a token, a certificate or a credential has expired."""

    default_reason = "credential expired"


class TopicNameInvalid(LockgateError):
    """The topic name breaks the rules for names."""

    default_reason = "topic name invalid"
    default_step = Step.PROTOCOL
    default_fix = "use a topic name of one character or more, without + and # and control characters"


class TopicFilterInvalid(LockgateError):
    """The topic filter breaks the rules for filters."""

    default_reason = "topic filter invalid"
    default_step = Step.PROTOCOL
    default_fix = "write + as a whole level and # as the whole last one; a shared one as $share/NAME/FILTER"


class PayloadTooLarge(LockgateError):
    """The message is larger than the limit."""

    default_reason = "payload too large"
    default_step = Step.LIMIT


class QuotaExceeded(LockgateError):
    """A stock is used up: connections, subscriptions, queue."""

    default_reason = "quota exceeded"
    default_step = Step.LIMIT


class RateExceeded(LockgateError):
    """Too much in too short a time."""

    default_reason = "rate exceeded"
    default_step = Step.LIMIT


class SessionTakenOver(LockgateError):
    """The same client id opened a newer connection."""

    default_reason = "session taken over"


class NotFound(LockgateError):
    """What was named does not exist."""

    default_reason = "not found"


class Conflict(LockgateError):
    """What was asked for clashes with what is there."""

    default_reason = "conflict"


class Unavailable(LockgateError):
    """The hub cannot serve this now: starting, stopping or busy."""

    default_reason = "server unavailable"


class InvalidSettings(LockgateError):
    """A setting, a file of the home, or an argument cannot be used."""

    default_reason = "invalid settings"


class StoreDamaged(LockgateError):
    """A database cannot be read as what it should be."""

    default_reason = "store damaged"


def in_words(error: Exception) -> str:
    """Give what went wrong without the number and the path that an OSError shows: who says it names the path."""
    spelled = error.strerror if isinstance(error, OSError) else None
    return spelled or str(error) or type(error).__name__
