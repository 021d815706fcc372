"""Sentences and commands that several checks need."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from lockgate.scan.finding import Problem
from lockgate.scan.subject import Subject
from lockgate.settings import Settings

DAY_SECONDS = 86_400.0
SOON_DAYS = 30
MAX_NAMED = 5
UPGRADE = "install lockgate anew: its own doors never do that; see who else listens there: ss -ltnp"


def mend_authority(is_root: bool) -> str:
    """Say what makes a certificate of the authority anew."""
    new_root = "make a new home with lockgate init, and give the devices new credentials and its root"
    return new_root if is_root else "lockgate ca rotate"


def day(seconds: float) -> str:
    """Spell a time in unix seconds as a day (UTC)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def named(names: Iterable[str]) -> str:
    """List names; of many, the first few and how many more."""
    found = list(names)
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return ", ".join(found[:MAX_NAMED]) + more


def quoted(path: str) -> str:
    """Give a path as a shell takes it."""
    return shlex.quote(path)


def default_again(subject: Subject, key: str) -> str:
    """Give the command that takes a setting out of lockgate.toml, so that its default holds."""
    return f"sed -i '/^ *{key} *=/d' {quoted(subject.settings_path)}"


def setting(name: str, is_bad: Callable[[Settings], bool], text: str) -> Callable[[Subject], Iterator[Problem]]:
    """Make a look at one setting, "section.key"; `text` says what is wrong, with {value} in it."""
    section, key = name.split(".")

    def look(subject: Subject) -> Iterator[Problem]:
        settings = subject.need(subject.settings, "settings")
        if is_bad(settings):
            value = getattr(getattr(settings, section), key)
            fix = f"{default_again(subject, key)} # then the default holds; restart the hub"
            yield Problem(f"{name} is {value}: {text}", fix, name)

    return look
