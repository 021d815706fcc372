"""`lockgate why`: the last refusals, by reference, by device, for people and for programs."""

from __future__ import annotations

import pytest

from lockgate.cli.why import explain
from lockgate.errors import Step
from lockgate.home import Home
from lockgate.model.refusal import Refusal
from lockgate.store.messages_db import MessagesDb
from tests.support.cli import CommandLine

LATE = Refusal(
    "K7Q2-9XMD",
    1_800_000_060.0,
    Step.CREDENTIAL,
    "token expired",
    "the token expired",
    "set the clock",
    "mqtt",
    "192.0.2.7",
    "sensor",
    "sensor/1",
    True,
    {"aud": "lockgate"},
    3,
)
EARLY = Refusal("AAAA-BBBB", 1_800_000_000.0, Step.TLS, "no shared protocol version", "TLS 1.1", address="192.0.2.8")
CLAIMED = Refusal(
    "CCCC-DDDD", 1_800_000_030.0, Step.POLICY, "x", "[/]\x1b[2J", door="mqtt", address="::1", device="[red]"
)


@pytest.fixture(autouse=True)
def _refusals(lockgate: CommandLine) -> None:
    store = MessagesDb(Home(lockgate.home).messages_path)
    store.save_refusals([LATE, EARLY, CLAIMED])
    store.close()


def test_the_last_refusals_come_newest_first(lockgate: CommandLine) -> None:
    facts = lockgate.does("why", "--json").json()
    assert [each["reference"] for each in facts] == ["K7Q2-9XMD", "CCCC-DDDD", "AAAA-BBBB"]
    out = lockgate.does("why").out
    assert out.index("K7Q2-9XMD") < out.index("CCCC-DDDD") < out.index("AAAA-BBBB")
    assert lockgate.does("why", "--last", "1", "--json").json() == facts[:1]


@pytest.mark.parametrize("spoken", ["K7Q2-9XMD", "k7q29xmd", "K7Q2 9XMD"])
def test_one_refusal_is_found_by_its_reference_as_people_say_it(lockgate: CommandLine, spoken: str) -> None:
    out = lockgate.does("why", spoken).out
    assert out.splitlines() == [
        "K7Q2-9XMD  token expired  (step credential, 2027-01-15 08:01:00 UTC, 3 times)",
        "    who: mqtt from 192.0.2.7, device sensor, client id sensor/1",
        "    why: the token expired",
        "         aud: lockgate",
        "    fix: set the clock",
    ]


def test_the_refusals_of_one_device_are_picked(lockgate: CommandLine) -> None:
    assert [each["reference"] for each in lockgate.does("why", "--device", "sensor", "--json").json()] == ["K7Q2-9XMD"]
    assert lockgate.does("why", "--device", "nobody").out == "nobody was refused\n"
    assert lockgate.does("why", "--device", "nobody", "--json").json() == []


def test_what_a_peer_said_of_itself_is_marked_and_harmless(lockgate: CommandLine) -> None:
    out = lockgate.does("why", "CCCC-DDDD").out
    assert "device [red] (claimed, not verified)" in out
    assert "why: [/]\\x1b[2J" in out


def test_a_refusal_without_a_door_or_fix_says_what_it_knows() -> None:
    lines = explain(EARLY)
    assert lines[1] == "    who: 192.0.2.8"
    assert not any("fix" in line for line in lines)


def test_an_unknown_reference_is_refused(lockgate: CommandLine) -> None:
    for reference in ("ZZZZ-ZZZZ", "x", "K7Q2"):
        assert "no refusal has the reference" in lockgate.refuses("why", reference)


def test_a_number_that_is_none_is_wrong_usage(lockgate: CommandLine) -> None:
    lockgate.misused("why", "--last", "0")
    lockgate.misused("why", "a", "b")
