"""SCRAM-SHA-256 for tests: the vector of RFC 7677 section 3, and one exchange from the client's side."""

from __future__ import annotations

from base64 import b64decode

import pytest
from scramp import ScramClient, ScramMechanism, core

from lockgate.model.device import Credential, CredentialKind
from lockgate.model.scram import ScramVerifier

METHOD = "SCRAM-SHA-256"

CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


def vector_credential() -> Credential:
    """Give the credential of the vector's user, whose password is "pencil"."""
    salt, stored_key, server_key, iterations = ScramMechanism(METHOD).make_auth_info(
        "pencil", 4096, b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    )
    return Credential(
        0, "", CredentialKind.SCRAM_SHA_256, ScramVerifier(salt, iterations, stored_key, server_key).to_text()
    )


def use_vector_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the hub's half of every nonce the vector's."""
    monkeypatch.setattr(core.Nonce, "create", classmethod(lambda cls: cls(SERVER_NONCE)))


class ScramPeer:
    """The client's side of one exchange, in bytes."""

    def __init__(self, name: str, password: str = "right") -> None:
        self._client = ScramClient([METHOD], name, password)

    def first(self) -> bytes:
        """Give client-first."""
        return bytes(self._client.get_client_first().encode())

    def final(self, server_first: bytes | None) -> bytes:
        """Answer server-first with client-final."""
        assert server_first is not None
        self._client.set_server_first(server_first.decode())
        return bytes(self._client.get_client_final().encode())

    def check(self, server_final: bytes | None) -> None:
        """See that the hub has proven that it knows the device."""
        assert server_final is not None
        self._client.set_server_final(server_final.decode())
