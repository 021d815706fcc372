"""How a new device gets its first credential: a folder that holds all it needs to connect."""

from lockgate.provision.bundle import NewCredential, make_bundle
from lockgate.provision.folder import DeviceFile, HubAddress, read_folder
from lockgate.provision.guide import CommandLines, command_lines
from lockgate.provision.token import make_token, parse_duration

__all__ = [
    "CommandLines",
    "DeviceFile",
    "HubAddress",
    "NewCredential",
    "command_lines",
    "make_bundle",
    "make_token",
    "parse_duration",
    "read_folder",
]
