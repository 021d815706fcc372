"""What people say about who may do what: rules and roles, checked here, written to registry.db, audited."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lockgate.errors import InvalidSettings, LockgateError
from lockgate.model.device import check_name
from lockgate.model.permission import EVERYONE, QOS_LEVELS, Effect, Operation, Rule
from lockgate.model.topic import topic_filter
from lockgate.store import rules as stored
from lockgate.store.registry_db import RegistryDb
from lockgate.store.rules import Held, PolicyChange

VARIABLES = ("device", "group", "client_id")
MAX_PAYLOAD_BYTES = 268_435_455
"""The largest packet of MQTT; a rule that allows more says nothing."""
MAX_MESSAGES_PER_SECOND = 1e9

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class RoleBook:
    """Administrative acts on roles, and on all rules at once, each by somebody.

    Args:
        database: registry.db, open for writing.
        actor: who acts, as the audit trail shall name them.
        clock: gives unix seconds.
    """

    def __init__(self, database: RegistryDb, actor: str, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._actor = actor
        self._clock = clock

    def add_role(self, name: str) -> None:
        """Make a role: give it rules with the subject "role:NAME"."""
        with helpful():
            check_name(name, "role")
            stored.add_role(self._database, name, actor=self._actor, now=self._clock())

    def remove_role(self, name: str) -> None:
        """Remove a role with its rules."""
        with helpful():
            stored.remove_role(self._database, name, actor=self._actor, now=self._clock())

    def grant(self, role: str, holder: str) -> bool:
        """Let "device:NAME" or "group:NAME" hold a role; say whether that is new."""
        with helpful():
            check_holder(holder)
            return stored.grant_role(self._database, Held(role, holder), actor=self._actor, now=self._clock())

    def revoke(self, role: str, holder: str) -> None:
        """Take a role from a device or a group."""
        with helpful():
            stored.revoke_role(self._database, Held(role, holder), actor=self._actor, now=self._clock())

    def change(self, change: PolicyChange) -> None:
        """Bring in many changes: all of them, or none."""
        with helpful():
            for rule in change.add_rules:
                check_rule(rule)
            for name in change.add_roles:
                check_name(name, "role")
            for held in change.grant:
                check_holder(held.holder)
            stored.change_policy(self._database, change, actor=self._actor, now=self._clock())


def check_rule(rule: Rule) -> None:
    """Come back when a rule may be registered, as far as the rule itself can tell.

    Raises:
        InvalidSettings: when its subject, its variables or its limits cannot be.
        TopicFilterInvalid: when its filter breaks the rules for filters.
    """
    check_subject(rule.subject)
    check_rule_filter(rule.filter)
    if not rule.qos or rule.qos != tuple(sorted({*rule.qos} & {*QOS_LEVELS})):
        raise InvalidSettings(f"a rule's QoS levels are some of 0, 1 and 2, in this order, not {list(rule.qos)}")
    if rule.max_payload_bytes is not None and not 0 <= rule.max_payload_bytes <= MAX_PAYLOAD_BYTES:
        raise InvalidSettings(f"a rule's max_payload_bytes is 0 to {MAX_PAYLOAD_BYTES}, not {rule.max_payload_bytes}")
    rate = rule.messages_per_second
    if rate is not None and not 0 < rate <= MAX_MESSAGES_PER_SECOND:
        raise InvalidSettings(f"a rule's messages_per_second is more than 0 and at most 1e9, not {rate:g}")
    if rate is not None and rule.operation is not Operation.PUBLISH:
        raise InvalidSettings("only a rule for publishing has messages_per_second", fix="limit who publishes")
    bare = Rule(rule.subject, rule.operation, rule.filter, rule.effect, id=rule.id)
    if rule.effect is Effect.DENY and rule != bare:
        raise InvalidSettings(
            "a deny rule has no limits: it denies all that its filter takes in",
            fix="allow with a limit instead: what no rule allows is denied",
        )


def check_subject(subject: str) -> None:
    """Come back when a rule can be about this subject.

    Raises:
        InvalidSettings: when it cannot.
    """
    kind, colon, name = subject.partition(":")
    if subject == EVERYONE:
        return
    if not (colon and name and kind in ("device", "group", "role")):
        raise InvalidSettings(f"a rule is about device:NAME, group:NAME, role:NAME or everyone, not {subject!r}")
    check_name(name, kind)


def check_holder(holder: str) -> None:
    """Come back when this can hold a role.

    Raises:
        InvalidSettings: when it cannot.
    """
    kind, _, name = holder.partition(":")
    if kind not in ("device", "group") or not name:
        raise InvalidSettings(f"a role is held by device:NAME or group:NAME, not {holder!r}")
    check_name(name, kind)


def check_rule_filter(text: str) -> None:
    """Come back when `text` may stand in a rule: a topic filter with ${device}, ${group} and ${client_id}.

    Two variables in one level would make names run together: a-b of the device "a" and the group "b", and of the
    device "a-b". A client id may have two levels, so it stands alone.

    Raises:
        InvalidSettings: for any other variable, and for variables that share a level.
        TopicFilterInvalid: when it is no topic filter once the names are filled in.
    """
    for name in _VARIABLE.findall(text):
        if name not in VARIABLES:
            raise InvalidSettings(
                f"a rule's filter knows ${{device}}, ${{group}} and ${{client_id}}, not ${{{name}}}: {text!r}"
            )
    filled = _VARIABLE.sub("name", text)
    if "${" in filled:
        raise InvalidSettings(f"a variable in the filter does not end: {text!r}", fix="write ${device} or ${client_id}")
    topic_filter(filled)
    for level in text.split("/"):
        if len(_VARIABLE.findall(level)) > 1 or ("${client_id}" in level and level != "${client_id}"):
            raise InvalidSettings(
                f"variables run together with others, or ${{client_id}} with anything, in {level!r}: {text!r}",
                fix="give each variable a level of its own",
            )


@contextmanager
def helpful() -> Iterator[None]:
    """Let no error pass without a word on what would mend it."""
    try:
        yield
    except LockgateError as error:
        error.fix = error.fix or "correct that and try again: nothing was changed"
        raise
