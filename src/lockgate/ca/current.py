"""The desk as it is now: read again when the CA was rotated, by whichever process."""

from __future__ import annotations

import os
from pathlib import Path

from lockgate.ca.desk import Desk, older_paths
from lockgate.home import Home
from lockgate.store.registry_db import RegistryDb


class CurrentDesk:
    """Gives the CA's desk; its keys are read at the start, and again when their files are others.

    Args:
        home: the hub's folder.
        registry: its registry.db, open for writing.
        actor: who acts, as the audit trail shall name them.

    Raises:
        InvalidSettings: a certificate or key of an authority cannot be read.
    """

    def __init__(self, home: Home, registry: RegistryDb, actor: str) -> None:
        self._home = home
        self._registry = registry
        self._actor = actor
        self._seen = self._look()
        self._desk = Desk(home, registry, actor)

    def __call__(self) -> Desk:
        """Give the desk."""
        seen = self._look()
        if seen != self._seen:
            self._desk = Desk(self._home, self._registry, self._actor)
            self._seen = seen
        return self._desk

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        """Give what moves when a file is replaced."""
        home = self._home
        paths = (home.issuing_path, home.issuing_key_path, home.settings_path, *older_paths(home))
        return tuple(map(_mark, paths))


def _mark(path: Path) -> tuple[str, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return str(path), 0, 0
    return str(path), found.st_ino, found.st_mtime_ns
