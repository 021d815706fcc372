"""A DTLS listener on loopback with keys made fresh, and the clients of libcoap and OpenSSL to speak to it.

The door behind it answers a CoAP GET with "hello", as much of CoAP as libcoap's clients need to end well.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.net.datagrams import DatagramHandler, DatagramLimits, DatagramLink
from lockgate.net.dtls import DtlsFailure, DtlsFiles, DtlsModes
from lockgate.net.dtls_listener import DtlsListener
from lockgate.net.link import Address
from tests.support.certificates import Authority, Issued, pem

DEADLINE_SECONDS = 40.0
IDENTITY, KEY = "sensor", "0123456789abcdef"
OPENSSL_PSK = ["-psk_identity", IDENTITY, "-psk", KEY.encode().hex()]


class Keys:
    """What the registry would know."""

    def __init__(self) -> None:
        self.psks: dict[bytes, bytes | bytearray] = {IDENTITY.encode(): KEY.encode()}
        self.raw_keys: set[bytes] = set()
        self.barred_serials: set[int] = set()

    def psk(self, identity: bytes) -> bytes | bytearray | None:
        return self.psks.get(identity)

    def is_known_key(self, spki: bytes) -> bool:
        return spki in self.raw_keys

    def is_barred(self, certificate: x509.Certificate) -> bool:
        return certificate.serial_number in self.barred_serials


class Answering(DatagramHandler):
    """A door's side of one link: answers, and remembers what happened."""

    def __init__(self, room: DtlsRoom) -> None:
        self._room = room
        self.link: DatagramLink
        self.heard: list[bytes] = []
        self.came = asyncio.Event()
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.identity: bytes | None = None
        self.raw_key: bytes | None = None
        self.certificate: x509.Certificate | None = None

    def link_made(self, link: DatagramLink) -> None:
        self.link = link
        self.identity, self.raw_key, self.certificate = link.psk_identity, link.raw_public_key, link.peer_certificate
        self._room.handlers.append(self)
        self._room.made.set()

    def datagram_received(self, data: bytes, is_multicast: bool) -> None:
        self.heard.append(data)
        self.came.set()
        token_bytes, is_confirmable, code = data[0] & 15, data[0] >> 4 & 3 == 0, data[1]
        if 0 < code < 32:  # a request: 2.05, piggybacked
            head = bytes([(0x60 if is_confirmable else 0x50) | token_bytes, 69])
            self.link.send(head + data[2 : 4 + token_bytes] + b"\xc0\xffhello")

    def link_lost(self, error: Exception | None) -> None:
        self.ended.set_result(error)


class DtlsRoom:
    """A listener with its keys, its handlers, and whom it refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = Keys()
        self.handlers: list[Answering] = []
        self.refused: list[tuple[Address, DtlsFailure]] = []
        self.made = asyncio.Event()
        self.turned_away = asyncio.Event()
        self.authority = Authority("Hub CA")
        self.server = self.authority.issue("localhost", purpose="server", names=["localhost", "127.0.0.1", "::1"])
        self.files = DtlsFiles(folder / "server.pem", folder / "server.key.pem", folder / "ca.pem", folder / "crl.pem")
        self.server.write(folder, "server")
        self.files.authorities.write_bytes(pem(self.authority.certificate))
        self.listener: DtlsListener

    async def open(self, limits: DatagramLimits | None = None, modes: DtlsModes | None = None) -> None:
        self.listener = await DtlsListener.open(
            "127.0.0.1",
            0,
            lambda: Answering(self),
            limits or DatagramLimits(),
            self.files,
            self.keys,
            modes or DtlsModes(),
            self._note,
        )

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.listener.port

    def _note(self, peer: Address, failure: DtlsFailure) -> None:
        self.refused.append((peer, failure))
        self.turned_away.set()

    async def failure(self) -> DtlsFailure:
        """Wait until somebody was refused, and say why."""
        await self.turned_away.wait()
        self.turned_away.clear()
        return self.refused[-1][1]

    # Clients

    def write_device(self, issued: Issued, stem: str = "device") -> list[str]:
        """Write a device's certificate and key; give libcoap's options for them."""
        certificate, key = issued.write(self.folder, stem)
        return ["-c", str(certificate), "-j", str(key), "-C", str(self.files.authorities)]

    def write_raw_key(self, key: ec.EllipticCurvePrivateKey, is_known: bool = True) -> list[str]:
        """Write a raw key; give the options of libcoap's GnuTLS client for it."""
        public, spki = public_key(key)
        if is_known:
            self.keys.raw_keys.add(spki)
        path = self.folder / "raw.pem"
        sec1 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *sec1) + public)
        return ["-M", str(path)]

    async def coap(self, *options: str, client: str = "coap-client-gnutls") -> str:
        """Run libcoap's client: a GET; give what it says."""
        url = f"coaps://127.0.0.1:{self.listener.port}/x"
        return await run_program(client, "-m", "get", "-B", "15", *options, url)

    async def openssl(self, *options: str, says: bytes = b"") -> str:
        """Run `openssl s_client`, let it say something, and close; give what it says."""
        target = f"127.0.0.1:{self.listener.port}"
        return await run_program("openssl", "s_client", "-dtls1_2", "-connect", target, *options, says=says)


def public_key(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    """Give a public key as PEM and as DER."""
    shape = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.PEM, shape), public.public_bytes(
        serialization.Encoding.DER, shape
    )


