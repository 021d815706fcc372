"""A small model of the policy, written from the guide to permissions and from nothing else, in regular expressions."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from lockgate.model.permission import Rule


class Someone(msgspec.Struct, frozen=True):
    """A device as the model sees it."""

    name: str
    groups: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    is_blocked: bool = False


class Action(msgspec.Struct, frozen=True):
    """What somebody tries."""

    device: str
    client_id: str
    operation: str
    topic: str
    qos: int
    retain: bool
    payload_bytes: int


@lru_cache(maxsize=100_000)
def pattern_of(topic_filter: str) -> re.Pattern[str]:
    """Give a regular expression that takes in what the filter does."""
    if topic_filter in ("#", "+/#"):
        return re.compile(r"(?!\$).*" if topic_filter == "#" else r"(?!\$)[^/]*(/.*)?", re.S)
    head = r"(?!\$)" if topic_filter.startswith("+") else ""
    is_tree = topic_filter.endswith("/#")
    levels = topic_filter.removesuffix("/#").split("/")
    body = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels)
    return re.compile(head + body + ("(/.*)?" if is_tree else ""), re.S)


class Model:
    """Rules and devices, and what may be done."""

    def __init__(self, rules: list[Rule], devices: list[Someone]) -> None:
        self.rules = rules
        self.devices = {device.name: device for device in devices}

    def allows(self, action: Action) -> bool:
        """Say whether an action is allowed."""
        actor = self.devices.get(action.device)
        if actor is None or actor.is_blocked:
            return False
        own = [rule for rule in self._about(actor) if self._speaks(rule, actor, action.client_id, action)]
        deciding = own
        tree = re.match(r"devices/([^/]*)", action.topic)
        other = self.devices.get(tree.group(1)) if tree else None
        if other is not None and other is not actor and actor.name in other.gateways:
            if other.is_blocked:
                return False
            deciding = [rule for rule in self._about(other) if self._speaks(rule, other, other.name, action)]
        if any(rule.effect == "deny" for rule in (*own, *deciding)):
            return False
        if action.operation == "publish" and action.topic.split("/")[0] == "$SYS":
            return False
        return any(rule.effect == "allow" and _admits(rule, action) for rule in deciding)

    def _about(self, device: Someone) -> list[Rule]:
        subjects = {f"device:{device.name}", "everyone"}
        subjects |= {f"group:{group}" for group in device.groups} | {f"role:{role}" for role in device.roles}
        tree = f"devices/{device.name}/#"
        built_in = [Rule("everyone", operation, tree) for operation in ("publish", "receive")]  # type: ignore[arg-type]
        return [*built_in, *(rule for rule in self.rules if rule.subject in subjects)]

    def _speaks(self, rule: Rule, device: Someone, client_id: str, action: Action) -> bool:
        if rule.operation != action.operation:
            return False
        texts = [rule.filter.replace("${device}", device.name)]
        if "${group}" in rule.filter:
            texts = [text.replace("${group}", group) for text in texts for group in device.groups]
        is_plain = re.fullmatch(r"[^/+#]+(/[^/+#]+)?", client_id) is not None
        for text in texts:
            if "${client_id}" in text and not is_plain:
                if rule.effect == "allow":
                    continue
                above = rule.filter[: rule.filter.index("${")].rpartition("/")[0]
                text = f"{above}/#" if above or rule.filter.startswith("/") else "#"
            if pattern_of(text.replace("${client_id}", client_id)).fullmatch(action.topic):
                return True
        return False


def _admits(rule: Rule, action: Action) -> bool:
    if rule.max_payload_bytes is not None and action.payload_bytes > rule.max_payload_bytes:
        return False
    return action.operation == "receive" or (action.qos in rule.qos and (rule.retain or not action.retain))
