"""What a hub must do, in the fewest words: sessions, their queues and what is in flight. It imports nothing of lockgate.

A packet is written as a tuple: ("publish", topic, payload, qos, retain, identifier), ("pubrel", identifier) and so on.
Source: MQTT 5.0 sections 3.3.4, 4.3, 4.4, 4.6 and 4.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Sub:
    """One subscription's options."""

    qos: int
    no_local: bool = False
    keeps_retain: bool = False


@dataclass(frozen=True)
class Item:
    """One message on its way to one session."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False


@dataclass
class ModelSession:
    """One client id's session."""

    expiry: float
    is_connected: bool = True
    lost_at: float = 0.0
    subs: dict[str, Sub] = field(default_factory=dict)
    queue: list[Item] = field(default_factory=list)
    flying: dict[int, Item] = field(default_factory=dict)
    released: set[int] = field(default_factory=set)
    received: set[int] = field(default_factory=set)


class Model:
    """A hub, reduced to what a client can see of it.

    Args:
        window: how many QoS 1 and 2 messages each client takes at once.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.now = 0.0
        self.sessions: dict[str, ModelSession] = {}
        self.retained: dict[str, Item] = {}

    def connect(self, name: str, is_clean: bool, expiry: float) -> bool:
        """Open a session; say whether one was there."""
        session = self.sessions.get(name)
        if session is not None and (is_clean or (session.is_connected and session.expiry <= 0)):
            session = None
        is_present = session is not None
        if session is None:
            session = self.sessions[name] = ModelSession(expiry)
        session.is_connected = True
        session.expiry = expiry
        return is_present

    def lose(self, name: str) -> None:
        """Lose a connection."""
        session = self.sessions[name]
        session.is_connected = False
        session.lost_at = self.now
        if session.expiry <= 0:
            del self.sessions[name]

    def crash(self) -> None:
        """Stop and start the hub: what was to last is there, what was in flight waits again, at the head."""
        for name in list(self.sessions):
            session = self.sessions[name]
            if session.is_connected:
                self.lose(name)
            waiting = [item for tag, item in session.flying.items() if tag not in session.released]
            session.queue = waiting + session.queue
            session.flying = {tag: item for tag, item in session.flying.items() if tag in session.released}

    def pass_time(self, seconds: float) -> None:
        """Let time pass; sessions whose time is up are gone."""
        self.now += seconds
        for name, session in list(self.sessions.items()):
            if not session.is_connected and self.now >= session.lost_at + session.expiry:
                del self.sessions[name]

    def subscribe(self, name: str, topic_filter: str, sub: Sub) -> None:
        """Add a subscription; its retained messages join the queue."""
        session = self.sessions[name]
        session.subs[topic_filter] = sub
        for item in self.retained.values():
            if takes_in(topic_filter, item.topic):
                session.queue.append(replace(item, qos=min(item.qos, sub.qos), retain=True))

    def publish(self, sender: str, item: Item) -> None:
        """Bring a message in."""
        if item.retain and item.payload:
            self.retained[item.topic] = item
        elif item.retain:
            self.retained.pop(item.topic, None)
        for name, session in self.sessions.items():
            matching = [
                sub
                for topic_filter, sub in session.subs.items()
                if takes_in(topic_filter, item.topic) and not (sub.no_local and name == sender)
            ]
            if matching:
                qos = min(item.qos, max(sub.qos for sub in matching))
                keeps = item.retain and any(sub.keeps_retain for sub in matching)
                if session.is_connected or (qos and session.expiry > 0):
                    session.queue.append(replace(item, qos=qos, retain=keeps))

    def next_item(self, name: str) -> Item | None:
        """Give what is sent next, None when nothing may be."""
        session = self.sessions[name]
        if not session.queue or (session.queue[0].qos and len(session.flying) >= self.window):
            return None
        return session.queue.pop(0)


def takes_in(topic_filter: str, topic: str) -> bool:
    """Say whether a filter matches a topic name (section 4.7)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
