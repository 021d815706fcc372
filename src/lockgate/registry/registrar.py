"""What people do to the registry: add, block, revoke, remove, permit. Checked here, written to registry.db, audited.

Every refusal says what would mend it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from lockgate.errors import InvalidSettings, LockgateError, NotFound
from lockgate.model.device import Credential, Device, check_name
from lockgate.model.permission import Rule
from lockgate.model.topic import topic_filter
from lockgate.registry.keys import Offered, check_credential
from lockgate.store.registry_db import RegistryDb

EVERYONE = "everyone"
VARIABLES = frozenset({"device", "client_id"})

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Registrar:
    """Administrative acts on the registry, each by somebody.

    Args:
        database: registry.db, open for writing.
        actor: who acts, as the audit trail shall name them.
        clock: gives unix seconds.
    """

    def __init__(self, database: RegistryDb, actor: str, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._actor = actor
        self._clock = clock

    def add_device(
        self, name: str, credentials: Sequence[Offered], groups: Sequence[str] = (), rules: Sequence[Rule] = ()
    ) -> Device:
        """Register a device; give it back with the numbers of its credentials.

        Args:
            name: the device's name.
            credentials: how it may prove itself; at least one.
            groups: what it belongs to.
            rules: what it may beyond its own tree; each with the subject "device:NAME".

        Raises:
            InvalidSettings: when a name, a key or a rule cannot be used.
            TopicFilterInvalid: when a rule's filter breaks the rules for filters.
            Conflict: when the name or a key is taken.
        """
        now = self._clock()
        with _helpful():
            check_name(name)
            for group in groups:
                check_name(group, "group")
            if not credentials:
                raise InvalidSettings(f"{name} has no credential: nobody could ever prove to be it")
            for rule in rules:
                if rule.subject != f"device:{name}":
                    raise InvalidSettings(f"a rule of {name} must be about device:{name}, not {rule.subject}")
                check_rule_filter(rule.filter)
            checked = tuple(check_credential(name, offered, now) for offered in credentials)
            device = Device(name, created_at=now, groups=tuple(dict.fromkeys(groups)), credentials=checked)
            return self._database.add_device(device, rules, actor=self._actor, now=now)

    def add_credential(self, name: str, offered: Offered) -> Credential:
        """Give a device one more credential, beside those it has, so that keys can change without a gap."""
        now = self._clock()
        with _helpful():
            self._require_device(name)
            credential = check_credential(name, offered, now)
            return self._database.add_credential(credential, actor=self._actor, now=now)

    def block(self, name: str) -> None:
        """Shut a device out until it is unblocked; its live sessions end."""
        with _helpful():
            self._database.set_blocked(name, True, actor=self._actor, now=self._clock())

    def unblock(self, name: str) -> None:
        """Let a blocked device in again."""
        with _helpful():
            self._database.set_blocked(name, False, actor=self._actor, now=self._clock())

    def revoke(self, name: str) -> int:
        """Revoke all credentials of a device for good; give how many were still good."""
        with _helpful():
            return self._database.revoke_credentials(name, actor=self._actor, now=self._clock())

    def remove(self, name: str) -> None:
        """Remove a device with its credentials, memberships and rules."""
        with _helpful():
            self._database.remove_device(name, actor=self._actor, now=self._clock())

    def join(self, name: str, group: str) -> None:
        """Make a device a member of a group."""
        with _helpful():
            check_name(group, "group")
            self._database.join_group(name, group, actor=self._actor, now=self._clock())

    def leave(self, name: str, group: str) -> None:
        """End a device's membership of a group."""
        with _helpful():
            self._database.leave_group(name, group, actor=self._actor, now=self._clock())

    def add_rule(self, rule: Rule) -> Rule:
        """Add a rule, allowing or denying; give it back with its number.

        Raises:
            InvalidSettings: when its subject, its variables or its QoS cannot be.
            TopicFilterInvalid: when its filter breaks the rules for filters.
            NotFound: when it is about a device that does not exist.
        """
        with _helpful():
            self._check_subject(rule.subject)
            check_rule_filter(rule.filter)
            if rule.max_qos not in (0, 1, 2):
                raise InvalidSettings(f"a rule's highest QoS is 0, 1 or 2, not {rule.max_qos}")
            number = self._database.add_rule(rule, actor=self._actor, now=self._clock())
        return msgspec.structs.replace(rule, id=number)

    def remove_rule(self, number: int) -> None:
        """Remove the rule with this number."""
        with _helpful():
            self._database.remove_rule(number, actor=self._actor, now=self._clock())

    def _check_subject(self, subject: str) -> None:
        kind, _, name = subject.partition(":")
        if kind == "device" and name:
            self._require_device(name)
        elif kind == "group" and name:
            check_name(name, "group")
        elif subject != EVERYONE:
            raise InvalidSettings(f"a rule is about device:NAME, group:NAME or everyone, not {subject!r}")

    def _require_device(self, name: str) -> None:
        if self._database.device(name) is None:
            raise NotFound(f"there is no device {name}", fix="lockgate device list shows the devices")


def check_rule_filter(text: str) -> None:
    """Come back when `text` may stand in a rule: a topic filter in which ${device} and ${client_id} may stand.

    Raises:
        InvalidSettings: for any other variable.
        TopicFilterInvalid: when it is no topic filter once the names are filled in.
    """
    for name in _VARIABLE.findall(text):
        if name not in VARIABLES:
            raise InvalidSettings(f"a rule's filter knows ${{device}} and ${{client_id}}, not ${{{name}}}: {text!r}")
    filled = _VARIABLE.sub("name", text)
    if "${" in filled:
        raise InvalidSettings(f"a variable in the filter does not end: {text!r}", fix="write ${device} or ${client_id}")
    topic_filter(filled)


@contextmanager
def _helpful() -> Iterator[None]:
    """Let no error pass without a word on what would mend it."""
    try:
        yield
    except LockgateError as error:
        error.fix = error.fix or "correct that and try again: nothing was changed"
        raise
