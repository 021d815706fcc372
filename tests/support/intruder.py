"""Whoever holds one device's folder: connects with what is in it, packet by packet, and keeps book of each refusal."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Publish,
    ReasonCode,
    WillPacket,
)
from lockgate.client.options import tls_context
from lockgate.model.device import CredentialKind
from lockgate.provision.folder import DeviceFile, read_folder
from lockgate.provision.token import make_token
from tests.support.hub import RunningHub, eventually
from tests.support.scram import METHOD, ScramPeer

V311, V5 = 4, 5
DEADLINE_SECONDS = 10.0
MAX_PACKET_BYTES = 1_048_576
_NUMBERS = count(1)
ENDED = "the hub ended the connection"

P = TypeVar("P", bound=Packet)
T = TypeVar("T")


class Line:
    """One connection to a door, with or without MQTT on it yet; `with` cuts it at the end.

    Args:
        port: the door's.
        context: what TLS trusts and shows.
        is_websocket: whether the door speaks WebSocket.
        version: 4 (MQTT 3.1.1) or 5.
    """

    def __init__(self, port: int, context: ssl.SSLContext, is_websocket: bool = False, version: int = V5) -> None:
        self.version = version
        self.heard: list[Publish] = []
        self._buffer = b""
        raw = socket.create_connection(("localhost", port), DEADLINE_SECONDS)
        self._tls = context.wrap_socket(raw, server_hostname="localhost")
        self._web: ClientProtocol | None = None
        if is_websocket:
            uri = parse_uri(f"wss://localhost:{port}/mqtt")
            self._web = ClientProtocol(uri, subprotocols=[Subprotocol("mqtt")])
            self._web.send_request(self._web.connect())
            self._flush(self._web)
            while self._web.state is State.CONNECTING:
                self._take(self._web)
            assert self._web.state is State.OPEN, self._web.handshake_exc

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def cut(self) -> None:
        """Cut the connection without a goodbye."""
        self._tls.close()

    def send(self, *packets: Packet) -> None:
        """Send packets in one write."""
        self.send_bytes(b"".join(wire.encode(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are; nobody may be there any more to take them."""
        try:
            if self._web is None:
                self._tls.sendall(data)
            elif self._web.state is State.OPEN:
                self._web.send_binary(data)
                self._flush(self._web)
        except OSError:
            return

    def next(self) -> Packet | None:
        """Give the next packet that is no message, None when the hub has closed; messages are kept in `heard`."""
        while True:
            found = wire.decode(self._buffer, 0, self.version, MAX_PACKET_BYTES)
            if found is not None:
                packet, end = found
                self._buffer = self._buffer[end:]
                if not isinstance(packet, Publish):
                    return packet
                self.heard.append(packet)
                continue
            data = self._read()
            if not data:
                return None
            self._buffer += data

    def receive(self, kind: type[P]) -> P:
        """Give the next packet that is no message; it must be of this kind."""
        packet = self.next()
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet}"
        return packet

    def is_alive(self) -> bool:
        """Say whether the hub answers a ping; what it sent before has then been heard."""
        self.send(Pingreq())
        return isinstance(self.next(), Pingresp)

    def _read(self) -> bytes:
        if self._web is None:
            return self._take_bytes()
        while self._web.state is State.OPEN:
            data = self._take(self._web)
            if data:
                return data
        return b""

    def _take(self, web: ClientProtocol) -> bytes:
        data = self._take_bytes()
        if data:
            web.receive_data(data)
        else:
            web.receive_eof()
        events = web.events_received()
        with contextlib.suppress(OSError):
            self._flush(web)
        return b"".join(bytes(each.data) for each in events if isinstance(each, Frame) and each.opcode is Opcode.BINARY)

    def _take_bytes(self) -> bytes:
        try:
            return self._tls.recv(65_536)
        except (ssl.SSLError, ConnectionError):
            return b""

    def _flush(self, web: ClientProtocol) -> None:
        self._tls.sendall(b"".join(web.data_to_send()))


