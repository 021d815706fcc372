"""TCP connections out of a capture file (pcap, pcapng): who spoke with whom, and what each side said, in order.

Segments are put in order by their sequence numbers, repeated ones are dropped; where the capture lacks a segment, that
direction ends there and says so. Source: RFC 9293 section 3.4.
"""

from __future__ import annotations

from io import BytesIO

import dpkt
import msgspec

from lockgate.errors import InvalidSettings
from lockgate.net.link import Address

MAGICS = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a")
MAX_CONNECTIONS = 100_000
MAX_EARLY_SEGMENTS = 4096
_WRAP = 1 << 32
_IP_TYPES = (dpkt.pcap.DLT_RAW, 12, 14, 101, 228, 229)
_LINKS = {
    dpkt.pcap.DLT_EN10MB: dpkt.ethernet.Ethernet,
    dpkt.pcap.DLT_LINUX_SLL: dpkt.sll.SLL,
    dpkt.pcap.DLT_LINUX_SLL2: dpkt.sll2.SLL2,
    dpkt.pcap.DLT_NULL: dpkt.loopback.Loopback,
    dpkt.pcap.DLT_LOOP: dpkt.loopback.Loopback,
}


class Piece(msgspec.Struct, frozen=True):
    """Bytes that one side said, in their order; `at` in unix seconds."""

    at: float
    is_from_client: bool
    data: bytes


class Connection(msgspec.Struct):
    """One TCP connection. The client is who sent the first SYN or, where the capture has none, the higher port."""

    client: Address
    server: Address
    pieces: list[Piece]
    missing: list[str]


def is_capture(data: bytes) -> bool:
    """Say whether bytes begin like a capture file."""
    return data[:4] in MAGICS


def read_connections(data: bytes) -> list[Connection]:
    """Give the TCP connections of a capture, in the order of their first packet.

    Raises:
        InvalidSettings: when it is no capture, or one of a kind of link that is not known here.
    """
    table: dict[tuple[Address, Address], _Half] = {}
    found: list[Connection] = []
    try:
        reader = dpkt.pcap.UniversalReader(BytesIO(data))
        link = reader.datalink()
        if link not in _LINKS and link not in _IP_TYPES:
            raise InvalidSettings(
                f"the capture is of link type {link}, which is not known here", fix="capture on Ethernet or loopback"
            )
        for at, frame in reader:
            packet = _ip(link, frame)
            if packet is not None and isinstance(packet.data, dpkt.tcp.TCP):
                _take(packet, packet.data, at, table, found)
    except (ValueError, dpkt.Error, IndexError) as error:
        raise InvalidSettings(f"the capture cannot be read: {error}", fix="make it anew: tcpdump -w FILE") from error
    for half in table.values():
        half.finish()
    return found


class _Half:
    """One direction of a connection: puts segments in order."""

    def __init__(self, connection: Connection, is_from_client: bool) -> None:
        self._connection = connection
        self._is_from_client = is_from_client
        self._begin: int | None = None
        self._next: int | None = None
        self._early: dict[int, tuple[float, bytes]] = {}

    def take(self, at: float, sequence: int, is_syn: bool, data: bytes) -> None:
        """Take one segment."""
        if self._next is None:
            self._begin = sequence
            self._next = (sequence + is_syn) % _WRAP
        if is_syn:
            sequence = (sequence + 1) % _WRAP
        if data and len(self._early) < MAX_EARLY_SEGMENTS:
            known = self._early.get(sequence)
            if known is None or len(known[1]) < len(data):
                self._early[sequence] = (at, data)
        if (self._next - sequence) % _WRAP < _WRAP // 2:  # what is ahead lets nothing else go
            self._drain()

    def has_begun(self, sequence: int) -> bool:
        """Say whether a SYN with this number opens another connection than the one that is known."""
        return self._begin is not None and self._begin != sequence

    def finish(self) -> None:
        """Say what never came."""
        if self._early and self._next is not None:
            gap = min((sequence - self._next) % _WRAP for sequence in self._early)
            who = "client" if self._is_from_client else "server"
            self._connection.missing.append(
                f"{gap} bytes of the {who} are not in the capture; what follows is left out"
            )

    def _drain(self) -> None:
        while self._next is not None:
            for sequence in list(self._early):
                behind = (self._next - sequence) % _WRAP
                if behind >= _WRAP // 2:
                    continue  # it is ahead
                at, data = self._early.pop(sequence)
                if behind < len(data):
                    self._connection.pieces.append(Piece(at, self._is_from_client, data[behind:]))
                    self._next = (self._next + len(data) - behind) % _WRAP
                    break
            else:
                return


def _ip(link: int, frame: bytes) -> dpkt.ip.IP | dpkt.ip6.IP6 | None:
    """Give the IP packet of a frame, None when it holds none that can be read."""
    try:
        if link in _IP_TYPES:
            return dpkt.ip6.IP6(frame) if frame[:1] and frame[0] >> 4 == 6 else dpkt.ip.IP(frame)
        packet = _LINKS[link](frame).data
    except dpkt.Error:
        return None
    return packet if isinstance(packet, dpkt.ip.IP | dpkt.ip6.IP6) else None


def _take(
    packet: dpkt.ip.IP | dpkt.ip6.IP6,
    segment: dpkt.tcp.TCP,
    at: float,
    table: dict[tuple[Address, Address], _Half],
    found: list[Connection],
) -> None:
    to_text = dpkt.utils.inet_to_str
    source, target = Address(to_text(packet.src), segment.sport), Address(to_text(packet.dst), segment.dport)
    is_syn = bool(segment.flags & dpkt.tcp.TH_SYN)
    is_opening = is_syn and not segment.flags & dpkt.tcp.TH_ACK
    half = table.get((source, target))
    if half is None or (is_opening and half.has_begun(segment.seq)):
        if len(found) >= MAX_CONNECTIONS:
            return
        is_client = is_opening or (not is_syn and segment.sport >= segment.dport)
        connection = Connection(*((source, target) if is_client else (target, source)), [], [])
        found.append(connection)
        for key in ((source, target), (target, source)):
            before = table.get(key)
            if before is not None:
                before.finish()
        half = table[source, target] = _Half(connection, is_client)
        table[target, source] = _Half(connection, not is_client)
    half.take(at, segment.seq, is_syn, bytes(segment.data))
