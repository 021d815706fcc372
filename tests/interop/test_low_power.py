"""A device that sleeps: its keep-alive may be long, and what it says to stay connected is a few bytes."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Connack, Connect, Pingreq, Pingresp
from lockgate.client.options import tls_context, user_and_secret
from lockgate.provision.folder import read_folder
from tests.support.hub import RunningHub

pytestmark = pytest.mark.process

HALF_AN_HOUR = 1800


@pytest.mark.requirement("Q22")
def test_a_keep_alive_of_half_an_hour_costs_24_bytes_each_way(tmp_path: Path) -> None:
    with RunningHub(tmp_path / "hub") as hub:
        folder = hub.add_device("meter", "jwt-es256")
        facts = read_folder(folder)
        user, secret = user_and_secret(folder, facts, 3600) or (None, None)
        assert secret is not None
        link = MeasuredLink(tls_context(folder, facts), hub.port)
        connect = Connect(V5, "meter", True, HALF_AN_HOUR, user, secret.encode())
        answer = link.asks(wire.encode(connect, V5))
        found = wire.decode(answer, 0, V5, len(answer))
        assert found is not None
        assert isinstance(found[0], Connack)
        assert found[0].code == 0
        assert found[0].properties.server_keep_alive is None, "it is granted as it was asked for"
        link.sent = link.received = 0
        assert link.asks(wire.encode(Pingreq(), V5)) == wire.encode(Pingresp(), V5)
        assert (link.sent, link.received) == (24, 24), "2 of MQTT, 22 of TLS 1.3: header, content type, tag"
        link.close()


class MeasuredLink:
    """A TLS connection that counts the bytes on the wire."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self.sent = self.received = 0
        self._socket = socket.create_connection(("localhost", port), 10)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
        self._flush()

    def asks(self, data: bytes) -> bytes:
        """Send bytes; give what comes back first."""
        self._tls.write(data)
        self._flush()
        while True:
            try:
                return self._tls.read(65_536)
            except ssl.SSLWantReadError:
                self._fill()

    def close(self) -> None:
        """Cut it."""
        self._socket.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        self.sent += len(data)
        self._socket.sendall(data)

    def _fill(self) -> None:
        data = self._socket.recv(65_536)
        assert data, "the hub closed the connection"
        self.received += len(data)
        self._incoming.write(data)
