"""A TLS client in memory, on the standard library's engine: the peer for tests of the server's side without sockets."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from lockgate.net.context import TlsContext
from lockgate.net.failures import TlsFailure, TlsRefused
from lockgate.net.tls import TlsStream
from tests.support.certificates import Authority, Issued


def server_context(authority: Authority, server: Issued | None = None) -> TlsContext:
    """Make the hub's context: a server certificate for localhost and *.example.net; clients of `authority`."""
    server = server or authority.issue("hub", names=["localhost", "127.0.0.1", "*.example.net"], purpose="server")
    return TlsContext([server.certificate, *server.chain], server.key, [authority.certificate])


def client_context(
    authority: Authority,
    client: Issued | None = None,
    *,
    version: ssl.TLSVersion | None = None,
    ciphers: str = "",
) -> ssl.SSLContext:
    """Make a client's context that trusts `authority`; `version` is the only one it offers, `ciphers` the suites."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if ciphers:
        context.set_ciphers(ciphers)
    if version is not None:
        context.minimum_version = version
        context.maximum_version = version
    if client is not None:
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(*client.write(Path(folder), "client"))
    return context


class Pair:
    """A client and a `TlsStream`, wired to each other in memory.

    `failure` is what the server raised, `client_error` what the client raised (an alert that reached it, or its own
    refusal of the server); `from_client` and `from_server` are the bytes that went each way.
    """

    def __init__(
        self,
        server: TlsContext,
        client: ssl.SSLContext,
        server_name: str | None = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.stream = TlsStream(server)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name, session=session)
        self.failure: TlsFailure | None = None
        self.client_error: ssl.SSLError | None = None
        self.received = b""
        self.answered = b""
        self.from_client = b""
        self.from_server = b""

    def shake_hands(self) -> Pair:
        """Carry bytes both ways until neither side has more to say."""
        self._client_step(self.client.do_handshake)
        while self.carry():
            self._client_step(self._client_read if self.client.version() else self.client.do_handshake)
        return self

    def carry(self) -> bool:
        """Carry what waits on both sides once; say whether there was any."""
        ciphertext = self._outgoing.read()
        self.from_client += ciphertext
        if ciphertext:
            self.feed(ciphertext)
        answer = self.stream.data_to_send()
        self.from_server += answer
        self._incoming.write(answer)
        return bool(ciphertext or answer)

    def feed(self, ciphertext: bytes) -> None:
        """Give bytes to the server as if they had come from the client."""
        try:
            self.received += self.stream.receive_data(ciphertext)
        except TlsRefused as refused:
            self.failure = refused.failure

    def say(self, plaintext: bytes) -> None:
        """Have the client send `plaintext` and carry it over."""
        self.client.write(plaintext)
        self.carry()

    def _client_step(self, step: object) -> None:
        assert callable(step)
        try:
            step()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.client_error = self.client_error or error

    def _client_read(self) -> None:
        self.client.do_handshake()
        while True:
            chunk = self.client.read(65_536)
            if not chunk:
                return
            self.answered += chunk
