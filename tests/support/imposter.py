"""A hub that is none: a TLS server that shows whatever certificate it is given, and keeps what it hears."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from pathlib import Path

import msgspec

from tests.support.peers import WAIT_SECONDS

ENTRANCES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class Visit(msgspec.Struct):
    """One client that came: what it sent inside TLS, and what ended the handshake, if anything did."""

    heard: bytes = b""
    refusal: str = ""


class Imposter:
    """Listens on loopback while in a `with`.

    Args:
        port: the port that the clients will come to.
        certificate: PEM file of what it shows.
        key: PEM file of the certificate's key.
        upstream: the real hub's port: what clients say is passed on to it, and its answers back.
    """

    def __init__(self, port: int, certificate: Path, key: Path, upstream: int | None = None) -> None:
        self.visits: list[Visit] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._upstream = upstream
        self._news = threading.Condition()
        self._doors = [
            socket.create_server((host, port), family=family) for family, host in ENTRANCES if _has(family, host)
        ]
        self._threads = [threading.Thread(target=self._welcome, args=[door], daemon=True) for door in self._doors]

    def __enter__(self) -> Imposter:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for door in self._doors:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()
        for thread in self._threads:
            thread.join(WAIT_SECONDS)

    def visit(self) -> Visit:
        """Wait until a client has come and gone, or has said something; give what happened."""
        with self._news:
            assert self._news.wait_for(lambda: self.visits, WAIT_SECONDS), "nobody came"
            return self.visits.pop(0)

    def _welcome(self, door: socket.socket) -> None:
        while True:
            try:
                connection, _ = door.accept()
            except OSError:
                return
            connection.settimeout(WAIT_SECONDS)
            self._note(self._receive(connection))

    def _receive(self, connection: socket.socket) -> Visit:
        visit = Visit()
        try:
            with self._context.wrap_socket(connection, server_side=True) as stream:
                # With TLS 1.3 a client that refuses our certificate may have finished the handshake already.
                visit.heard = stream.recv(65_536)
                if visit.heard and self._upstream is not None:
                    self._pass_on(stream, visit.heard)
        except OSError as error:
            visit.refusal = str(error) or type(error).__name__
        finally:
            connection.close()
        return visit

    def _pass_on(self, stream: ssl.SSLSocket, first: bytes) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # who listens in does not care whom it listens to
        with (
            socket.create_connection(("127.0.0.1", self._upstream or 0), WAIT_SECONDS) as raw,
            context.wrap_socket(raw) as hub,
        ):
            hub.sendall(first)
            stream.sendall(hub.recv(65_536))

    def _note(self, visit: Visit) -> None:
        with self._news:
            self.visits.append(visit)
            self._news.notify_all()


def _has(family: socket.AddressFamily, host: str) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.bind((host, 0))
    except OSError as error:
        if family == socket.AF_INET6:
            return False
        raise AssertionError(f"no loopback: {os.strerror(error.errno or 0)}") from error
    return True
