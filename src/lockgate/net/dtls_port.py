"""What the listener asks of a DTLS library: the port behind which one stands, and beside it a second could.

A provider answers cookies, which keeps nothing, and begins sessions. A session takes datagrams and gives plaintext;
what it has to send goes out through its carrier, a datagram at a time, during the call.
"""

from __future__ import annotations

from cryptography import x509
from mypy_extensions import mypyc_attr

from lockgate.net.dtls import DtlsFailure
from lockgate.net.hellos import Hello
from lockgate.net.tls import Protection


@mypyc_attr(allow_interpreted_subclasses=True)
class Carrier:
    """Brings a session's datagrams to its peer."""

    __slots__ = ()

    def carry(self, data: object, size: int) -> None:
        """Send a datagram: `data` is bytes or a pointer of cffi's, good during the call."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class DtlsSession:
    """The server's side of one DTLS connection."""

    __slots__ = ()

    @property
    def protection(self) -> Protection | None:
        """How the connection is protected, once it is."""
        raise NotImplementedError

    @property
    def psk_identity(self) -> bytes | None:
        """The identity that the peer has proven, once the handshake is done."""
        raise NotImplementedError

    @property
    def raw_public_key(self) -> bytes | None:
        """The key that the peer has proven: DER SubjectPublicKeyInfo."""
        raise NotImplementedError

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The certificate that the peer has proven."""
        raise NotImplementedError

    def shake(self, data: object, size: int, is_sealed: bool, has_change: bool) -> bool:
        """Go on with the handshake by a datagram (bytes or a pointer; size 0: time has passed). Is it done?

        Args:
            is_sealed: whether an encrypted record is among what came.
            has_change: whether a ChangeCipherSpec is: what follows it is sealed with the new keys.

        Raises:
            DtlsRefused: it has failed, and the peer has been told by an alert.
        """
        raise NotImplementedError

    def seconds_to_wait(self) -> float:
        """Say after how long without a datagram `shake` should be called, to send the last flight again."""
        raise NotImplementedError

    def give_up(self, seconds: float) -> DtlsFailure:
        """Tell the peer that its time is up, and say what was missing after so many seconds."""
        raise NotImplementedError

    @property
    def unreadable(self) -> int:
        """How many datagrams came that the peer's key should have made readable, and did not."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether the peer has said goodbye, or the connection is broken."""
        raise NotImplementedError

    def receive(self, data: object, size: int, is_single: bool) -> list[bytes]:
        """Take a datagram of an established connection; give the plaintexts in it.

        Args:
            is_single: whether it is one record: then the library is not asked for more.
        """
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Send plaintext as one datagram."""
        raise NotImplementedError

    def say_goodbye(self) -> None:
        """Send close_notify."""
        raise NotImplementedError

    def release(self) -> None:
        """Free what it holds; it cannot be used after."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class DtlsProvider:
    """One library, with the hub's keys and rules."""

    __slots__ = ()

    def reload(self) -> None:
        """Read the files again; sessions that have begun keep what they were begun with.

        Raises:
            InvalidSettings: when a file cannot be used; what was read before then stays in force.
        """
        raise NotImplementedError

    def has_cookie(self, peer: bytes, data: object, size: int) -> bool:
        """Say whether a ClientHello bears the cookie that was given to `peer`, and note its numbers for `begin`."""
        raise NotImplementedError

    def cookie_request(self, peer: bytes) -> bytes:
        """Give the datagram that hands `peer` its cookie (HelloVerifyRequest)."""
        raise NotImplementedError

    def change_cookie_key(self) -> None:
        """Give cookies of a new key from now on; those of the last key still count."""
        raise NotImplementedError

    def begin(self, hello: Hello, carrier: Carrier) -> DtlsSession:
        """Begin a session by a ClientHello that `has_cookie` has just found good; `shake` then takes it first."""
        raise NotImplementedError
