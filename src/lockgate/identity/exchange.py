"""Enhanced authentication: a proof in as many rounds as its method needs, instead of a secret in one.

A door that offers it (MQTT 5.0 section 4.12) asks the authenticator to `begin`, and brings what the peer says to
`respond` until a principal comes out. The same exchange proves a peer anew while its session goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from lockgate.errors import AuthenticationFailed
from lockgate.identity.credentials import Proof
from lockgate.identity.jwt import TokenVerifier
from lockgate.model.principal import Principal
from lockgate.model.scram import SCRAM_SHA_256

JWT = "jwt"
METHODS = frozenset({SCRAM_SHA_256, JWT})
"""The methods by their names: SCRAM-SHA-256 is IANA's (RFC 7677), jwt is our own: the token is the data."""


class Turn(msgspec.Struct, frozen=True):
    """What the peer is told, and who it is once that is proven; None while there is more to say."""

    data: bytes
    principal: Principal | None = None


class Prover(Protocol):
    """One method's side of one exchange."""

    @property
    def user_name(self) -> str:
        """The device that the peer says it is, "" as long as it has not said."""
        ...

    def respond(self, data: bytes, now: float, /) -> tuple[bytes, Proof | None]:
        """Give the answer to what the peer said, and the proof once it is there."""
        ...


class TokenProver:
    """A token is a proof in one round. `client_id` says whose, as for one in the password field."""

    user_name = ""

    def __init__(self, tokens: TokenVerifier, client_id: str) -> None:
        self._tokens = tokens
        self._client_id = client_id

    def respond(self, data: bytes, now: float, /) -> tuple[bytes, Proof | None]:
        """Check the token; there is nothing to answer."""
        return b"", self._tokens.verify(self._client_id, data, now)


class Exchange:
    """One exchange; `method` is its name. It is over when a principal came, or an error."""

    def __init__(self, method: str, prover: Prover, admit: Callable[[Proof, float], Principal]) -> None:
        self.method = method
        self._prover = prover
        self._admit = admit
        self._is_begun = False
        self._is_over = False

    @property
    def user_name(self) -> str:
        """The device that the peer says it is, "" as long as it has not said."""
        return self._prover.user_name

    def respond(self, data: bytes | None, now: float) -> Turn:
        """Take what the peer said; give what it is told. `now` in unix seconds.

        Who begins without saying anything is asked to (RFC 4422 section 3.3: an empty challenge), once.

        Raises:
            AuthenticationFailed, RateExceeded: the proof failed.
            NotAuthorized: it did not, but the client id is another device's, or the device is blocked.
        """
        is_first, self._is_begun = not self._is_begun, True
        if not data and is_first:
            return Turn(b"")
        if self._is_over or not data:
            raise AuthenticationFailed(
                f"the exchange by {self.method} needs data, and none came",
                reason="authentication data malformed",
                fix="have the client send the method's data in each of its turns",
            )
        self._is_over = True  # unless it goes on
        answer, proof = self._prover.respond(data, now)
        if proof is not None:
            return Turn(answer, self._admit(proof, now))
        self._is_over = False
        return Turn(answer)
