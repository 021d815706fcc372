"""How the hub is doing: figures that operators watch, and the $SYS topics that carry them.

The topics are those that mosquitto made customary, so that dashboards find them; what only lockgate has stands beside
them. All are cumulative since the start or momentary values, as decimal numbers or plain text.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lockgate.model.topic import TopicName

PRODUCT = "lockgate"
MAX_REASON_CHARACTERS = 64


class Status(msgspec.Struct, frozen=True):
    """The hub's figures at one moment."""

    version: str
    uptime_seconds: int
    connections: int
    connections_opened: int
    sessions: int
    subscriptions: int
    retained_messages: int
    messages_published: int
    messages_delivered: int
    bytes_received: int
    bytes_sent: int
    commits: int
    dropped: Mapping[str, int] = {}
    """How many messages were dropped on their way to a session, by reason."""
    refused: Mapping[str, int] = {}
    """How often something was refused, by reason."""


def sys_topics(status: Status) -> dict[TopicName, str]:
    """Give what stands under $SYS: topic name to text."""
    figures = {
        "version": f"{PRODUCT} version {status.version}",
        "uptime": f"{status.uptime_seconds} seconds",
        "clients/connected": status.connections,
        "clients/total": status.sessions,
        "clients/disconnected": max(0, status.sessions - status.connections),
        "connections/opened": status.connections_opened,
        "subscriptions/count": status.subscriptions,
        "retained messages/count": status.retained_messages,
        "publish/messages/received": status.messages_published,
        "publish/messages/sent": status.messages_delivered,
        "publish/messages/dropped": sum(status.dropped.values()),
        "bytes/received": status.bytes_received,
        "bytes/sent": status.bytes_sent,
        "store/commits": status.commits,
        "refusals/total": sum(status.refused.values()),
        **{f"publish/dropped/{_level(reason)}": count for reason, count in status.dropped.items()},
        **{f"refusals/reason/{_level(reason)}": count for reason, count in status.refused.items()},
    }
    return {TopicName(f"$SYS/broker/{name}"): str(figure) for name, figure in figures.items()}


def _level(reason: str) -> str:
    """Give a reason as one level of a topic name."""
    plain = "".join("-" if c in "/+#\0" else c for c in reason)
    return plain[:MAX_REASON_CHARACTERS]
