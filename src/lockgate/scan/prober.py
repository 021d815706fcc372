"""Speaks to a hub's open doors as clients would that ought to be refused.

Each attempt is a real connection: the hub notes it as a refusal, of the client `lockgate-scan`. No attempt uses a name
or a password of a real device.
Source: MQTT 3.1.1 sections 3.2 (CONNACK) and 3.9 (SUBACK).
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lockgate.errors import Unavailable
from lockgate.net.probe import (
    Endpoint,
    Handshake,
    Offer,
    Served,
    lets_renegotiate,
    look_at,
    open_session,
    send_plain,
    try_handshake,
)
from lockgate.pki.certificates import generate_key, private_key_to_pem
from lockgate.scan.packets import CLIENT_ID, connect_packet, subscribe_packet
from lockgate.scan.subject import Door, Login

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (what to dial for a door that listens everywhere)
_CONNACK_BYTES = 4
_SUBACK_BYTES = 5
_SUBACK = 0x90


class DoorProber:
    """A `Prober` over sockets.

    Args:
        root_pem: the root certificate that devices hold.
        name: the host name or address to ask the doors for: one of the server certificate's.
        seconds: the patience with each step.
    """

    def __init__(self, root_pem: str, name: str, seconds: float = 3.0) -> None:
        self._root_pem = root_pem
        self._name = name
        self._seconds = seconds

    def handshake(self, door: Door, offer: Offer) -> Handshake:
        """Try a TLS handshake with exactly this offer."""
        return try_handshake(self._target(door), offer)

    def served(self, door: Door) -> Served:
        """Give what the door shows in a handshake."""
        return look_at(self._target(door))

    def renegotiates(self, door: Door) -> bool:
        """Say whether the door lets a client begin a new handshake inside the old one."""
        return lets_renegotiate(self._target(door))

    def connect(self, door: Door, user: str | None, password: str | None, self_signed: bool = False) -> Login:
        """Try an MQTT CONNECT; `self_signed` shows a certificate that no CA has signed."""
        try:
            identity = self_signed_identity() if self_signed else None
            with open_session(self._target(door), identity) as session:
                return _log_in(session, user, password)
        except (Unavailable, OSError) as error:
            if not self_signed:
                raise Unavailable(f"{door}: {error}") from error
            return Login(None, str(error))  # refused in the handshake, as it should be

    def hears_sys(self, door: Door) -> bool:
        """Say whether somebody without credentials may subscribe to $SYS/#."""
        with open_session(self._target(door)) as session:
            if not _log_in(session, None, None).is_in:
                return False
            session.sendall(subscribe_packet("$SYS/#"))
            answer = _read(session, _SUBACK_BYTES)
        return len(answer) == _SUBACK_BYTES and answer[0] == _SUBACK and answer[4] < 0x80

    def plain(self, door: Door, sent: bytes) -> bytes:
        """Send bytes without TLS; give the first of what comes back, b"" when the door closes."""
        return send_plain(self._target(door), sent)

    def _target(self, door: Door) -> Endpoint:
        address = ANYWHERE.get(door.address, door.address)
        return Endpoint(address, door.port, self._name, self._root_pem, self._seconds)


def self_signed_identity() -> tuple[bytes, bytes]:
    """Make a client certificate that no CA has signed, and its key, in PEM."""
    key = generate_key("ec")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CLIENT_ID)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), private_key_to_pem(key)


def _log_in(session: ssl.SSLSocket, user: str | None, password: str | None) -> Login:
    session.sendall(connect_packet(user, password))
    answer = _read(session, _CONNACK_BYTES)
    if len(answer) < _CONNACK_BYTES or answer[0] != 0x20:
        return Login(None, "the door closed without an answer" if not answer else "the answer is no CONNACK")
    return Login(answer[3])


def _read(session: ssl.SSLSocket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = session.recv(count - len(found))
        if not part:
            break
        found += part
    return found
