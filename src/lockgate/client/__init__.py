"""The device's side: connect, publish and receive with the folder that `lockgate device add` made."""

from lockgate.client.device import Device, Protection

__all__ = ["Device", "Protection"]
