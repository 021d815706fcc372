from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import pytest

from lockgate.adapters.mqtt.admission import MAX_LAB_NAME, Admission, Admissions, Verdict
from lockgate.adapters.mqtt.packets import V5, Connect
from lockgate.errors import AuthenticationFailed, NotAuthorized, Unavailable
from lockgate.model.principal import Principal
from tests.support.fakes import FakeAuthenticator, FakeLink, FakeLoop, principal


class Entrance:
    """A door's admissions, and what they decided."""

    def __init__(self, places: int = 4) -> None:
        self.loop = FakeLoop(0.0)
        loop: Any = self.loop
        self.authenticator = FakeAuthenticator()
        self.admissions = Admissions(self.authenticator, Executor(), loop, lambda: 1_000_000.0, places)
        self.verdicts: list[Verdict] = []

    def comes(self, client_id: str, is_lab: bool = False) -> None:
        handler: Any = None
        link = FakeLink(self.loop, handler)
        Admission(self.admissions, link, is_lab, self.verdicts.append).begin(Connect(V5, client_id))


def test_a_client_that_is_known_is_let_in_at_once() -> None:
    entrance = Entrance()
    entrance.comes("sensor")
    assert entrance.verdicts == [principal("sensor")]


def test_a_refusal_is_the_verdict() -> None:
    entrance = Entrance()
    refusal = entrance.authenticator.refusals["sensor"] = AuthenticationFailed()
    entrance.comes("sensor")
    assert entrance.verdicts == [refusal]


def test_a_lab_client_proves_nothing_and_has_a_name_of_its_own() -> None:
    entrance = Entrance()
    entrance.comes("x" * 300, is_lab=True)
    entrance.comes("", is_lab=True)
    named, nameless = entrance.verdicts
    assert named == Principal("lab", "lab/" + "x" * MAX_LAB_NAME, "lab")
    assert isinstance(nameless, Principal)
    assert len(nameless.client_id) > len("lab/")


def test_a_slow_check_gives_its_verdict_when_the_worker_is_done() -> None:
    entrance = Entrance()
    entrance.authenticator.is_slow_for.add("sensor")
    entrance.comes("sensor")
    assert (entrance.verdicts, entrance.admissions.waiting_checks) == ([], 1)
    entrance.loop.do_work()
    assert (entrance.verdicts, entrance.admissions.waiting_checks) == ([principal("sensor")], 0)


def test_who_is_blocked_during_the_check_is_refused() -> None:
    entrance = Entrance()
    entrance.authenticator.is_slow_for.add("sensor")
    entrance.comes("sensor")
    done, check, arguments = entrance.loop.work.popleft()
    done.set_result(check(*arguments))
    refusal = entrance.authenticator.refusals["sensor"] = NotAuthorized("blocked")
    entrance.loop.run()
    assert entrance.verdicts == [refusal]


@pytest.mark.parametrize("error", [AuthenticationFailed(), ZeroDivisionError()])
def test_what_the_worker_raises_is_the_verdict(error: Exception) -> None:
    entrance = Entrance()
    entrance.authenticator.is_slow_for.add("sensor")
    entrance.comes("sensor")
    entrance.loop.work.popleft()[0].set_exception(error)
    entrance.loop.run()
    assert entrance.verdicts == [error]
    assert entrance.admissions.checks_by_host == {}


def test_a_check_that_the_hubs_stop_cancels_has_no_verdict() -> None:
    entrance = Entrance()
    entrance.authenticator.is_slow_for.add("sensor")
    entrance.comes("sensor")
    entrance.loop.work.popleft()[0].cancel()
    entrance.loop.run()
    assert (entrance.verdicts, entrance.admissions.waiting_checks) == ([], 0)


@pytest.mark.parametrize("places", [1, 4])
def test_an_address_takes_no_more_than_its_share_of_the_waiting_checks(places: int) -> None:
    entrance = Entrance(places)
    entrance.authenticator.is_slow_for |= {"one", "two"}
    entrance.comes("one")
    entrance.comes("two")
    (refusal,) = entrance.verdicts
    assert isinstance(refusal, Unavailable)
    assert entrance.admissions.waiting_checks == 1
