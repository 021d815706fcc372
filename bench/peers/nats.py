"""Debian's nats-server, speaking MQTT: JetStream in a folder of the run, and bounds that make it drop nothing.

It has no rule to check, to its advantage: its MQTT takes a permission for each of its own inner subjects as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.brokers import Door, Provisioned, Settings, reach
from bench.processes import free_port, is_open, output_of, started, wait_for

NAME = "NATS"


class Nats:
    """nats-server with one MQTT listener."""

    name = NAME

    def __init__(self, provisioned: Provisioned) -> None:
        self._provisioned = provisioned
        self._command = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin") or "nats-server"

    def version(self) -> str:
        return output_of(self._command, "--version")

    @contextmanager
    def running(self, folder: Path, *, tls: bool, core: int | None, settings: Settings | None = None) -> Iterator[Door]:
        del settings  # they are ours
        port = free_port()
        config = folder / "nats.conf"
        config.write_text(self._config(port, folder, tls=tls), encoding="utf-8")
        log = folder / "nats.log"
        with started((self._command, "-c", str(config)), log, core) as process:
            wait_for(lambda: is_open(port), process, log)
            yield Door(reach(port, self._provisioned, tls=tls), process.pid, tls_port=port if tls else 0)

    def _config(self, port: int, folder: Path, *, tls: bool) -> str:
        lines = [
            'listen: "127.0.0.1:-1"',
            "server_name: bench",
            f'jetstream: {{ store_dir: "{folder / "jetstream"}" }}',
            "max_connections: 20000",
            "max_pending: 1GB",
            "mqtt {",
            f'  listen: "127.0.0.1:{port}"',
            "  max_ack_pending: 65535",
            '  ack_wait: "5m"',
        ]
        if tls:
            lines += [
                "  tls {",
                f'    ca_file: "{self._provisioned.ca}"',
                f'    cert_file: "{self._provisioned.home / "server.crt"}"',
                f'    key_file: "{self._provisioned.home / "server.key"}"',
                "    verify: true",
                "    timeout: 60",
                "  }",
            ]
        return "\n".join([*lines, "}", ""])