class Ledger:
    """What was tried and refused, to be compared with what the hub has on record."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.told: dict[str, str] = {}
        self._difference: tuple[Counter[str], Counter[str]] = (Counter(), Counter())

    def enter(self, answer: str, among: Collection[str], count: int = 1) -> None:
        """Note that an attempt was refused with one of these reasons, as the peer was told it; with its reference.

        Where the protocol has no place for the reason, `answer` is the reason alone, as it must be on record.
        """
        reason, _, rest = answer.partition(" (reference ")
        assert reason in among, f"refused, but because of {reason!r} instead of {sorted(among)}"
        self.tried[reason] += count
        if rest:
            self.told[re.sub(r"[^0-9A-Z-].*", "", rest)] = reason

    def enter_protocol(self, answer: str, reason: str) -> None:
        """Note that the hub broke off; what it says is a sentence, and the reason stands in the record."""
        found = re.search(r"\(reference ([0-9A-Z-]+)\)", answer)
        assert found is not None, answer
        self.tried[reason] += 1
        self.told[found[1]] = reason

    def compare(self, hub: RunningHub) -> list[dict[str, Any]]:
        """See that each attempt is on record, none more and none less, each under its reference; give the records."""

        def look() -> list[dict[str, Any]] | None:
            records = hub.why("--last", "10000")
            recorded: Counter[str] = Counter()
            for record in records:
                recorded[record["reason"]] += record["count"]
            self._difference = (recorded - self.tried, self.tried - recorded)
            return None if any(self._difference) else records

        try:
            records = eventually(look, DEADLINE_SECONDS, "the records")
        except AssertionError:
            raise AssertionError(f"on record and not tried, tried and not on record: {self._difference}") from None
        known = {record["reference"]: record["reason"] for record in records}
        for reference, reason in self.told.items():
            assert known.get(reference) == reason, (reference, reason, known.get(reference))
        assert all(record["fix"] and record["step"] and record["at"] for record in records)
        return records


class Thief:
    """Somebody with the folder of one device, at one door.

    Args:
        hub: the hub.
        folder: the folder.
        is_websocket: at which door.
        ledger: where refusals are noted.
    """

    _tokens: ClassVar[dict[Path, bytes]] = {}

    def __init__(self, hub: RunningHub, folder: Path, is_websocket: bool, ledger: Ledger) -> None:
        self.hub = hub
        self.folder = folder
        self.ledger = ledger
        self.facts: DeviceFile = read_folder(folder)
        self.name = self.facts.name
        self.is_websocket = is_websocket
        self.port = hub.websocket_port if is_websocket else hub.port
        self.context = tls_context(folder, self.facts)

    @property
    def has_certificate(self) -> bool:
        """Whether the folder's proof is a certificate, shown before MQTT begins."""
        return self.facts.auth is CredentialKind.X509

    @property
    def has_password(self) -> bool:
        """Whether the folder's proof is a password, whatever way it is shown."""
        return self.facts.password_file is not None

    def some(self, of: Sequence[T]) -> Sequence[T]:
        """Give all of them, or some: the hash of a password takes as long as a hundred other attempts."""
        return of[:: len(of) // 2 + 1] if self.facts.auth is CredentialKind.PASSWORD else of

    def password(self) -> str:
        """Give the password in the folder."""
        assert self.facts.password_file is not None
        return (self.folder / self.facts.password_file).read_text().strip()

    def secret(self) -> bytes | None:
        """Give what stands in CONNECT's password: a fresh token, the password; None for other proofs."""
        if self.facts.auth in (CredentialKind.X509, CredentialKind.SCRAM_SHA_256):
            return None
        return self.password().encode() if self.has_password else self.token()

    def token(self) -> bytes:
        """Give a token made with the key in the folder, as a device would, and make no other as long as it is good."""
        if self.folder not in self._tokens:
            self._tokens[self.folder] = make_token(self.folder).encode()
        return self._tokens[self.folder]

    def bare(self) -> Thief:
        """Give the same thief with no certificate to show in TLS."""
        other = Thief(self.hub, self.folder, self.is_websocket, self.ledger)
        other.context = ssl.create_default_context(cafile=str(self.folder / self.facts.ca_file))
        return other

    def line(self, version: int = V5) -> Line:
        """Connect, with the folder's certificate if it has one, and say nothing yet."""
        return Line(self.port, self.context, self.is_websocket, version)

    def connect(
        self,
        client_id: str | None = None,
        *,
        version: int = V5,
        user_name: str | None = None,
        secret: bytes | None = None,
        will: WillPacket | None = None,
        expiry: int = 0,
        method: str | None = None,
        data: bytes | None = None,
        behind: bytes = b"",
    ) -> tuple[Line, str]:
        """Connect as the folder's own device, but for what is given; give the line, and why not ("" when it is in).

        Without a client id it takes one of its own that nobody has; `behind` follows the CONNECT in the same write.
        """
        line = self.line(version)
        own = self.secret()
        is_scram = self.facts.auth is CredentialKind.SCRAM_SHA_256 and secret is None and method is None
        peer = ScramPeer(user_name or self.name, self.password()) if is_scram else None
        if peer is not None:
            method, data = METHOD, peer.first()
        shown = secret if secret is not None else own
        packet = Connect(
            version,
            f"{self.name}/{next(_NUMBERS)}" if client_id is None else client_id,
            clean_start=not expiry,
            user_name=user_name or (self.name if shown is not None else None),
            password=None if method is not None else shown,
            will=will,
            properties=Properties(
                session_expiry_interval=expiry or None, authentication_method=method, authentication_data=data
            ) if version == V5 else Properties(),
        )  # fmt: skip
        line.send_bytes(wire.encode(packet, version) + behind)
        answer = line.next()
        if isinstance(answer, Auth) and peer is not None:
            final = peer.final(answer.properties.authentication_data)
            said = Properties(authentication_method=METHOD, authentication_data=final)
            line.send(Auth(ReasonCode.CONTINUE_AUTHENTICATION, said))
            answer = line.next()
        return line, why_not(answer)

    def enters(self, client_id: str | None = None, **words: Any) -> Line:
        """Connect as the folder's own device, which is allowed."""
        line, refused = self.connect(client_id, **words)
        assert refused == "", refused
        return line

    def is_refused(self, among: Collection[str], client_id: str | None = None, **words: Any) -> None:
        """See that a CONNECT is refused with one of these reasons, and that the hub closes."""
        line, refused = self.connect(client_id, **words)
        with line:
            assert refused, f"{self.name} got in as {client_id!r} {words}"
            self.ledger.enter(refused if line.version == V5 else next(iter(among)), among)
            assert line.next() is None, "the hub went on"


def why_not(answer: Packet | None) -> str:
    """Give what the hub said to refuse somebody, "" when it did not refuse."""
    if answer is None:
        return ENDED
    if isinstance(answer, Connack):
        if not answer.code:
            return ""
        return answer.properties.reason_string or f"code {answer.code}"
    if isinstance(answer, Disconnect):
        return answer.properties.reason_string or f"code {answer.code}"
    return f"unexpected {answer}"
