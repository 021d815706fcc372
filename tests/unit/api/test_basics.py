"""What everybody may ask."""

from __future__ import annotations

import time

from lockgate.api import basics
from tests.support.asgi import Caller


def test_health_says_ok_and_nothing_about_the_hub() -> None:
    answered = Caller(basics.routes()).get("/health")
    assert (answered.status, answered.text) == (200, "ok\n")
    assert set(answered.headers) == {"content-length", "content-type"}


def test_time_is_the_unix_second() -> None:
    assert abs(int(Caller(basics.routes()).get("/time").text) - time.time()) < 60
