"""An exchange asks once who stays silent, ends with a principal or an error, and does not go on after its end."""

from __future__ import annotations

import pytest

from lockgate.errors import AuthenticationFailed
from lockgate.identity.credentials import Proof
from lockgate.identity.exchange import Exchange, TokenProver, Turn
from lockgate.identity.jwt import TokenVerifier
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.principal import Principal
from lockgate.settings import IdentitySettings
from tests.support.registry import EC_KEY, NOW, FakeRegistry, es256
from tests.support.tokens import token

CREDENTIAL = Credential(7, "lamp", CredentialKind.SCRAM_SHA_256, "")
LAMP = Principal("lamp", "lamp", "scram-sha-256", 7)


class FakeProver:
    """Wants `rounds` messages before it is convinced; "wrong" never convinces it."""

    user_name = "lamp"

    def __init__(self, rounds: int) -> None:
        self._left = rounds

    def respond(self, data: bytes, now: float, /) -> tuple[bytes, Proof | None]:
        if data == b"wrong":
            raise AuthenticationFailed("wrong")
        self._left -= 1
        return b"re: " + data, None if self._left else (CREDENTIAL, None)


def exchange(rounds: int = 2) -> Exchange:
    return Exchange("SCRAM-SHA-256", FakeProver(rounds), lambda proof, now: LAMP)


def test_it_goes_on_until_the_proof_is_there() -> None:
    made = exchange()
    assert made.user_name == "lamp"
    assert made.respond(b"one", NOW) == Turn(b"re: one")
    assert made.respond(b"two", NOW) == Turn(b"re: two", LAMP)


@pytest.mark.parametrize("silence", [None, b""])
def test_who_begins_without_a_word_is_asked_once(silence: bytes | None) -> None:
    made = exchange()
    assert made.respond(silence, NOW) == Turn(b"")
    with pytest.raises(AuthenticationFailed, match="needs data"):
        made.respond(silence, NOW)


def test_silence_in_the_middle_is_refused() -> None:
    made = exchange()
    made.respond(b"one", NOW)
    with pytest.raises(AuthenticationFailed, match="needs data"):
        made.respond(None, NOW)


@pytest.mark.parametrize("last", [b"right", b"wrong"])
def test_after_its_end_it_does_not_go_on(last: bytes) -> None:
    made = exchange(1)
    try:
        made.respond(last, NOW)
    except AuthenticationFailed:
        assert last == b"wrong"
    with pytest.raises(AuthenticationFailed, match="needs data"):
        made.respond(b"right", NOW)


def test_a_token_is_a_proof_in_one_round() -> None:
    registry = FakeRegistry()
    device = registry.add("sensor", es256())
    prover = TokenProver(TokenVerifier(registry, IdentitySettings()), "sensor/1")
    assert prover.user_name == ""
    assert prover.respond(token(EC_KEY), NOW) == (b"", (device.credentials[0], NOW + 3660))
    with pytest.raises(AuthenticationFailed):
        prover.respond(b"no token", NOW)
