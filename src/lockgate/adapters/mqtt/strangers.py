"""Connections that TLS let in and that have not shown who they are yet, or whose proof is still being looked at.

They have no session by which the hub would find them. When the key of their certificate is no longer good they end as
well, and do not have to be waited for until they ask to be let in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from cryptography import x509

from lockgate.adapters.mqtt.server import MqttConnection
from lockgate.errors import ShutOut, Step

Owner = Callable[[x509.Certificate], str]
"""Says whose a certificate was whose key is no longer good, "" when it still is."""


def end_strangers(connections: Iterable[MqttConnection], whose: Owner) -> Counter[str]:
    """End the connections that hold a worthless certificate and no session; count them by device."""
    ended: Counter[str] = Counter()
    for connection in [each for each in connections if each.is_stranger]:
        certificate = connection.link.peer_certificate
        device = whose(certificate) if certificate is not None else ""
        if device:
            ended[device] += 1
            error = ShutOut(f"the key of {device} is no longer good", reason="credential revoked", step=Step.CREDENTIAL)
            connection.shut_out(error)
    return ended
