"""Debian's mosquitto_pub and mosquitto_sub, driven by tests."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import msgspec

from tests.support.peers import WAIT_SECONDS, Login, Talker, program

V311, V5 = "mqttv311", "5"
_MARK = "heard:"
_FORMAT = f"{_MARK}%q:%r:%t:%p"


class Heard(msgspec.Struct, frozen=True):
    """One message as mosquitto_sub printed it."""

    topic: str
    payload: str
    qos: int = 0
    is_retained: bool = False


def options(login: Login, version: str) -> list[str]:
    """Give the options that both programs share."""
    words = ["-h", login.host, "-p", str(login.port), "-V", version, "-i", login.client_id, "--cafile", str(login.ca)]
    if login.user_name:
        words += ["-u", login.user_name]
    if login.password:
        words += ["-P", login.password]
    if login.certificate is not None:
        words += ["--cert", str(login.certificate), "--key", str(login.key)]
    return words


def publish(
    login: Login, topic: str, payload: str, *, version: str = V5, qos: int = 1, extra: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run mosquitto_pub once, with its debug output; its exit code is the caller's to judge."""
    words = [*options(login, version), "-d", "-q", str(qos), "-t", topic, "-m", payload, *extra]
    return subprocess.run(
        [program("mosquitto_pub"), *words], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )


class Subscriber(Talker):
    """A mosquitto_sub that has subscribed; `next` gives what it hears, in order."""

    def __init__(
        self,
        login: Login,
        topic_filter: str,
        *,
        version: str = V5,
        qos: int = 2,
        extra: Sequence[str] = (),
    ) -> None:
        words = [*options(login, version), "-d", "-q", str(qos), "-t", topic_filter, "-F", _FORMAT, *extra]
        # With -F it keeps what it prints until its buffer is full; stdbuf makes that a line.
        super().__init__([program("stdbuf"), "-oL", program("mosquitto_sub"), *words])
        self._position = 0
        try:
            self.wait_for(lambda line: line.startswith("Subscribed"), "its SUBACK")
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Subscriber:
        return self

    def next(self) -> Heard:
        """Give the next message."""
        number, line = self.wait_for(lambda line: line.startswith(_MARK), "a message", self._position)
        self._position = number + 1
        qos, retained, topic, payload = line.removeprefix(_MARK).split(":", 3)
        return Heard(topic, payload, int(qos), retained == "1")
