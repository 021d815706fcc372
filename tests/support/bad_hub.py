"""A hub that does all that a good one refuses: old TLS, weak suites, no credentials. For seeing the scanner see it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import warnings
from pathlib import Path
from types import TracebackType

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from lockgate.pki.authority import Authority
from lockgate.pki.certificates import certificates_to_pem, private_key_to_pem

FALLBACK_SCSV = b"\x56\x00"
CONNACK = b"\x20\x02\x00\x00"
SUBACK = b"\x90\x03\x00\x01\x00"
ALLOW_CLIENT_RENEGOTIATION = 1 << 8  # openssl/ssl.h
# RFC 7919 appendix A.1: ffdhe2048
PARAMETERS = b"""\
-----BEGIN X9.42 DH PARAMETERS-----
MIICDAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAgKCAQB//////////9b8KixRXaVN
V+4rEBOennjsXOLB5xabStTwmyCKMhn95knO5xJNn3y+l/GxsYY67HtA2QFXYjC9
ae+Paur+srCSGfqPr4M3aEKxsqqe9o152quJrz+r5JrMJ4Y4cHNFu/FTRO159/Q5
DvisUJtW85qYVmUnpB08vV4FWMFZkn2w6IRUpdlkcf3ctW1bsGv6NA6noVHvHKb6
Vyt287G5XYyFg9PkdwU2uE8BfnDm+/F2YBoCZpQaF7DIuX9OdMLB/8cniRl3eUDB
4f8djaY31rmd2v5eF2EQAuLHeMG+i0HZY3mlE2DZd/1ENaEcMJQuS///////////
-----END X9.42 DH PARAMETERS-----
"""


class Signed(msgspec.Struct, frozen=True):
    """A root, and a server certificate for localhost that it has signed, with an RSA key."""

    root: x509.Certificate
    leaf: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def root_pem(self) -> str:
        """The root as PEM."""
        return certificates_to_pem(self.root).decode()


def sign(now: float) -> Signed:
    """Make a root and a server certificate."""
    root = Authority.create_root("bad root", now=now)
    key = rsa.generate_private_key(65_537, 2048)
    return Signed(root.certificate, root.issue_server(["localhost"], key.public_key(), now=now), key)


class BadHub:
    """Listens on loopback until the `with` block ends.

    Args:
        folder: where its files go.
        signed: its certificate.
        greatest: the newest TLS that it speaks.
        early_data: speak TLS 1.3 alone, with tickets that allow 0-RTT.
    """

    def __init__(
        self,
        folder: Path,
        signed: Signed,
        greatest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        early_data: bool = False,
    ) -> None:
        self.signed = signed
        self._early_data = early_data
        self._files = folder / "server.pem", folder / "server.key", folder / "dh.pem"
        contents = certificates_to_pem(signed.leaf), private_key_to_pem(signed.key), PARAMETERS
        for path, content in zip(self._files, contents, strict=True):
            path.write_bytes(content)
        self._newest, self._older = self._context(greatest), self._context(ssl.TLSVersion.TLSv1_2)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> BadHub:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._accepting.join(5)

    def _context(self, greatest: ssl.TLSVersion) -> ssl.SSLContext:
        certificate, key, parameters = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = greatest
        context.set_ciphers("ALL:aNULL:eNULL:kRSA:kDHE:@SECLEVEL=0")
        context.options |= ALLOW_CLIENT_RENEGOTIATION
        context.load_cert_chain(certificate, key)
        context.load_dh_params(str(parameters))
        return context

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, SSL.Error), connection:
            connection.settimeout(5)
            hello = connection.recv(4096, socket.MSG_PEEK)
            if hello[:1] != b"\x16":
                connection.sendall(CONNACK)
            elif self._early_data:
                self._serve_early_data(connection)
            else:
                # As behind a balancer with one old machine: who says that it fell back is taken all the same.
                context = self._older if FALLBACK_SCSV in hello else self._newest
                with context.wrap_socket(connection, server_side=True) as secure:
                    self._talk(secure)

    def _talk(self, secure: ssl.SSLSocket) -> None:
        while packet := secure.recv(4096):
            secure.sendall(CONNACK if packet[0] == 0x10 else SUBACK)

    def _serve_early_data(self, connection: socket.socket) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_certificate(self.signed.leaf)
        context.use_privatekey(self.signed.key)
        SSL._lib.SSL_CTX_set_max_early_data(context._context, 16_384)  # type: ignore[attr-defined]
        connection.settimeout(None)
        secure = SSL.Connection(context, connection)
        secure.set_accept_state()
        secure.do_handshake()
        secure.recv(1)
