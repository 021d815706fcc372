"""npm's aedes, behind a few lines of JavaScript (bench/peers/js); its versions are locked there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.brokers import BrokerFailed, Door, Provisioned, Settings, reach
from bench.processes import free_port, is_open, output_of, started, wait_for

NAME = "aedes"
JS = Path(__file__).with_name("js")


class Aedes:
    """aedes on Node, in memory, over plain TCP alone."""

    name = NAME

    def __init__(self, provisioned: Provisioned) -> None:
        self._provisioned = provisioned

    def version(self) -> str:
        package = JS / "node_modules" / "aedes" / "package.json"
        found = json.loads(package.read_text(encoding="utf-8"))["version"]
        return f"aedes {found} (Node {output_of('node', '--version')})"

    @contextmanager
    def running(self, folder: Path, *, tls: bool, core: int | None, settings: Settings | None = None) -> Iterator[Door]:
        del settings  # they are ours
        if tls:
            raise BrokerFailed("aedes is compared over plain TCP alone")
        port = free_port()
        log = folder / "aedes.log"
        with started(("node", str(JS / "broker.mjs"), str(port)), log, core) as process:
            wait_for(lambda: is_open(port), process, log)
            yield Door(reach(port, self._provisioned, tls=False), process.pid)
