"""Canaries: that the policy decided every publish and delivery of a run that was measured.

While the load flows, a device whose filter covers it, but to whom a rule denies it, hears nothing of it; nor may it
publish there. When the figures are taken, a live `lockgate policy deny` silences one subscriber of the very pair that
was measured, while a witness goes on hearing what is published: what was remembered was tied to the policy.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.brokers import lockgate_command
from bench.fleet import CANARY, CANARY_TOPIC, TOPIC, TREE, Fleet
from bench.generator import Generator
from bench.processes import BrokerFailed, output_of

TIMEOUT_SECONDS = 20.0
MESSAGES = 10
NOT_AUTHORIZED = 0x87
_PUBLISH, _PUBACK, _SUBACK, _PINGRESP = 3, 4, 9, 13


class CanaryWrong(BrokerFailed):
    """Something was heard, or published, that the policy forbids: no figure of this run may be believed."""


class Device:
    """One device over TLS, MQTT 5.0, one packet at a time: enough for a canary."""

    def __init__(self, folder: Path, port: int, name: str) -> None:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(folder / "device.crt", folder / "device.key")
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self._socket = context.wrap_socket(plain, server_hostname="localhost")
        self._rest = b""
        self.heard = 0
        body = b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + _text(name)  # clean start, keep-alive 60 s, no properties
        self._send(0x10, body)
        first, connack = self._receive()
        if first >> 4 != 2 or connack[1]:
            raise CanaryWrong(f"{name} was refused: {connack.hex()}")

    def subscribe(self, topic_filter: str) -> int:
        """Subscribe at QoS 0; give the reason code."""
        self._send(0x82, b"\x00\x01\x00" + _text(topic_filter) + b"\x00")
        return self._await(_SUBACK)[-1]

    def publish(self, topic: str) -> int:
        """Publish at QoS 1; give the reason code."""
        self._send(0x32, _text(topic) + b"\x00\x07\x00" + b"x" * 64)
        body = self._await(_PUBACK)
        return body[2] if len(body) > 2 else 0

    def ping(self) -> int:
        """Wait for the answer to a ping; give how many messages were heard until now."""
        self._send(0xC0, b"")
        self._await(_PINGRESP)
        return self.heard

    def close(self) -> None:
        self._socket.close()

    def _await(self, kind: int) -> bytes:
        while True:
            first, body = self._receive()
            if first >> 4 == kind:
                return body

    def _receive(self) -> tuple[int, bytes]:
        while True:
            found = _first_packet(self._rest)
            if found is not None:
                first, body, self._rest = found
                self.heard += first >> 4 == _PUBLISH
                return first, body
            data = self._socket.recv(65_536)
            if not data:
                raise CanaryWrong("the hub closed a canary's connection")
            self._rest += data

    def _send(self, first: int, body: bytes) -> None:
        assert len(body) < 16_384
        size = len(body)
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        self._socket.sendall(bytes([first]) + length + body)


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _first_packet(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Split the first packet off: its first byte, its body, and what follows (MQTT 5.0, 2.1.4)."""
    length = shift = 0
    for at in range(1, min(len(data), 5)):
        length |= (data[at] & 127) << shift
        shift += 7
        if data[at] < 128:
            end = at + 1 + length
            return (data[0], data[at + 1 : end], data[end:]) if end <= len(data) else None
    return None


@contextmanager
def canary(fleet: Fleet, port: int) -> Iterator[None]:
    """Let the canary listen while a load flows.

    Raises:
        CanaryWrong: it heard the load, or could publish on its topic, or was deaf.
    """
    device = Device(fleet.device(CANARY), port, CANARY)
    try:
        _expect(device.subscribe(TREE), 0, "the canary's subscription")
        _expect(device.publish(TOPIC), NOT_AUTHORIZED, "a publish that a rule denies")
        yield
        if heard := device.ping():
            raise CanaryWrong(f"the canary heard {heard} messages that a rule denies to it")
        _expect(device.publish(TOPIC), NOT_AUTHORIZED, "a publish that a rule denies")
        _expect(device.publish(CANARY_TOPIC), 0, "a publish that a rule allows")
        if device.ping() != 1:
            raise CanaryWrong("the canary does not hear what it may: its silence proves nothing")
    finally:
        device.close()


def _expect(code: int, wanted: int, what: str) -> None:
    if code != wanted:
        raise CanaryWrong(f"{what} was answered with 0x{code:02x}, not 0x{wanted:02x}")


def silence(fleet: Fleet, home: Path, port: int, load: Generator, subscribers: int, *, tls: bool) -> None:
    """Deny the topic to a subscriber of a load that was measured, by the command line, and see it become silent.

    Over TLS that is the load's own first subscriber, and another device is the witness that publishing goes on. The
    plain door's principal has one built-in rule, so there the other device is silenced, and the load is the witness.

    Raises:
        CanaryWrong: it still hears.
    """
    name = f"d{fleet.certificates - 1}"
    other = Device(fleet.device(name), port, name)
    try:
        _expect(other.subscribe(TOPIC), 0, "the witness's subscription")
        if (load.again(MESSAGES), other.ping()) != (MESSAGES * subscribers, MESSAGES):
            raise CanaryWrong("not everybody heard what was published before the rule changed")
        silenced = "d0" if tls else name
        output_of(lockgate_command(), "policy", "deny", "--device", silenced, "--receive", TOPIC, "--home", str(home))
        wanted = (MESSAGES * (subscribers - 1), MESSAGES) if tls else (MESSAGES * subscribers, 0)
        deadline = time.monotonic() + 2.0
        while True:
            before = other.heard
            delivered = load.again(MESSAGES)
            if (delivered, other.ping() - before) == wanted:
                return
            if time.monotonic() > deadline:
                raise CanaryWrong(f"{silenced} was denied the topic, and still hears it after 2 s")
    finally:
        other.close()
