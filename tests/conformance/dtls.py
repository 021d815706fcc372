"""A CoAP peer within DTLS 1.2, by the OpenSSL of pyOpenSSL: the client that the security tests speak with."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from tests.conformance.coap import WAIT_SECONDS, Message, decode, encode
from tests.support.hub import RunningHub

MTU = 1200
HANDSHAKE_SECONDS = 10.0


class DtlsPeer:
    """One session; it fails with "no session" where there is none to be had."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        context.use_certificate_file(str(certificate))
        context.use_privatekey_file(str(key))
        context.set_options(SSL.OP_NO_QUERY_MTU)  # else a buffer in memory counts as a link of 256 bytes
        context.set_verify(SSL.VERIFY_NONE, lambda *_: True)  # the server's certificate is not what is tested here
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._session = SSL.Connection(context)
        self._session.set_connect_state()
        self._session.set_ciphertext_mtu(MTU)
        self._shake_hands()

    @classmethod
    def by_certificate(cls, hub: RunningHub, device: str) -> DtlsPeer:
        """Give a session of a device."""
        folder = hub.folder / f"device-{device}"
        return cls(hub.coap_port, folder / "device.crt", folder / "device.key")

    @classmethod
    def by_foreign_certificate(cls, hub: RunningHub, device: str) -> DtlsPeer:
        """Try a certificate that names the device, and that the device has signed itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device)])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .sign(key, hashes.SHA256())
        )
        certificate, secret = hub.folder / "foreign.crt", hub.folder / "foreign.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cls(hub.coap_port, certificate, secret)

    def send(self, message: Message) -> None:
        """Send a message."""
        self._session.send(encode(message))
        self._flush()

    def receive(self, seconds: float = WAIT_SECONDS) -> Message:
        """Wait for the next message."""
        until = time.monotonic() + seconds
        while True:
            try:
                return decode(self._session.recv(65_535))
            except SSL.WantReadError:
                assert self._take(until - time.monotonic()), f"nothing came within {seconds} s"
            except (SSL.Error, SSL.ZeroReturnError):
                raise AssertionError("no session any more") from None

    def _shake_hands(self) -> None:
        until = time.monotonic() + HANDSHAKE_SECONDS
        while True:
            try:
                self._session.do_handshake()
            except SSL.WantReadError:
                self._flush()
                if not self._take(min(1.0, until - time.monotonic())):
                    assert time.monotonic() < until, "no session: nothing came"
                    self._session.DTLSv1_handle_timeout()
            except SSL.Error as error:
                raise AssertionError(f"no session: {error}") from None
            else:
                self._flush()
                return

    def _flush(self) -> None:
        while True:
            try:
                self._socket.send(self._session.bio_read(65_535))
            except SSL.WantReadError:
                return

    def _take(self, seconds: float) -> bool:
        self._socket.settimeout(max(0.01, seconds))
        try:
            self._session.bio_write(self._socket.recv(65_535))
        except TimeoutError:
            return False
        return True