async def run_program(*command: str, says: bytes = b"") -> str:
    """Run a program to its end; give what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate(says)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace")


def in_room(folder: Path, scene: Callable[[DtlsRoom], Awaitable[None]]) -> None:
    """Play a scene with a listener, which is closed after."""

    async def within() -> None:
        room = DtlsRoom(folder)
        try:
            await asyncio.wait_for(scene(room), DEADLINE_SECONDS)
        finally:
            room.listener.close()

    uvloop.run(within())


PSK_CCM_8, ECDSA_CCM_8 = 0xC0A8, 0xC0AE
_GROUPS = bytes.fromhex("000a0004 0002 0017 000b0002 0100 000d0004 0002 0403")
"""Extensions: P-256, uncompressed points, ECDSA with SHA-256."""


def client_hello(
    random: bytes = bytes(32),
    cookie: bytes = b"",
    suites: tuple[int, ...] = (PSK_CCM_8,),
    certificate_types: bytes = b"",
    version: bytes = b"\xfe\xfd",
) -> bytes:
    """Give a datagram with one ClientHello (RFC 6347 section 4.2.2)."""
    extensions = _GROUPS
    if certificate_types:
        listed = bytes([len(certificate_types)]) + certificate_types
        extensions += b"\0\x13" + len(listed).to_bytes(2, "big") + listed
    body = (
        version
        + random
        + b"\0"
        + bytes([len(cookie)])
        + cookie
        + (2 * len(suites)).to_bytes(2, "big")
        + b"".join(each.to_bytes(2, "big") for each in suites)
        + b"\x01\0"
        + len(extensions).to_bytes(2, "big")
        + extensions
    )
    number = 1 if cookie else 0
    size = len(body).to_bytes(3, "big")
    message = b"\x01" + size + number.to_bytes(2, "big") + bytes(3) + size + body
    return record(22, message, number)


def record(kind: int, payload: bytes, number: int = 0, epoch: int = 0) -> bytes:
    """Give one record as a datagram (RFC 6347 section 4.1)."""
    head = bytes([kind]) + b"\xfe\xfd" + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
    return head + len(payload).to_bytes(2, "big") + payload


def cookie_of(answer: bytes) -> bytes:
    """Read the cookie out of a HelloVerifyRequest."""
    assert answer[0] == 22
    assert answer[13] == 3
    return answer[28 : 28 + answer[27]]


class Stranger:
    """A client that speaks in single datagrams, and never finishes a handshake."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(target)

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    async def receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, 65_536)

    async def ask(self, data: bytes) -> bytes:
        """Send a datagram, and give what comes back first."""
        self.send(data)
        return await self.receive()

    async def begin(self, random: bytes = bytes(32), suites: tuple[int, ...] = (PSK_CCM_8,)) -> bytes:
        """Prove the address and begin a handshake; give the first datagram of the hub's flight."""
        cookie = cookie_of(await self.ask(client_hello(random, suites=suites)))
        return await self.ask(client_hello(random, cookie, suites))

    def heard_nothing(self) -> bool:
        try:
            self._socket.recv(65_536)
        except BlockingIOError:
            return True
        return False


class Relay(asyncio.DatagramProtocol):
    """Stands between a client and the hub, and keeps what the client sent."""

    def __init__(self, target: tuple[str, int], dice: random.Random, loss: float) -> None:
        self._target = target
        self._dice = dice
        self._loss = loss
        self._client: tuple[str, int] | None = None
        self.transport: asyncio.DatagramTransport
        self.sent: list[bytes] = []
        self.has_spoken = False
        self.is_holding = False
        self.held: list[bytes] = []
        self._holds = asyncio.Event()
        self.lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._dice.random() < self._loss:
            self.lost += 1
            return
        if addr == self._target:
            assert self._client is not None
            # OpenSSL's client stumbles over answers that it has not asked for; here it is about the hub.
            if not (self.has_spoken and data[3:5] == bytes(2)):
                self.transport.sendto(data, self._client)
        else:
            self._client = addr
            if self.is_holding:
                self.held.append(data)
                self._holds.set()
                return
            self.sent.append(data)
            self.transport.sendto(data, self._target)

    async def came(self) -> None:
        """Wait until one more datagram is held back."""
        await self._holds.wait()
        self._holds.clear()

    def say(self, data: bytes) -> None:
        """Send in the client's name."""
        self.has_spoken = True
        self.transport.sendto(data, self._target)


async def client_behind_a_relay(
    room: DtlsRoom, dice: random.Random | None = None, loss: float = 0.0
) -> tuple[Relay, asyncio.subprocess.Process]:
    """Start OpenSSL's client with something between it and the hub; it has said "in"."""
    loop = asyncio.get_running_loop()
    _, relay = await loop.create_datagram_endpoint(
        lambda: Relay(room.address, dice or random.Random(1), loss), local_addr=("127.0.0.1", 0)
    )
    port = relay.transport.get_extra_info("sockname")[1]
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", *OPENSSL_PSK),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await room.made.wait()
    if not loss:
        await says_in(process, room, b"in\n")
    return relay, process


async def says_in(process: asyncio.subprocess.Process, room: DtlsRoom, text: bytes) -> None:
    """Have a client say something, and wait until the door has heard it."""
    assert process.stdin is not None
    process.stdin.write(text)
    while room.handlers[0].heard[-1:] != [text]:
        room.handlers[0].came.clear()
        await room.handlers[0].came.wait()


async def end_process(process: asyncio.subprocess.Process) -> None:
    """End a client without a goodbye."""
    process.kill()
    await process.wait()
