"""PyPI's amqtt, in a virtual environment of its own (.cache/amqtt); its versions are locked in amqtt.txt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.brokers import BrokerFailed, Door, Provisioned, Settings, reach
from bench.machine import TOP
from bench.processes import free_port, is_open, output_of, started, wait_for

NAME = "amqtt"
BIN = TOP / ".cache" / "amqtt" / "bin"


class Amqtt:
    """amqtt's own command, in memory, over plain TCP alone, with everything allowed."""

    name = NAME

    def __init__(self, provisioned: Provisioned) -> None:
        self._provisioned = provisioned

    def version(self) -> str:
        code = "import importlib.metadata as m; print('amqtt', m.version('amqtt'))"
        return output_of(str(BIN / "python"), "-c", code)

    @contextmanager
    def running(self, folder: Path, *, tls: bool, core: int | None, settings: Settings | None = None) -> Iterator[Door]:
        del settings  # they are ours
        if tls:
            raise BrokerFailed("amqtt is compared over plain TCP alone")
        port = free_port()
        config = folder / "amqtt.yaml"
        config.write_text(
            f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n"
            "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n",
            encoding="utf-8",
        )
        log = folder / "amqtt.log"
        with started((str(BIN / "amqtt"), "-c", str(config)), log, core) as process:
            wait_for(lambda: is_open(port), process, log)
            yield Door(reach(port, self._provisioned, tls=False), process.pid)
