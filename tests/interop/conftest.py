"""One hub for each file of tests, and devices to speak through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.hub import RunningHub
from tests.support.peers import Login, login

Devices: TypeAlias = Callable[..., Login]
"""`devices(kind, suffix="")` gives the login of the file's device of that kind."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that runs as long as the file's tests do."""
    with RunningHub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def devices(hub: RunningHub) -> Devices:
    """One device of each kind, made when it is first asked for; all may publish and receive under meeting/#."""
    folders: dict[str, Path] = {}

    def give(kind: str, suffix: str = "") -> Login:
        if kind not in folders:
            folders[kind] = hub.add_device(f"some-{kind}", kind, "--publish", "meeting/#", "--receive", "meeting/#")
        return login(folders[kind], suffix)

    return give
