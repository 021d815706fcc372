"""A client that sends packet by packet and answers nothing by itself: for states that a real library never stops in."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import Connack, Connect, Packet, Properties, WillPacket
from lockgate.client.options import tls_context, user_and_secret
from lockgate.provision.folder import read_folder

V5 = 5
MAX_PACKET_BYTES = 1_048_576
DEADLINE_SECONDS = 10.0

P = TypeVar("P", bound=Packet)


class RawPeer:
    """One connection of a provisioned device by MQTT 5.0 over TLS; `with` connects it, and cuts it at the end.

    Args:
        folder: the device's folder.
        port: the hub's port of MQTT over TLS.
        expiry: how long its session waits, in seconds; 0 makes a clean start.
        suffix: for a client id NAME/SUFFIX.
        will: its will.
    """

    def __init__(
        self, folder: Path, port: int, expiry: int = 0, suffix: str = "", will: WillPacket | None = None
    ) -> None:
        facts = read_folder(folder)
        raw = socket.create_connection(("localhost", port), DEADLINE_SECONDS)
        self.socket = tls_context(folder, facts).wrap_socket(raw, server_hostname="localhost")
        self._buffer = b""
        user, secret = user_and_secret(folder, facts, 3600) or (None, None)
        self.send(
            Connect(
                V5,
                f"{facts.client_id}/{suffix}" if suffix else facts.client_id,
                clean_start=not expiry,
                user_name=user,
                password=secret.encode() if secret is not None else None,
                will=will,
                properties=Properties(session_expiry_interval=expiry),
            )
        )
        self.connack = self.receive(Connack)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *packets: Packet) -> None:
        """Send packets in one write."""
        self.socket.sendall(b"".join(wire.encode(packet, V5) for packet in packets))

    def receive(self, kind: type[P]) -> P:
        """Give the next packet, which must be of this kind."""
        packet = self.next()
        assert packet is not None, f"the hub closed the connection instead of sending {kind.__name__}"
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet}"
        return packet

    def next(self) -> Packet | None:
        """Give the next packet, None when the hub has closed the connection."""
        while True:
            found = wire.decode(self._buffer, 0, V5, MAX_PACKET_BYTES)
            if found is not None:
                packet, end = found
                self._buffer = self._buffer[end:]
                return packet
            data = self.socket.recv(65_536)
            if not data:
                return None
            self._buffer += data
