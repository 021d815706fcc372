"""How the demonstration is shown: live tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from lockgate.cli.demo.scene import (
    AttemptRefused,
    AttemptSucceeded,
    DeviceConnected,
    DoorOpened,
    Happening,
    MessageArrived,
    Scene,
    Trouble,
)
from lockgate.cli.output import safe, table

ROWS = 8
LOOK_SECONDS = 0.1


class PlainScreen:
    """Prints each happening as one line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def run(self, scene: Scene, seconds: float | None) -> None:
        """Show the scene for a while (None: until interrupted)."""
        for happening in happenings(scene, seconds):
            if happening is not None:
                self._console.print(f"{_clock()}  {_line(happening)}")

    def close(self) -> None:
        """Nothing is left to tidy."""


class LiveScreen:
    """Keeps tables on the terminal up to date."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._doors: list[str] = []
        self._devices: dict[str, DeviceConnected] = {}
        self._counts: dict[str, int] = {}
        self._messages: deque[tuple[str, MessageArrived]] = deque(maxlen=ROWS)
        self._refusals: deque[tuple[str, AttemptRefused | AttemptSucceeded | Trouble]] = deque(maxlen=ROWS)

    def run(self, scene: Scene, seconds: float | None) -> None:
        """Show the scene for a while (None: until interrupted)."""
        with Live(self._picture(), console=self._console, refresh_per_second=8) as live:
            for happening in happenings(scene, seconds):
                if happening is not None:
                    self._note(happening)
                    live.update(self._picture())

    def close(self) -> None:
        """Say that it is over."""
        self._console.print("ended")

    def _note(self, happening: Happening) -> None:
        if isinstance(happening, DoorOpened):
            self._doors.append(f"MQTT on port {happening.door.port} ({happening.door.address}), TLS")
        elif isinstance(happening, DeviceConnected):
            self._devices[happening.name] = happening
        elif isinstance(happening, MessageArrived):
            self._messages.append((_clock(), happening))
            for name in (happening.sender, happening.receiver):
                self._counts[name] = self._counts.get(name, 0) + 1
        else:
            self._refusals.append((_clock(), happening))

    def _picture(self) -> Group:
        doors = "\n".join(safe(door) for door in dict.fromkeys(self._doors)) or "starting"
        return Group(
            Panel(doors, title="[bold]lockgate[/]: the hub", title_align="left"),
            Panel(self._device_table(), title="devices", title_align="left"),
            Panel(self._message_table(), title="messages, through the hub", title_align="left"),
            Panel(self._refusal_table(), title="refused", title_align="left", border_style="red"),
        )

    def _device_table(self) -> Table:
        made = table("device", "proved who it is by", "protected by", "messages")
        for name, device in self._devices.items():
            protection = f"{device.version}, {device.cipher}"
            made.add_row(f"[green]{safe(name)}[/]", device.auth, protection, str(self._counts.get(name, 0)))
        return made

    def _message_table(self) -> Table:
        made = table("time", "from", "to", "topic", "payload")
        for at, each in self._messages:
            made.add_row(at, each.sender, each.receiver, safe(each.topic), safe(each.payload))
        return made

    def _refusal_table(self) -> Table:
        made = table("time", "who", "tried to", "the hub's answer")
        for at, each in self._refusals:
            if isinstance(each, Trouble):
                made.add_row(at, "", "", f"[bold red]{safe(each.what)}[/]")
            elif isinstance(each, AttemptSucceeded):
                made.add_row(at, safe(each.who), safe(each.attempt), "[bold red]NOT REFUSED[/]")
            else:
                made.add_row(at, safe(each.who), safe(each.attempt), f"[red]{safe(each.reason)}[/]")
        return made


def happenings(scene: Scene, seconds: float | None) -> Iterator[Happening | None]:
    """Give what happens, and None now and then, until the time is up."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while deadline is None or time.monotonic() < deadline:
        try:
            yield scene.happenings.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            yield None


def _line(happening: Happening) -> str:
    if isinstance(happening, DoorOpened):
        return f"[green]open[/]     MQTT on port {happening.door.port} ({safe(happening.door.address)}) over TLS"
    if isinstance(happening, DeviceConnected):
        protection = f"{happening.version}, {happening.cipher}"
        return f"[green]device[/]   {safe(happening.name)} proved who it is by {happening.auth}; {protection}"
    if isinstance(happening, MessageArrived):
        what = f"{safe(happening.topic)}: {safe(happening.payload)}"
        return f"[cyan]message[/]  {happening.sender} -> {happening.receiver}  {what}"
    if isinstance(happening, AttemptRefused):
        return f"[red]refused[/]  {safe(happening.who)} tried to {safe(happening.attempt)}: {safe(happening.reason)}"
    if isinstance(happening, AttemptSucceeded):
        return f"[bold red]NOT REFUSED[/]  {safe(happening.who)} managed to {safe(happening.attempt)}"
    return f"[bold red]trouble[/]  {safe(happening.what)}"


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
