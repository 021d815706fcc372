"""WHO ARE YOU? Credentials -> Principal; one file per kind of credential."""

from lockgate.identity.authenticator import Authenticator
from lockgate.identity.credentials import Credentials, DeviceSource
from lockgate.identity.exchange import METHODS, Exchange, Turn

__all__ = ["METHODS", "Authenticator", "Credentials", "DeviceSource", "Exchange", "Turn"]
