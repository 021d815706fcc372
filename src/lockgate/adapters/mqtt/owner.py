"""What the parts of a connection tell the connection: one reference each instead of a bound method for every word.

A bound method is an object of 88 bytes, kept as long as the connection is; five of them were a fifth of an idle one.
"""

from __future__ import annotations

from abc import abstractmethod

from mypy_extensions import trait

from lockgate.adapters.mqtt.packets import MqttError
from lockgate.errors import LockgateError


@trait
class Owner:
    """The connection, as its protocol, its intake and its sender know it."""

    @abstractmethod
    def explained(self, error: MqttError) -> str:
        """Note why the protocol fails, and give the words for the peer."""

    @abstractmethod
    def end(self, error: LockgateError) -> None:
        """Know that the hub ends the connection, and why."""

    @abstractmethod
    def break_off(self, error: LockgateError) -> None:
        """Know that the connection ends for what the client did."""

    @abstractmethod
    def unexpected(self) -> None:
        """Know that something went wrong unexpectedly: the exception that is handled."""

    @abstractmethod
    def wait_for_commit(self) -> None:
        """Hear of the next commit."""
