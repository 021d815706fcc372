"""What a door sees of a connection: a link to write to, and a handler that it gives. Plain or TLS looks the same.

link.write, close, abort ...          the door speaks
handler.data_received, ...            the link speaks

Both are base classes, not protocols: where the rooms are compiled, a call from one side to the other is then a jump
through a table instead of a look-up by name.
"""

from __future__ import annotations

import ipaddress

import msgspec
from cryptography import x509
from mypy_extensions import mypyc_attr

from lockgate.net.tls import Protection


class Address(msgspec.Struct, frozen=True):
    """One end of a TCP connection; `host` is an IPv4 or IPv6 address in text."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as in a URL: brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def network_of(host: str) -> str:
    """Give what limits per address are counted by: an IPv4 address itself, of an IPv6 address its network.

    One subscriber line has 2**64 IPv6 addresses (RFC 6177): counted one by one, none would ever reach a limit.
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


class NetLimits(msgspec.Struct, frozen=True):
    """What one listener grants its peers."""

    handshake_deadline_seconds: float = 10.0
    """From the TCP connection to the end of the TLS handshake."""
    close_deadline_seconds: float = 2.0
    """How long a closed link may take to send its rest and see the peer's end."""
    max_connections: int = 10_000
    max_connections_per_address: int = 1_000
    max_handshakes: int = 1_000
    """How many TLS handshakes are under way at once."""
    max_handshakes_per_second_per_address: float = 200.0
    """0 for no limit."""
    max_handshake_burst_per_address: int = 1_000
    max_write_buffer_bytes: int = 1_048_576
    """The high-water mark: above it the handler hears `pause_writing`, below a quarter of it `resume_writing`."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Link:
    """One connection, as the door uses it."""

    __slots__ = ()

    @property
    def peer(self) -> Address:
        """Where the peer connects from."""
        raise NotImplementedError

    @property
    def protection(self) -> Protection | None:
        """How TLS protects the link; None for plain text."""
        raise NotImplementedError

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The client's verified certificate, None when it showed none."""
        raise NotImplementedError

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for (SNI), None when it asked for none."""
        raise NotImplementedError

    @property
    def is_name_covered(self) -> bool:
        """Whether the server certificate holds that name; true when there is none."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send `data`; what is written in one turn of the loop leaves together. Ignored once closed."""
        raise NotImplementedError

    def close(self, text: str = "") -> None:
        """Send what is written, say goodbye (close_notify, FIN); the handler hears `connection_lost(None)` soon.

        `text` says why; a link whose goodbye has no room for words leaves it out.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """End it at once; what is not sent is dropped."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Stop `data_received` until `resume_reading`; the peer feels it by TCP's flow control."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Go on reading."""
        raise NotImplementedError

    def write_buffer_bytes(self) -> int:
        """Say how many bytes wait to be sent."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class StreamHandler:
    """One connection, as the link drives it: `connection_made` first, `connection_lost` last, each exactly once."""

    __slots__ = ()

    def connection_made(self, link: Link) -> None:
        """Begin; with TLS the handshake is done."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Take plaintext, any number of bytes from one."""
        raise NotImplementedError

    def eof_received(self) -> None:
        """Know that the peer sends no more; the link closes after this call."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """Know that more than the high-water mark waits to be sent."""
        raise NotImplementedError

    def resume_writing(self) -> None:
        """Know that the peer has read enough again."""
        raise NotImplementedError

    def connection_lost(self, error: Exception | None) -> None:
        """End; `error` is None after an orderly end."""
        raise NotImplementedError
