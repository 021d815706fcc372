"""What a hub must do, in the fewest words: sessions, their queues, what is in flight. It imports nothing of lockgate.

Source: MQTT 5.0 sections 3.1.2.11, 3.3.4, 4.3, 4.4, 4.6 and 4.7.
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
    expires_at: float | None = None
    burst: int = 0
    """Retained messages that one subscription asked for come in any order among themselves: one number, not 0."""
    tag: int = 0
    """The packet identifier that it must have, 0 when it has none yet."""


@dataclass
class ModelSession:
    """One client id's session."""

    expiry: float
    is_connected: bool = True
    lost_at: float = 0.0
    will: Item | None = None
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
        self._bursts = 0

    def connect(self, name: str, is_clean: bool, expiry: float, will: Item | None) -> bool:
        """Open a session, taking over one that is connected; say whether one was there."""
        session = self.sessions.get(name)
        if session is not None and session.is_connected:
            self.lose(name)
        session = None if is_clean else self.sessions.get(name)
        is_present = session is not None
        if session is None:
            session = self.sessions[name] = ModelSession(expiry)
        session.is_connected = True
        session.expiry = expiry
        session.will = will
        return is_present

    def lose(self, name: str, is_clean: bool = False) -> None:
        """Lose a connection; its will goes out unless the client said goodbye."""
        session = self.sessions[name]
        session.is_connected = False
        session.lost_at = self.now
        will, session.will = session.will, None
        if will is not None and not is_clean:
            self.publish(name, will)
        if session.expiry <= 0:
            del self.sessions[name]

    def crash(self) -> None:
        """Stop and start the hub: what was to last is there, what was in flight waits again, at the head."""
        was_connected = [name for name, session in self.sessions.items() if session.is_connected]
        self.sessions = {name: session for name, session in self.sessions.items() if session.expiry > 0}
        for session in self.sessions.values():
            session.is_connected = False
            fresh = {tag: item for tag, item in session.flying.items() if tag not in session.released}
            waiting = [replace(item, tag=tag, burst=0) for tag, item in fresh.items()]
            session.queue = waiting + [item for item in session.queue if item.qos]
            session.flying = {tag: item for tag, item in session.flying.items() if tag in session.released}
        for name in was_connected:
            if name in self.sessions:
                self.lose(name)

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
        self._bursts += 1
        for item in self.retained.values():
            if takes_in(topic_filter, item.topic) and not self._is_expired(item):
                session.queue.append(replace(item, qos=min(item.qos, sub.qos), retain=True, burst=self._bursts))

    def publish(self, sender: str, item: Item) -> int:
        """Bring a message in; give how many sessions hear it."""
        heard = 0
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
                    heard += 1
        return heard

    def next_items(self, name: str) -> list[Item]:
        """Give what may be sent next: one item, several where the order is open, none when nothing may be sent."""
        session = self.sessions[name]
        while session.queue and self._is_expired(session.queue[0]):
            session.queue.pop(0)
        if not session.queue or (session.queue[0].qos and len(session.flying) >= self.window):
            return []
        head = session.queue[0]
        found = [head]
        for item in session.queue[1:]:
            if not head.burst or item.burst != head.burst:
                break
            if not self._is_expired(item):
                found.append(item)
        return found

    def _is_expired(self, item: Item) -> bool:
        return item.expires_at is not None and item.expires_at <= self.now


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
