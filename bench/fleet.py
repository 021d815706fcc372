"""The home that ours runs from: 10,000 devices by the ordinary command line, each with rules of its own.

Devices d0, d1, ... have certificates; j0, j1, ... prove themselves by a JWT (ES256). Each may publish and receive
under bench/#, by two rules of its own. The device `canary` may receive bench/# too, but for the topic of the load a
rule denies it; publishing that topic is denied to it as well.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

import msgspec

from bench.processes import free_port, output_of

TOPIC = "bench/load"
TREE, PAIRS = "bench/#", "bench/pair/+"
FIRST = "first"
CANARY, CANARY_TOPIC = "canary", "bench/song"
DEVICES, TOKENS = 10_000, 500
QUICK_DEVICES, QUICK_TOKENS = 1200, 100
QUICK_RULES_FOR_EACH = 9  # 1200 devices with 9 rules each are as many rules as in the full run
FRESH_SECONDS = 7 * 86_400  # certificates end some day
_MEMORY = Path("/dev/shm")


class Fleet(msgspec.Struct, frozen=True):
    """Homes with the same CA and the folders of their devices; mosquitto and the others use the same certificates."""

    folder: Path
    certificates: int
    tokens: int
    rules_for_each: int

    @property
    def home(self) -> Path:
        """The home with all the rules."""
        return self.folder / "home"

    @property
    def all_allowing(self) -> Path:
        """A home with the same devices, where one rule allows everybody everything."""
        return self.folder / "all-allowing"

    @property
    def new(self) -> Path:
        """A home just made, with one device and no rules."""
        return self.folder / "new"

    @property
    def devices(self) -> Path:
        """The folders of the devices, each under its name."""
        return self.folder / "devices"

    @property
    def rules(self) -> int:
        """How many rules the policy of `home` holds."""
        return self.rules_for_each * (self.certificates + self.tokens) + 4

    def device(self, name: str) -> Path:
        """The folder of the device with that name."""
        return self.devices / name


def make_fleet(command: str, folder: Path, *, quick: bool) -> Fleet:
    """Give the fleet in `folder`, made anew unless the one that is there was made by the same build."""
    devices, tokens = (QUICK_DEVICES, QUICK_TOKENS) if quick else (DEVICES, TOKENS)
    fleet = Fleet(folder, devices - tokens, tokens, QUICK_RULES_FOR_EACH if quick else 2)
    build = [output_of(command, "--version"), Path(command).stat().st_mtime]
    made_by = json.dumps([*build, fleet.certificates, fleet.tokens, fleet.rules_for_each])
    mark = folder / "made-by"
    fresh = mark.exists() and time.time() - mark.stat().st_mtime < FRESH_SECONDS
    if fresh and mark.read_text(encoding="utf-8") == made_by:
        return fleet
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The disk's syncs are measured elsewhere: the fleet is made in memory, where there is some, and then put down.
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        fill(command, msgspec.structs.replace(fleet, folder=Path(name)))
        shutil.copytree(name, folder)
    mark.write_text(made_by, encoding="utf-8")
    return fleet


def fill(command: str, fleet: Fleet) -> None:
    """Make the homes and devices of a fleet in its folder, by the command line."""
    home = ("--home", str(fleet.home))
    names = ("--name", "localhost", "--name", "127.0.0.1", "--port", str(free_port()), "--office-port", "0")
    output_of(command, "init", *home, *names)
    shutil.copytree(fleet.home, fleet.new)
    first = ("device", "add", FIRST, "--auth", "x509", "--out", str(fleet.device(FIRST)))
    output_of(command, *first, "--home", str(fleet.new))
    table = fleet.folder / "devices.csv"
    table.write_text(devices_table(fleet), encoding="utf-8")
    output_of(command, "device", "add-many", str(table), "--out", str(fleet.devices), *home)
    shutil.copytree(fleet.home, fleet.all_allowing)
    everyone = ("policy", "allow", "--everyone", "--publish", "#", "--receive", "#")
    output_of(command, *everyone, "--home", str(fleet.all_allowing))
    rules = fleet.folder / "rules.toml"
    rules.write_text(rules_text(fleet), encoding="utf-8")
    output_of(command, "policy", "import", str(rules), *home)


def device_names(fleet: Fleet) -> list[str]:
    """Give the names of all devices but the canary."""
    return [f"d{i}" for i in range(fleet.certificates)] + [f"j{i}" for i in range(fleet.tokens)]


def devices_table(fleet: Fleet) -> str:
    """Give the table for `device add-many`."""
    kinds = {"d": "x509", "j": "jwt-es256"}
    lines = [f"{name},{kinds[name[0]]}" for name in device_names(fleet)]
    return "\n".join(["name,auth", *lines, f"{CANARY},x509", ""])


def rules_text(fleet: Fleet) -> str:
    """Give the rules for `policy import`: each device's own, and the canary's."""
    rules = [
        _rule(name, "allow", operation, TREE if number < 2 else f"other/{name}/{number}")
        for name in device_names(fleet)
        for number, operation in zip(range(fleet.rules_for_each), ("publish", "receive") * 5, strict=False)
    ]
    rules += [
        _rule(CANARY, "allow", "receive", TREE),
        _rule(CANARY, "deny", "receive", TOPIC),
        _rule(CANARY, "deny", "receive", PAIRS),
        _rule(CANARY, "allow", "publish", CANARY_TOPIC),
    ]
    return "version = 1\n" + "".join(rules)


def _rule(device: str, effect: str, operation: str, topic: str) -> str:
    return f'\n[[rule]]\nfor = "device:{device}"\n{effect} = "{operation}"\ntopic = "{topic}"\n'
