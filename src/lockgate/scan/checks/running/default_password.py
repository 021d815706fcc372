"""A default password is accepted."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject

DEFAULTS = (
    ("admin", "admin"), ("admin", "password"), ("admin", "public"), ("root", "root"), ("guest", "guest"),
    ("user", "user"), ("mqtt", "mqtt"), ("test", "test"), ("mosquitto", "mosquitto"),
    ("homeassistant", "homeassistant"),
)  # fmt: skip


def look(subject: Subject) -> Iterator[Problem]:
    """Try the few that come with other products."""
    for door in subject.mqtt_doors():
        for user, password in DEFAULTS:
            if subject.probe().connect(door, user, password).is_in:
                yield Problem(
                    f"{door} accepts {user} with its default password", f"lockgate device revoke {user}", user
                )


CHECK = Check(
    id="LG-HUB-005",
    title="A default password is accepted",
    severity=Severity.SEVERE,
    meaning="These are the first that a worm tries.",
    fix="lockgate device revoke NAME, and a new credential",
    look=look,
    reference="ETSI EN 303 645 provision 5.1-1",
    needs_hub=True,
)
