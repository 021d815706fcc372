"""Debian's rabbitmq-server with its MQTT plug-in: a node of its own, with all of its folders in that of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.brokers import BrokerFailed, Door, Provisioned, Settings, reach
from bench.processes import free_port, is_open, output_of, started, wait_for

NAME = "RabbitMQ"
SCRIPTS = Path("/usr/lib/rabbitmq/bin")  # what is in the PATH would change the user


class RabbitMq:
    """A node that speaks MQTT over plain TCP alone; its port mapper (epmd) is its own, and ends with it."""

    name = NAME

    def __init__(self, provisioned: Provisioned) -> None:
        self._provisioned = provisioned

    def version(self) -> str:
        return "rabbitmq-server " + output_of("dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server")

    @contextmanager
    def running(self, folder: Path, *, tls: bool, core: int | None, settings: Settings | None = None) -> Iterator[Door]:
        del settings  # they are ours
        if tls:
            raise BrokerFailed("RabbitMQ is compared over plain TCP alone")
        port, mapper = free_port(), free_port()
        log = folder / "rabbitmq.log"
        address = {"ERL_EPMD_PORT": str(mapper), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        mapper_command = ("epmd", "-address", "127.0.0.1", "-port", str(mapper))
        with started(mapper_command, folder / "epmd.log", core) as first:
            wait_for(lambda: is_open(mapper), first, folder / "epmd.log")
            environment = self._environment(folder, port) | address
            with started((str(SCRIPTS / "rabbitmq-server"),), log, core, environment) as process:
                wait_for(lambda: is_open(port), process, log)
                yield Door(reach(port, self._provisioned, tls=False), process.pid)

    def _environment(self, folder: Path, port: int) -> dict[str, str]:
        config = folder / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{port}\nmqtt.allow_anonymous = true\n"
            "mqtt.prefetch = 1000\nlog.console = true\nlog.console.level = error\nlog.file = false\n",
            encoding="utf-8",
        )
        plugins = folder / "enabled_plugins"
        plugins.write_text("[rabbitmq_mqtt].\n", encoding="utf-8")
        environment = {
            "NODENAME": f"bench{port}@localhost",
            "MNESIA_BASE": str(folder / "mnesia"),
            "LOG_BASE": str(folder / "log"),
            "CONFIG_FILE": str(config),
            "CONF_ENV_FILE": str(folder / "none"),
            "ENABLED_PLUGINS_FILE": str(plugins),
            "GENERATED_CONFIG_DIR": str(folder / "generated"),
            "PID_FILE": str(folder / "pid"),
            "DIST_PORT": str(free_port()),
            "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        return {"HOME": str(folder)} | {f"RABBITMQ_{key}": value for key, value in environment.items()}
