"""WHO ARE YOU? Credentials -> Principal; one file per kind of credential."""

from lockgate.identity.authenticator import Authenticator
from lockgate.identity.credentials import Credentials, DeviceSource

__all__ = ["Authenticator", "Credentials", "DeviceSource"]
